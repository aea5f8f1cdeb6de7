"""`zoombench profile`: measure each configuration alone, in fresh processes, one after another.

Never from trials: beside each other they slow each other down, and a used process is warm. Methods take turns, so that
what the machine does over the minutes falls on all of them, and each measurement brings its own reference.
"""

import argparse
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import planned, preflight, profiles, spec, storage
from .errors import UsageError
from .estimates import BUSY
from .ledger import Ledger, at
from .profiles import Profile
from .spec import TrialSpec
from .sweepfile import Settings

DONE, FAILED, INTERRUPTED = 0, 3, 130
FEWEST_PROCESSES = 3
"""An interval over fewer processes says nothing."""


def profile_sweep(options: argparse.Namespace) -> int:
    """Plan, subtract what is measured, measure the rest, show all of it."""
    if options.processes < FEWEST_PROCESSES:
        raise UsageError(
            f"--processes {options.processes}: an interval over processes needs {FEWEST_PROCESSES} or more."
        )
    ledger = at(options.results)
    ledger.refresh()
    sweep = planned.load(options.sweep, ledger)
    chosen: dict[str, TrialSpec] = {}
    for trial in spec.select(sweep.trials, options.only):
        if trial.is_runnable and trial.purpose == "final":
            chosen.setdefault(profiles.configuration(trial), trial)
    if not chosen:
        raise UsageError(f"no configuration of {sweep.name} can run; `zoombench plan` says why.")
    settings = sweep.settings.model_copy(update={"device": options.device} if options.device else {})
    preflight.refuse_absent_devices(list(chosen.values()), settings)
    preflight.refuse_absent_data(list(chosen.values()), settings.data)
    ledger = ledger.prepared()
    profiles.fetch(ledger)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    with alone():
        found = located(list(chosen.values()), settings, ledger)
        if options.again:
            for one in found:
                ledger.forget_folder(one.profile.name)
        missing = [one for one in found if not one.profile.is_done]
        console.print(f"{sweep.name}: {len(missing)} of {len(found)} configurations to measure")
        for warning in doubts(ledger) if missing else ():
            console.print(f"warning: {warning}")
        try:
            failed = _measure(missing, settings, options, console)
        except KeyboardInterrupt:
            print("\nStopped. What is measured stays; the same command goes on from there.", flush=True)
            return INTERRUPTED
    done = [one for one in found if one.profile.is_done]
    if done:
        _show(done)
    with storage.waited_for(ledger.root, settings.storage_patience_minutes):
        for one in done:
            ledger.publish_folder(one.profile.name)
    return FAILED if failed else DONE


@dataclass(frozen=True)
class Measured:
    """A configuration and where its profile lies."""

    trial: TrialSpec
    conditions: Mapping[str, Any]
    profile: Profile

    @property
    def title(self) -> str:
        """Words for messages."""
        return f"{self.trial.method.label}, {self.trial.dataset.label}, {self.trial.budget_label}"


def located(trials: Sequence[TrialSpec], settings: Settings, ledger: Ledger) -> list[Measured]:
    """Each configuration under the conditions of this machine; a fresh process tells what device it would use."""
    devices: dict[bool, dict[str, Any]] = {}
    found = []
    for trial in trials:
        on_cpu = trial.budget.gpus == 0
        if on_cpu not in devices:
            told = ask(trial, settings)
            if told.returncode:
                raise UsageError(f"no device to measure on: {last_line(told)}. Choose one with --device.")
            devices[on_cpu] = json.loads(told.stdout)
        known = devices[on_cpu] | {
            "precision": settings.precision,
            "threads": settings.cpu_threads or trial.budget.cpus,
            "workers": settings.workers,
            "code": profiles.code_of(trial),
        }
        found.append(Measured(trial, known, profiles.of(trial, known, ledger)))
    return found


def _measure(
    missing: Sequence[Measured], settings: Settings, options: argparse.Namespace, console: Console
) -> dict[str, str]:
    """Every process of every configuration, in turns; why some could not be measured, by trial."""
    failed: dict[str, str] = {}
    for number in range(options.processes):
        for one in missing if number % 2 == 0 else reversed(missing):  # nobody always comes first
            result = one.profile.process(number)
            if one.trial.id in failed or result.exists():
                continue
            result.parent.mkdir(parents=True, exist_ok=True)
            done = ask(one.trial, settings, str(result), calls=options.calls, seconds=options.seconds)
            if done.returncode:
                failed[one.trial.id] = last_line(done)
                console.print(f"FAILED {one.title}: {failed[one.trial.id]}")
            else:
                console.print(f"[process {number + 1} of {options.processes}] {one.title}")
    for one in missing:
        if one.trial.id not in failed:
            one.profile.finish(options.processes, one.conditions)
    return failed


