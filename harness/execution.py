"""Execute one trial in this process: hold it, run it, keep every score once, write done or failed.

The same function serves Ray's workers and the serial loop. Imports torch only when a trial runs.
"""

import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from . import lookup, spending, storage
from .budget import Budget
from .errors import Preempted, StorageLost, TimedOut, TrialBusy, WorkerLost, ZoombenchError
from .ledger import Ledger, append_line, now
from .spec import TrialSpec
from .sweepfile import Settings

MOST_LOSSES = 3
"""A trial whose process died so often without finishing an epoch in between is not started again."""

Outcome = Literal["done", "failed", "out of memory", "busy", "lost", "lost storage", "preempted"]
Steps = Generator[dict[str, Any], None, Outcome]


def execute(
    spec: TrialSpec,
    ledger: Ledger,
    settings: Settings,
    *,
    commit: str,
    retry: bool = False,
    listen: Callable[[dict[str, Any]], None] = lambda score: None,
) -> Outcome:
    """What `steps` does, in one go; `listen` hears every new score."""
    going = steps(spec, ledger, settings, commit=commit, retry=retry)
    while True:
        try:
            listen(next(going))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def steps(spec: TrialSpec, ledger: Ledger, settings: Settings, *, commit: str, retry: bool = False) -> Steps:
    """Run one trial to its end, whatever that is; its error becomes failed.json, never an exception.

    Yields every new score as it comes, and returns the outcome. "lost" (one of its processes was killed), "preempted"
    (this process got SIGTERM) and "lost storage" (the results folder was away for too long, so this is in no record)
    are no failures: the trial goes on another time, from its checkpoint. After "out of memory" the process may be
    damaged and is better replaced.

    A trial that failed before runs again only where `retry` says so.
    KeyboardInterrupt passes through with nothing recorded: the trial goes on another time.
    """
    try:
        with storage.waited_for(ledger.root, settings.storage_patience_minutes), ledger.hold(spec.id):
            state = ledger.state(spec.id)
            if state == "done" or (state == "failed" and not retry):
                return state
            asked = threading.Event()
            outcome = yield from _execute_held(spec, ledger, settings, commit=commit, asked=asked)
    except TrialBusy:
        return "busy"
    except StorageLost as error:
        print(f"trial {spec.id} ({spec.title}) stops here: {error}", file=sys.stderr, flush=True)
        return "lost storage"
    if asked.is_set() and outcome != "preempted":
        signal.raise_signal(signal.SIGTERM)  # it came when the trial was about to end: now it is for the process
    return outcome


def give_up(spec: TrialSpec, ledger: Ledger, cause: str) -> bool:
    """Whether a trial whose process was lost is lost for good; if so, that is recorded."""
    if ledger.losses(spec.id) < MOST_LOSSES:
        return False
    ledger.fail(
        spec.id,
        error_class="WorkerLost",
        message=f"the process of trial {spec.id} ({spec.title}) died {MOST_LOSSES} times without finishing an epoch in "
        f"between: {cause}",
        traceback=cause,
    )
    return True


