"""The ledger: what is planned, started, done and failed, and why. Files under the results folder; the only truth.

    results/
      trials/<id>/           one folder a trial, shared by every sweep that contains it
        trial.json           what the trial is
        events.jsonl         what happened: start, resume, epoch, done, failed; one line each, with attempt and process
        metrics.jsonl        every score, once
        checkpoint.pt        while it is not done
        weights.pt  predictions.parquet  cost.json  facts.json  looks/
        done.json            written last, by atomic rename, by the process that ran the trial
        failed.json          error class, message and traceback of a trial that ended by an error; traceback.txt to read
        tracked.json         what MLflow has received
      sweeps/<name>/         resolved.yaml, results.parquet, results.csv, report.html
      profiles/              what `zoombench profile` measured: profiles.py

A trial is done when done.json is there. Locks are the operating system's: they vanish with the process. Results on an
object store have the same files: mirror.py.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from . import storage
from .errors import ResultsError, StorageLost, TrialBusy
from .spec import TrialSpec

State = Literal["done", "failed", "started", "planned"]


@dataclass(frozen=True)
class Ledger:
    """The results folder."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Ledger":
        """Create the folder if need be; raises ResultsError where it cannot be written."""
        root = root.absolute()
        try:
            (root / "trials").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                pass
        except OSError as error:
            raise ResultsError(
                f"the results folder {root} cannot be written: {error.strerror or error}. "
                "Choose another with --results FOLDER or ZOOMBENCH_RESULTS."
            ) from error
        return cls(root)

    @property
    def place(self) -> str:
        """What to give to `at`, and to tell the user."""
        return str(self.root)

    def prepared(self) -> "Ledger":
        """Ready to run trials; raises ResultsError where it cannot be written."""
        return Ledger.open(self.root)

    def refresh(self, trial_ids: Collection[str] | None = None) -> None:
        """Look again at what other machines did, to all trials or to these: nothing to do where they share a folder."""

    def fetch(self, trial_ids: Iterable[str], only: Collection[str] | None = None) -> None:
        """Have these files of trials at hand, or all that a report needs: nothing to do where they lie in a folder."""

    def publish(self, sweep: str, trial_ids: Iterable[str] = ()) -> None:
        """Let other machines have a sweep's table and report, and what MLflow was sent: they share the folder."""

    def fetch_folder(self, name: str, only: Collection[str] | None = None) -> None:
        """Have what other machines keep in another folder of the results, such as `profiles`: they share it."""

    def publish_folder(self, name: str) -> None:
        """Let other machines have the files of a folder of the results, such as a profile's: they share it."""

    def forget_folder(self, name: str) -> None:
        """Delete a folder of the results and what is in it, for all machines."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def trouble(self, trial_id: str) -> StorageLost | None:
        """Why a trial that this process runs must end, as far as its results are concerned."""
        return None

    def known(self) -> list[str]:
        """The ids of all trials that have left something."""
        return sorted(path.name for path in (self.root / "trials").glob("*") if path.is_dir())

    def folder(self, trial_id: str) -> Path:
        """Where a trial keeps its files."""
        return self.root / "trials" / trial_id

    def sweep_folder(self, name: str) -> Path:
        """Where a sweep keeps its table and report."""
        return self.root / "sweeps" / name

    def state(self, trial_id: str) -> State:
        """done, failed, started (it has left something to go on from) or planned."""
        folder = self.folder(trial_id)
        if storage.is_there(folder / "done.json"):
            return "done"
        if storage.is_there(folder / "failed.json"):
            return "failed"
        return "started" if storage.is_there(folder / "events.jsonl") else "planned"

    @contextmanager
    def hold(self, trial_id: str, *, patience: float = 60) -> Iterator[Path]:
        """The trial's folder, locked; waits `patience` seconds for a process that is just ending, then TrialBusy."""
        folder = self.folder(trial_id)
        storage.make_folder(folder)
        with self.lock(folder / "lock", patience=patience):
            yield folder

    @contextmanager
    def lock(self, path: Path, *, patience: float = 60) -> Iterator[None]:
        """Hold a lock file; the operating system drops it when the process ends. Raises TrialBusy."""
        deadline = time.monotonic() + patience
        with storage.open_new(path, "a") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TrialBusy(
                            f"{path} is held by another process after {patience:g} s. "
                            "Wait for the other sweep to end, then run again."
                        ) from None
                    time.sleep(0.2)
            yield

    def is_held(self, trial_id: str) -> bool:
        """Whether a living process runs the trial now."""
        path = self.folder(trial_id) / "lock"
        if not storage.is_there(path):
            return False
        with storage.open_new(path, "a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def begun(self, trials: Iterable[TrialSpec]) -> list[TrialSpec]:
        """Those that have a folder, by one look at the disk for all of them."""
        folder = self.root / "trials"
        there = set(storage.patiently(folder, lambda: os.listdir(folder)))
        return [trial for trial in trials if trial.id in there]

    def start_over(self, trial_id: str) -> None:
        """Forget what an attempt left that can not be gone on from, but for the events."""
        for name in ("checkpoint.pt", "metrics.jsonl", "cost.json", "tracked.json"):
            storage.remove(self.folder(trial_id) / name)

    def describe(self, spec: TrialSpec) -> None:
        """Write what the trial is, once."""
        path = self.folder(spec.id) / "trial.json"
        if not storage.is_there(path):
            write_json(path, spec.to_json())

    def attempts(self, trial_id: str) -> int:
        """How often the trial was started."""
        return sum(event["event"] == "start" for event in self.events(trial_id))

    def losses(self, trial_id: str) -> int:
        """How often the trial's process died since an epoch of it was finished, or since it failed."""
        count = 0
        for event in self.events(trial_id):
            count = 0 if event["event"] in ("epoch", "failed") else count + (event["event"] == "lost")
        return count

    def note(self, trial_id: str, event: str, **facts: Any) -> None:
        """Append one line to the trial's events."""
        line = {"event": event, "time": now(), "pid": os.getpid(), "host": socket.gethostname()} | facts
        append_line(self.folder(trial_id) / "events.jsonl", line)

    def events(self, trial_id: str) -> list[dict[str, Any]]:
        """What happened to a trial, in order."""
        return read_lines(self.folder(trial_id) / "events.jsonl")

    def scores(self, trial_id: str) -> list[dict[str, Any]]:
        """Every score of a trial: split, epoch, metric, value, time, attempt."""
        return read_lines(self.folder(trial_id) / "metrics.jsonl")

    def finish(self, trial_id: str, **facts: Any) -> None:
        """The trial is done: from here on it is never run again."""
        folder = self.folder(trial_id)
        for name in ("failed.json", "traceback.txt"):
            storage.remove(folder / name)
        write_json(folder / "done.json", facts)
        self.note(trial_id, "done")
        storage.remove(folder / "checkpoint.pt")

    def fail(self, trial_id: str, *, error_class: str, message: str, traceback: str, **facts: Any) -> None:
        """The trial ended by an error; its checkpoint stays. A trial that is done stays done."""
        if self.state(trial_id) != "done":
            write_text(self.folder(trial_id) / "traceback.txt", traceback)
            content = {"error_class": error_class, "message": message, "traceback": traceback, "time": now()}
            write_json(self.folder(trial_id) / "failed.json", content | facts)
            self.note(trial_id, "failed", error_class=error_class)

    def record(self, trial_id: str, name: str) -> dict[str, Any]:
        """The content of done.json, failed.json, cost.json or tracked.json; empty where there is none.

        Raises ResultsError for a file that is not JSON, naming it.
        """
        path = self.folder(trial_id) / name
        try:
            content: dict[str, Any] = json.loads(storage.patiently(path, path.read_bytes))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError as error:
            raise ResultsError(f"{path} is damaged: {error}. Delete the file; the trial then runs again.") from error
        return content

    def missing(self, trials: Iterable[TrialSpec], *, retry_failed: bool = False) -> list[TrialSpec]:
        """The trials that are neither done nor, unless they are to be tried again, failed."""
        wanted = ("planned", "started", "failed") if retry_failed else ("planned", "started")
        return [trial for trial in trials if self.state(trial.id) in wanted]

    @property
    def identity(self) -> str:
        """A name for this results folder that moves with it, so that two folders on one MLflow server stay apart."""
        path = self.root / "ledger-id"
        if not storage.is_there(path):
            with contextlib.suppress(FileExistsError), storage.open_new(path, "x") as stream:
                stream.write(uuid.uuid4().hex)
        return storage.patiently(path, path.read_text)


def at(place: str | Path) -> Ledger:
    """The ledger of a folder, or of a URL on an object store; nothing is looked at yet."""
    if re.match(r"[a-z][a-z0-9+.-]*://", str(place)):
        from .mirror import MirroredLedger  # which needs fsspec

        return MirroredLedger.of(str(place))
    return Ledger(Path(place).absolute())


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON so that a reader sees all of it or none."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a file so that a reader sees all of it or none; one that already says so is left alone."""
    storage.make_folder(path.parent)
    if storage.is_there(path) and storage.patiently(path, path.read_bytes) == content.encode():
        return
    write_file(path, lambda stream: stream.write(content.encode()))


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader sees all of it or none; `write` is called again if its folder was away."""

    def replace() -> None:
        try:
            with replacing(path) as stream:
                write(stream)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides what the disk said behind its own
                raise error.__context__ from error
            raise

    storage.patiently(path, replace)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of a file at the end, all at once; a failure leaves nothing behind."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append one JSON line with one write; a half line that a kill left behind is closed first."""
    line = json.dumps(content).encode() + b"\n"
    tried = False

    def append() -> None:
        nonlocal tried
        with path.open("ab+") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(-min(size, len(line)), os.SEEK_END)
            tail = stream.read()
            if not (tried and tail == line):  # else it was written, and only then the folder went away
                tried = True
                stream.write((b"\n" if size and not tail.endswith(b"\n") else b"") + line)
            stream.flush()
            os.fsync(stream.fileno())

    storage.patiently(path, append)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines, in order; a half line that a kill left behind is no line."""
    try:
        content = storage.patiently(path, path.read_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for line in content.split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