def ask(
    trial: TrialSpec, settings: Settings, *words: str, module: str = "timing", **amounts: float
) -> "subprocess.CompletedProcess[str]":
    """Ask a fresh process of a module of the harness; it is killed where this one is interrupted."""
    request = {"spec": trial.to_json(), "settings": settings.model_dump()} | amounts
    command = [sys.executable, "-m", f"zoombench.harness.{module}", *words]
    return subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """What a process that failed said last."""
    return (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]


@contextmanager
def alone() -> Iterator[None]:
    """Hold the machine's lock, which goes with the process: two profiles at once would measure each other."""
    path = Path(tempfile.gettempdir()) / "zoombench-profile.lock"
    with contextlib.suppress(FileExistsError, PermissionError):  # somebody else's is as good, to read is enough
        path.touch(mode=0o644)
    with path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "another profile runs on this machine, and each would slow the other. Wait for it."
            ) from None
        yield


def doubts(ledger: Ledger) -> list[str]:
    """What else the machine is at, as far as can be seen from here."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    running = sum(ledger.is_held(lock.parent.name) for lock in ledger.root.glob("trials/*/lock"))
    said = []
    if load > BUSY * cpus:
        said.append(f"the machine is busy (load {load:.1f} on {cpus} CPUs): what is measured now is too slow.")
    if running:
        said.append(
            f"{running} trials of {ledger.place} are running: what is measured now is too slow if they run here."
        )
    return said


def _show(done: Sequence[Measured]) -> None:
    """One row a configuration, what its operations are spent on, and what to doubt."""
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)
    from ..reports.cautions import DRIFT

    clock, work, doubts = Table(), Table(), []
    for head in (
        "configuration",
        "p50, ms [95%]",
        "p90, ms",
        "p99, ms",
        "images/s",
        "pipeline, ms",
        "images/s",
        "drift",
    ):
        clock.add_column(head, justify="left" if head == "configuration" else "right", overflow="fold")
    for head in ("configuration", "GFLOPs", "by part", "memory, MiB: step", "forward", "host", "J/image"):
        work.add_column(head, justify="left" if head in ("configuration", "by part") else "right", overflow="fold")
    for one in done:
        c: dict[str, Any] = one.profile.read()["columns"]
        percentiles = (
            f"{c[name]:.3g} [{_or_dash(c[f'{name}_low'])}, {_or_dash(c[f'{name}_high'])}]"
            for name in ("latency_ms_p50", "latency_ms_p90", "latency_ms_p99")
        )
        drift = f"{100 * c['latency_drift']:.1f}%{' !' if c['latency_drift'] > DRIFT else ''}"
        rates = (f"{c['images_per_second']:.4g}", f"{c['pipeline_ms_p50']:.3g}")
        clock.add_row(one.title, *percentiles, *rates, f"{c['pipeline_images_per_second']:.4g}", drift)
        parts = ", ".join(f"{part or 'itself'} {count:.3g}" for part, count in one.profile.parts.items())
        memory = (_or_dash(c[name]) for name in ("peak_memory_mib", "inference_memory_mib", "host_memory_mib"))
        work.add_row(one.title, _or_dash(c["gflops"]), parts, *memory, _or_dash(c["energy_j"]))
        doubts += [f"{one.title}: no GFLOPs, {c['gflops_refused']}."] if c["gflops_refused"] else []
        few = [f"p{percent}" for percent in (90, 99) if c[f"latency_ms_p{percent}_high"] is None]
        doubts += [f"{one.title}: {c['latency_calls']} calls give {' and '.join(few)} no upper end."] if few else []
    console.print(clock, work)
    columns = [one.profile.read()["columns"] for one in done]
    for line in dict.fromkeys(f"{c['latency_processes']} processes; {c['latency_conditions']}" for c in columns):
        console.print(line)
    moved = sum(c["latency_drift"] > DRIFT for c in columns)
    if moved:
        doubts.append(
            f"!: the reference network changed by more than {100 * DRIFT:.0f}% within a process of {moved} of "
            f"{len(done)} configurations: the machine was not steady. `--again` on an idle one measures anew."
        )
    for line in doubts:
        console.print(line)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