def _execute_held(spec: TrialSpec, ledger: Ledger, settings: Settings, *, commit: str, asked: threading.Event) -> Steps:
    ledger.describe(spec)
    before = [event for event in ledger.events(spec.id) if event["event"] == "start"]
    attempt, code = len(before) + 1, f"{spec.method.fingerprint} {spec.dataset.fingerprint}"
    if before and before[-1].get("code") != code:
        ledger.start_over(spec.id)  # what another version of the code began, this one must not finish
    ledger.note(spec.id, "start", attempt=attempt, code=code)

    def note(event: str, **facts: Any) -> None:
        ledger.note(spec.id, event, attempt=attempt, **facts)

    try:
        from . import trial

        kept = {(s["split"], s["epoch"], s["metric"]) for s in ledger.scores(spec.id)}
        with spending.noted(spec, settings, note), _reasons_to_end(spec, ledger, settings, asked) as stop:
            for score in trial.run(spec, ledger.folder(spec.id), settings, note, stop):
                if (score.split, score.epoch, score.metric) not in kept:
                    line = score._asdict() | {"time": now(), "attempt": attempt}
                    append_line(ledger.folder(spec.id) / "metrics.jsonl", line)
                    yield line
    except Preempted as error:
        note("preempted", message=str(error))
        return "preempted"
    except WorkerLost as error:
        note("lost", cause=str(error))
        return "lost"
    except StorageLost:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it ends this trial alone
        ran_out = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        ledger.fail(
            spec.id,
            error_class=type(error).__name__,
            message=f"{_message(error).rstrip('.')}. {_less_memory(spec.budget)}" if ran_out else _message(error),
            traceback=traceback.format_exc(),
            commit=commit,
            attempts=attempt,
        )
        return "out of memory" if ran_out else "failed"
    finally:
        _release_memory(settings)
    facts = ledger.record(spec.id, "facts.json") | ledger.record(spec.id, "cost.json")
    ledger.finish(
        spec.id,
        attempts=attempt,
        started=ledger.events(spec.id)[0]["time"],
        finished=now(),
        commit=commit,
        python=platform.python_version(),
        method_code=spec.method.fingerprint,
        dataset_code=spec.dataset.fingerprint,
        **facts,
    )
    return "done"


def _message(error: BaseException) -> str:
    """What an error says; torch puts the words of a loader's process at the end of a traceback."""
    said = str(error).strip() or type(error).__name__
    first, *rest = said.splitlines()
    if rest and re.fullmatch(r"Caught \S+ in DataLoader worker process \d+\.", first):
        return rest[-1].partition(": ")[2] or rest[-1]
    return said


def _less_memory(budget: Budget) -> str:
    """What to try where memory ran out."""
    together = budget.micro_batch or budget.batch
    if together == 1:
        return "A batch goes through the network one by one already: try a smaller image_size or another precision."
    return (
        f"{together} examples went through the network together: give the budget a micro_batch of {together // 2}, "
        "which learns from the same batch in pieces."
    )


@contextmanager
def _reasons_to_end(
    spec: TrialSpec, ledger: Ledger, settings: Settings, asked: threading.Event
) -> Iterator[Callable[[], ZoombenchError | None]]:
    """What tells a trial to end: its timeout, lost storage, or SIGTERM, which sets `asked` (a node is taken away)."""
    began = storage.clock()

    def stop() -> ZoombenchError | None:
        if asked.is_set():
            return Preempted("told to end by SIGTERM")
        if (lost := ledger.trouble(spec.id)) is not None:
            return lost
        minutes = settings.timeout_minutes
        if minutes is not None and storage.clock() - began > 60 * minutes:
            return TimedOut(
                f"trial {spec.id} ({spec.title}) took longer than settings.timeout_minutes, {minutes:g}. Raise it, "
                "then `zoombench retry` goes on from the checkpoint."
            )
        return None

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can listen to signals
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _release_memory(settings: Settings) -> None:
    """A used process must be as good as a fresh one for the next trial."""
    import gc

    import torch

    gc.collect()
    _freeze_what_stays()
    if settings.device != "cpu" and torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def _freeze_what_stays() -> None:
    """Once a process: leave what torch's imports built out of later collections, which take 0.2 s with it."""
    import atexit
    import gc

    gc.freeze()
    atexit.register(gc.unfreeze)  # so that what is left is still collected when the process ends


def git_commit() -> str:
    """The commit of this checkout, with `+changes` where files differ from it; empty outside a checkout."""

    def git(*words: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(lookup.ROOT), *words], capture_output=True, text=True, check=False, timeout=30
        )
        return answer.stdout.strip() if answer.returncode == 0 else ""

    if shutil.which("git") is None or not (lookup.ROOT / ".git").exists():
        return ""
    changed = git("status", "--porcelain", "--", "harness", "baselines", "datasets")
    return git("rev-parse", "HEAD") + ("+changes" if changed else "")
