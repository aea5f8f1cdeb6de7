"""A ledger whose truth is on an object store, and the folder of this machine that mirrors it.

Every machine works in a mirror: the very files of a ledger on disk. Who runs a trial holds its lease (lease.py), takes
what the store has of it, and pushes what changes from a thread: the checkpoint before the records that tell of it,
done.json last. So a store that has an epoch's record has its checkpoint, and one that has done.json has all. Whoever
only looks asks for one listing, and fetches what changed of what is asked for. `synced.json` in each folder says which
version of the store's objects its files are.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from . import storage
from .errors import ResultsError, StorageLost, TrialBusy
from .lease import STALE, Lease, is_held, leased
from .ledger import Ledger, State, append_line, read_lines, replacing
from .spec import TrialSpec
from .store import Object, Store, patiently
from .synced import Signature, Synced, folders, is_safe, pack_pictures, signature_of, signatures, unpack_pictures

HASTE = 5.0
"""Seconds for which a process that is told to end waits for a store that is away."""
PAUSE = 1.0
"""Seconds between two looks at a running trial's folder for something to push."""
LEASE = re.compile(r"locks/trials/([^/]*)/lock/\d{6}")
RECORDS = ("metrics.jsonl", "events.jsonl", "failed.json", "done.json")
"""What tells how far a trial is, in the order in which it is pushed: after all else."""
HEAVY = ("checkpoint.pt", "weights.pt")
"""What nobody reads who only looks."""
UNREAD_BY_TRIALS = ("weights.pt", "predictions.parquet", "looks.zip", "tracked.json")
FORGOTTEN = ("checkpoint.pt", "metrics.jsonl", "cost.json", "tracked.json", "failed.json", "traceback.txt")
"""What a trial deletes of its files, when it starts over or is done: the store then loses it too."""
OF_A_SWEEP = ("data.json", "estimate.json", "resolved.yaml")
"""What a sweep's folder holds that is read again."""
STATES: dict[State, str] = {"done": "done.json", "failed": "failed.json", "started": "events.jsonl"}
"""The file that tells of each state, the first to be found goes."""
AT_ONCE = 64
"""Trials whose files are fetched together."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class MirroredLedger(Ledger):
    """The results under a URL; `root` is this machine's mirror of them."""

    store: Store
    _listing: dict[str, dict[str, Object]] = field(default_factory=dict, repr=False, compare=False)
    """Each trial's files when the store was last looked at."""
    _renewed: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    """When the lease of each trial was last written then."""
    _leases: dict[str, Lease] = field(default_factory=dict, repr=False, compare=False)
    """Of each lock that this process holds."""
    _pushers: dict[str, "_Pusher"] = field(default_factory=dict, repr=False, compare=False)
    """Of each trial that this process runs."""

    @classmethod
    def of(cls, url: str) -> "MirroredLedger":
        """The ledger under a URL; nothing is asked of the store yet. Raises ResultsError."""
        store = Store(url)
        root = mirror_folder(store.url)
        (root / "trials").mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (root / "mirror-id").open("x") as stream:
            stream.write(uuid.uuid4().hex)
        return cls(root, store)

    @property
    def place(self) -> str:
        """The URL."""
        return self.store.url

    def prepared(self) -> "MirroredLedger":
        """Ready to run trials; raises ResultsError where the store cannot be written as it must."""
        with replacing(self.root / "ledger-id") as stream:
            stream.write(self.store.prepare().encode())
        return self

    def refresh(self, trial_ids: Collection[str] | None = None) -> None:
        """Look at the store once: what it has of every trial, or of these. Forget what was deleted there.

        Raises ResultsError where the store cannot be read, StorageLost where it was waited for.
        """
        began = time.time_ns()
        prefixes = [""] if trial_ids is None else [f"trials/{trial_id}" for trial_id in trial_ids]
        objects: dict[str, Object] = {}
        for prefix in prefixes:
            objects |= self._ask(partial(self.store.find, prefix))
        found: dict[str, dict[str, Object]] = {trial_id: {} for trial_id in trial_ids or ()}
        for name, one in objects.items():
            top, _, rest = name.partition("/")
            folder, _, file = rest.partition("/")
            if leased_one := LEASE.fullmatch(name):
                self._renewed[leased_one[1]] = one.modified
            elif top == "trials" and is_safe(folder) and is_safe(file):
                found.setdefault(folder, {})[file] = one
        self._listing.update(found)
        if trial_ids is None:
            for trial_id in set(self._listing) - set(found):
                del self._listing[trial_id]
            of_sweeps = {name: one for name, one in objects.items() if name.startswith("sweeps/")}
            self._bring("sweeps", of_sweeps, only=OF_A_SWEEP, before=began)
        for trial_id in found if trial_ids is not None else folders(self.root / "trials"):
            self._forget_deleted(f"trials/{trial_id}", self._listing.get(trial_id, {}), before=began)

    def fetch(self, trial_ids: Iterable[str], only: Collection[str] | None = None) -> None:
        """Bring listed files of trials up to date: these, or all but checkpoints and weights.

        A trial that a process of this machine holds is left alone: its files here are the newest.
        """
        wanted: dict[str, dict[str, Object]] = {}
        for trial_id in trial_ids:
            synced = Synced.read(self.folder(trial_id))
            for name, one in self._listing.get(trial_id, {}).items():
                is_asked_for = name not in HEAVY if only is None else name in only
                if is_asked_for and not (synced.is_of(name, one) and (self.folder(trial_id) / name).exists()):
                    wanted.setdefault(trial_id, {})[name] = one
        left = list(wanted)
        while left:
            some, left = left[:AT_ONCE], left[AT_ONCE:]
            with contextlib.ExitStack() as locks:
                free = [trial_id for trial_id in some if self._locked(f"trials/{trial_id}", locks)]
                self._download({trial_id: wanted[trial_id] for trial_id in free})

    def fetch_folder(self, name: str, only: Collection[str] | None = None) -> None:
        """Bring the files of this folder and of those in it up to date: of these names, or all. One listing.

        Raises ResultsError where the store cannot be read, StorageLost where it was waited for.
        """
        began = time.time_ns()
        self._bring(name, self._ask(partial(self.store.find, name)), only=only, before=began)

    def publish_folder(self, name: str) -> None:
        """Push what changed of the files that lie in this folder. Raises StorageLost."""
        synced = Synced.read(self.root / name)
        changed = {file: found for file, found in signatures(self.root / name).items() if not synced.has(file, found)}
        patiently(self.store, partial(self._push, name, changed))

    def forget_folder(self, name: str) -> None:
        """Delete a folder and what is in it, here and on the store."""
        super().forget_folder(name)
        self._ask(lambda: self.store.delete(self.store.find(name)))

    def known(self) -> list[str]:
        """The ids of all trials that have left something."""
        return sorted({*super().known(), *self._listing})

    def begun(self, trials: Iterable[TrialSpec]) -> list[TrialSpec]:
        """Those that have left something, here or on the store."""
        there = set(self.known())
        return [trial for trial in trials if trial.id in there]

    def state(self, trial_id: str) -> State:
        """done, failed, started or planned, by the last listing and by what this machine has done since."""
        here = super().state(trial_id)
        names = self._listing.get(trial_id, {})
        for state, name in STATES.items():
            if here == state or name in names:
                return state
        return here

    def is_held(self, trial_id: str) -> bool:
        """Whether a living process, here or elsewhere, runs the trial now; one that died lately may count as living."""
        if super().is_held(trial_id):
            return True
        if self._renewed.get(trial_id, 0) < time.time() - 2 * STALE:  # clocks differ
            return False
        return self._ask(partial(is_held, self.store, f"locks/trials/{trial_id}/lock"))

    @contextmanager
    def lock(self, path: Path, *, patience: float = 60) -> Iterator[None]:
        """Hold a lock file of the mirror, then the lease of the same name: nobody else has either, on any machine.

        Raises TrialBusy, and StorageLost where the store does not answer.
        """
        key = f"locks/{path.relative_to(self.root).as_posix()}"
        mirror = (self.root / "mirror-id").read_text()
        with super().lock(path, patience=patience), contextlib.ExitStack() as stack:
            self._leases[key] = patiently(
                self.store, lambda: stack.enter_context(leased(self.store, key, mirror=mirror, patience=patience))
            )
            try:
                yield
            finally:
                del self._leases[key]

    @contextmanager
    def hold(self, trial_id: str, *, patience: float = 60) -> Iterator[Path]:
        """The trial's folder, leased, with what the store has of it; what changes in it is pushed while it is held.

        Raises TrialBusy, and StorageLost where the store did not take the last of it.
        """
        with super().hold(trial_id, patience=patience) as folder:
            lease = self._leases[f"locks/trials/{trial_id}/lock"]
            patiently(self.store, lambda: self._take(trial_id, lease))
            pusher = self._pushers[trial_id] = _Pusher(self, trial_id, lease)
            pusher.start()
            try:
                yield folder
            except BaseException:
                with contextlib.suppress(StorageLost):  # there is a better reason to end
                    pusher.finish(patience=HASTE)
                raise
            else:
                pusher.finish()
            finally:
                del self._pushers[trial_id]

    def trouble(self, trial_id: str) -> StorageLost | None:
        """Why a trial that this process runs must end: its store is away for too long, or others took it over."""
        return self._pushers[trial_id].trouble if trial_id in self._pushers else None

    def note(self, trial_id: str, event: str, **facts: Any) -> None:
        """Append one line to the trial's events; a trial that another process ran is told of on the store too."""
        with self._amending(trial_id):
            super().note(trial_id, event, **facts)

    def fail(self, trial_id: str, *, error_class: str, message: str, traceback: str, **facts: Any) -> None:
        """The trial ended by an error."""
        with self._amending(trial_id):
            super().fail(trial_id, error_class=error_class, message=message, traceback=traceback, **facts)

    def events(self, trial_id: str) -> list[dict[str, Any]]:
        """What happened to a trial, in order."""
        self._have(trial_id, "events.jsonl")
        return super().events(trial_id)

    def scores(self, trial_id: str) -> list[dict[str, Any]]:
        """Every score of a trial."""
        self._have(trial_id, "metrics.jsonl")
        return super().scores(trial_id)

    def record(self, trial_id: str, name: str) -> dict[str, Any]:
        """The content of a file of JSON; empty where there is none."""
        self._have(trial_id, name)
        return super().record(trial_id, name)

    def publish(self, sweep: str, trial_ids: Iterable[str] = ()) -> None:
        """Push a sweep's table and report, and what MLflow has received of these trials. Raises StorageLost."""
        changed: dict[str, dict[str, Signature]] = {}
        for trial_id in trial_ids:
            found = signature_of(self.folder(trial_id) / "tracked.json")
            if found and not Synced.read(self.folder(trial_id)).has("tracked.json", found):
                changed[f"trials/{trial_id}"] = {"tracked.json": found}
        for prefix, files in changed.items():
            patiently(self.store, partial(self._push, prefix, files))
        self.publish_folder(f"sweeps/{sweep}")

    def push(self, trial_id: str, lease: Lease | None = None) -> None:
        """Write to the store what changed in a trial's folder; whoever finds a record there finds what it tells of."""
        folder, prefix = self.folder(trial_id), f"trials/{trial_id}"
        if lease is not None:
            lease.confirm()
        self._join_events(trial_id, self.store.find(prefix))
        pack_pictures(folder)
        # Read before the checkpoint is looked at: a trial writes that first, so it is never older than these.
        records = {name: found for name in RECORDS if (found := signature_of(folder / name))}
        contents = {}
        for name in records:
            with contextlib.suppress(FileNotFoundError):  # failed.json of a trial that is done after all
                contents[name] = (folder / name).read_bytes()
        files = {name: found for name, found in signatures(folder).items() if name not in RECORDS}
        files |= {name: records[name] for name in contents}
        synced = Synced.read(folder)
        lost = [name for name in FORGOTTEN if name in synced.versions and name not in files]
        if "done.json" not in contents:
            self._delete(prefix, lost)
        changed = {name: found for name, found in files.items() if not synced.has(name, found)}
        changed.pop("tracked.json", None)  # the driver publishes it
        self._push(prefix, changed, contents=contents)
        if "done.json" in contents:
            self._delete(prefix, lost)

    def _ask(self, action: Callable[[], Result]) -> Result:
        if storage.patience_seconds():
            return patiently(self.store, action)
        with self.store.refusing():
            return action()

    def _push(
        self, prefix: str, files: dict[str, Signature], contents: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        """Write files to the store in this order, and note which version they have there."""
        if not files:
            return
        folder = self.root / prefix
        for name in files:
            if name in contents:
                self.store.put(f"{prefix}/{name}", contents[name])
            elif (folder / name).exists():  # not a checkpoint that a trial has no use for any more
                self.store.put_file(f"{prefix}/{name}", folder / name)
        found = self.store.find(prefix)
        synced = Synced.read(folder)
        for name, signature in files.items():
            if f"{prefix}/{name}" in found:
                synced.versions[name] = (found[f"{prefix}/{name}"].version, *signature)
        synced.write(folder)

    def _delete(self, prefix: str, names: Sequence[str]) -> None:
        if names:
            self.store.delete(f"{prefix}/{name}" for name in names)
            synced = Synced.read(self.root / prefix)
            for name in names:
                del synced.versions[name]
            synced.write(self.root / prefix)

    def _take(self, trial_id: str, lease: Lease) -> None:
        """Bring the folder of a trial that is held to where the store is, or keep what is newer here."""
        folder, prefix = self.folder(trial_id), f"trials/{trial_id}/"
        found = self.store.find(f"trials/{trial_id}")
        theirs = {name[len(prefix) :]: one for name, one in found.items() if is_safe(name[len(prefix) :])}
        here, synced = signatures(folder), Synced.read(folder)
        wanted = {}
        for name, one in theirs.items():
            is_known = synced.is_of(name, one) and (name in here or name in FORGOTTEN)
            is_newer_here = lease.continues and name in here and name not in ("events.jsonl", "failed.json")
            if not (is_known or is_newer_here or name in UNREAD_BY_TRIALS):
                wanted[name] = one
        if not lease.continues:  # what others did not find on the store, they did without
            for name in set(here) - set(theirs) - {"tracked.json"}:
                (folder / name).unlink()
                synced.versions.pop(name, None)
            synced.write(folder)
        self._download({trial_id: wanted})

    def _download(self, wanted: dict[str, dict[str, Object]]) -> None:
        names = {(trial_id, name): self.folder(trial_id) / name for trial_id, ones in wanted.items() for name in ones}
        if not names:
            return
        before = {key: read_lines(path) for key, path in names.items() if path.suffix == ".jsonl"}
        objects = {f"trials/{trial_id}/{name}": path for (trial_id, name), path in names.items()}
        self._ask(partial(self.store.fetch, objects))
        for trial_id, ones in wanted.items():
            synced = Synced.read(self.folder(trial_id))
            for name, one in ones.items():
                if signature := signature_of(names[trial_id, name]):
                    synced.versions[name] = (one.version, *signature)
            synced.write(self.folder(trial_id))
            if "looks.zip" in ones and (self.folder(trial_id) / "looks.zip").exists():
                unpack_pictures(self.folder(trial_id))
        for (trial_id, name), lines in before.items():
            now = read_lines(names[trial_id, name])
            if name == "metrics.jsonl" and now[: len(lines)] != lines:  # it started over: MLflow has to be told anew
                (self.folder(trial_id) / "tracked.json").unlink(missing_ok=True)
            for line in lines if name == "events.jsonl" else ():
                if line not in now:  # said here while the store was away
                    append_line(names[trial_id, name], line)

    def _have(self, trial_id: str, name: str) -> None:
        """Fetch a file that was listed and is not here, or not as it was listed."""
        if name in self._listing.get(trial_id, {}) and trial_id not in self._pushers:
            self.fetch([trial_id], only=[name])

    @contextmanager
    def _amending(self, trial_id: str) -> Iterator[None]:
        """A change to a trial by who does not run it, such as the driver that lost its worker."""
        if trial_id in self._pushers:
            yield
            return
        self.folder(trial_id).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(StorageLost, ResultsError):  # what is said here stays true
            self.refresh([trial_id])
            self.fetch([trial_id], only=RECORDS)
        yield
        with contextlib.suppress(StorageLost):
            patiently(self.store, partial(self.push, trial_id))

    def _join_events(self, trial_id: str, found: dict[str, Object]) -> None:
        """Append to the events here what somebody else told of the trial on the store."""
        one, path = found.get(f"trials/{trial_id}/events.jsonl"), self.folder(trial_id) / "events.jsonl"
        if one is None or Synced.read(self.folder(trial_id)).is_of("events.jsonl", one):
            return
        known = read_lines(path)
        for line in (self.store.read(f"trials/{trial_id}/events.jsonl") or b"").splitlines():
            with contextlib.suppress(ValueError):
                if json.loads(line) not in known:
                    append_line(path, json.loads(line))

    def _bring(self, top: str, objects: Mapping[str, Object], *, only: Collection[str] | None, before: int) -> None:
        """Make the files under a folder what a listing, begun at that time, says that they are."""
        listed: dict[str, dict[str, Object]] = {
            path.parent.relative_to(self.root).as_posix(): {} for path in (self.root / top).rglob("synced.json")
        }
        for name, one in objects.items():
            folder, _, file = name.rpartition("/")
            if all(map(is_safe, name.split("/"))):
                listed.setdefault(folder, {})[file] = one
        new: dict[str, dict[str, Object]] = {}
        for folder, files in listed.items():
            self._forget_deleted(folder, files, before=before)
            synced = Synced.read(self.root / folder)
            for file, one in files.items():
                is_here = synced.is_of(file, one) and (self.root / folder / file).exists()
                if (only is None or file in only) and not is_here:
                    new.setdefault(folder, {})[file] = one
        if new:
            wanted = [f"{folder}/{file}" for folder, files in new.items() for file in files]
            self._ask(partial(self.store.fetch, {name: self.root / name for name in wanted}))
        for folder, files in new.items():
            synced = Synced.read(self.root / folder)
            for file, one in files.items():
                if signature := signature_of(self.root / folder / file):
                    synced.versions[file] = (one.version, *signature)
            synced.write(self.root / folder)

    def _forget_deleted(self, name: str, files: Collection[str], *, before: int) -> None:
        """Delete what was the store's and is not any more, unless this machine pushed it after the listing."""
        folder = self.root / name
        written = signature_of(folder / "synced.json")
        gone = [file for file in Synced.read(folder).versions if file not in files]
        if not gone or (written and written[0] > before):
            return
        with contextlib.ExitStack() as locks:
            if self._locked(name, locks):
                synced = Synced.read(folder)
                for file in gone:
                    (folder / file).unlink(missing_ok=True)
                    synced.versions.pop(file, None)
                synced.write(folder)

    def _locked(self, name: str, locks: contextlib.ExitStack) -> bool:
        """Whether the mirror's lock of a folder could be had at once."""
        (self.root / name).mkdir(parents=True, exist_ok=True)
        try:
            locks.enter_context(super().lock(self.root / name / "lock", patience=0))
        except TrialBusy:
            return False
        return True


class _Pusher:
    """A thread that pushes what changes in the folder of a running trial."""

    def __init__(self, ledger: MirroredLedger, trial_id: str, lease: Lease) -> None:
        self.ledger, self.trial_id, self.lease = ledger, trial_id, lease
        self.trouble: StorageLost | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="zoombench-push", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, *, patience: float | None = None) -> None:
        """Push the last of it; raises StorageLost where that cannot be done."""
        self._ending.set()
        self._thread.join()
        if self.trouble is not None:
            raise self.trouble
        patiently(self.ledger.store, lambda: self.ledger.push(self.trial_id, self.lease), seconds=patience)

    def _follow(self) -> None:
        before: dict[str, Signature] = {}
        while not self._ending.wait(PAUSE):
            now = signatures(self.ledger.folder(self.trial_id))
            if now != before:
                try:
                    patiently(
                        self.ledger.store,
                        lambda: self.ledger.push(self.trial_id, self.lease),
                        wait=self._ending.wait,
                    )
                except StorageLost as error:
                    if self.lease.gone or not self._ending.is_set():
                        self.trouble = error
                    return
                before = now


def mirror_folder(url: str) -> Path:
    """Where this machine mirrors the results under a URL: in ZOOMBENCH_CACHE, else in the user's cache directory."""
    named = os.environ.get("ZOOMBENCH_CACHE")
    home = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoombench"
    return home.absolute() / "results" / hashlib.sha256(url.encode()).hexdigest()[:16]
