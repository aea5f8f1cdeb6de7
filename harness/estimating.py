"""What a sweep will cost, said before it runs and kept beside its report, where it is held against what it did cost.

    results/sweeps/<name>/estimate.json     for each trial what was predicted before it ran, from what, and when;
                                            for each run its wall-clock, predicted and real

A prediction is made once: a trial that goes on, or runs again, is held against the first.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from ..reports.predicted import Predicted
from . import estimates, preflight, profiles, profiling, spending
from .errors import ResultsError
from .estimates import Amount, Prediction, Weighed
from .ledger import Ledger, now, write_json
from .spec import Sweep, TrialSpec
from .sweepfile import Settings

KWH = 3.6e6
"""Joules."""
GPUS = Path("/proc/driver/nvidia/gpus")
"""Where the driver lists them: to count them needs no torch."""
NAMED = 3
"""Configurations without an estimate that are named."""


def lines(
    trials: Sequence[TrialSpec], sweep: Sweep, ledger: Ledger, settings: Settings, *, slots: int | None
) -> list[str]:
    """What trials that are still to run will take, and from what that is known."""
    if not trials:
        return []
    found = estimates.predict(trials, sweep, ledger, settings)
    known = [trial for trial in trials if trial.id in found]
    parts = [(found[trial.id], _left(trial, ledger)) for trial in known]
    said = []
    if parts:
        count = slots or slots_here(trials, settings)
        said.append(f"Estimate for {len(known)} of {len(trials)} trials to run:")
        said += [
            f"  {name:10} {_in_words(amount)} {unit}".rstrip()
            for name, amount, unit in _amounts(parts, count, settings)
        ]
        used = Counter(prediction.basis for prediction, _ in parts)
        said += [f"  {count} by {basis}" for basis, count in used.items()]
        said.append(
            f"  In brackets: what {estimates.LEVEL:.0%} of such sums would lie in, were the machine as busy as when "
            f"these were measured{_widened(parts)}."
        )
    unknown = {profiles.configuration(trial): trial for trial in trials if trial.id not in found}
    if unknown:
        named = [f"{one.method.label}, {one.dataset.label}, {one.budget_label}" for one in unknown.values()]
        more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
        said.append(
            f"Cost unknown for {len(unknown)} configuration{'' if len(unknown) == 1 else 's'} "
            f"({'; '.join(named[:NAMED])}{more}): `plan --calibrate` measures a few steps of each."
        )
    return said


def slots_here(trials: Sequence[TrialSpec], settings: Settings) -> int:
    """How many trials this machine runs together, by the largest of them."""
    room = (os.cpu_count() or 1) // max(trial.budget.cpus_taken for trial in trials)
    gpus = 0 if settings.device == "cpu" else len(list(GPUS.glob("*")))
    each = max(trial.budget.gpus_where_there_are for trial in trials)
    if gpus and each:
        room = min(room, int(gpus / each))
    return max(1, min(room, settings.trials_at_once or room))


def calibrate(trials: Sequence[TrialSpec], sweep: Sweep, ledger: Ledger, settings: Settings, *, steps: int) -> None:
    """Let a fresh process train some steps of each configuration of which nothing is known here."""
    known = estimates.predict(trials, sweep, ledger, settings)
    unknown = list({profiles.configuration(trial): trial for trial in trials if trial.id not in known}.values())
    if not unknown:
        return
    preflight.refuse_absent_devices(unknown, settings)
    preflight.refuse_absent_data(unknown, settings.data)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    with profiling.alone():
        for warning in profiling.doubts(ledger):
            console.print(f"warning: {warning}")
        for one in profiling.located(unknown, settings, ledger):
            conditions = dict(one.conditions) | estimates.conditions_of(one.trial, settings)
            path = estimates.calibration_file(one.trial, conditions, ledger)
            path.parent.mkdir(parents=True, exist_ok=True)
            left = path.with_suffix(".measuring")
            began = time.monotonic()
            done = profiling.ask(one.trial, settings, str(left), module="calibrating", steps=steps)
            if done.returncode:
                console.print(f"FAILED {one.title}: {profiling.last_line(done)}")
                continue
            write_json(path, json.loads(left.read_text(encoding="utf-8")) | {"conditions": conditions, "time": now()})
            left.unlink()
            console.print(f"calibrated in {time.monotonic() - began:.0f} s: {one.title}")


@contextmanager
def predicted(
    missing: Sequence[TrialSpec], sweep: Sweep, ledger: Ledger, settings: Settings, *, slots: int | None
) -> Iterator[None]:
    """Write what trials will take before they run, and how long all of them took once they have."""
    path = ledger.sweep_folder(sweep.name) / "estimate.json"
    found = estimates.predict(missing, sweep, ledger, settings)
    kept = _read(path)
    told = {trial_id: asdict(one) | {"time": now()} for trial_id, one in found.items()}
    kept["trials"] = told | kept["trials"]
    run: dict[str, Any] = {"time": now(), "trials": len(missing), "slots": slots}
    if slots and len(found) == len(missing):
        parts = [(found[trial.id], _left(trial, ledger)) for trial in missing]
        run["predicted"] = list(estimates.wall_clock(parts, slots))
    kept["runs"].append(run)
    write_json(path, kept)
    began = time.monotonic()
    yield
    if not ledger.missing(missing):
        run["seconds"] = time.monotonic() - began
        write_json(path, kept)


def compared(sweep: Sweep, ledger: Ledger) -> tuple[Predicted, ...]:
    """What was predicted for trials that are done now, beside what they took: by method, in all, and of each run."""
    kept = _read(ledger.sweep_folder(sweep.name) / "estimate.json")
    told = {
        trial_id: Prediction(**{key: value for key, value in one.items() if key != "time"})
        for trial_id, one in kept["trials"].items()
    }
    parts: list[tuple[str, Prediction, spending.Spending]] = []
    for trial in sweep.runnable:
        if trial.id in told and ledger.state(trial.id) == "done":
            spent = spending.of_trial(ledger.events(trial.id))
            if spent is not None:
                parts.append((trial.method.label, told[trial.id], spent))
    labels = dict.fromkeys(label for label, _, _ in parts)
    found: list[Predicted] = []
    for on_gpu in (True, False):
        mine = [part for part in parts if (part[1].gpus > 0) is on_gpu]
        for label in [*labels, *(["all"] if len(labels) > 1 else [])]:
            of_it = [part for part in mine if label in (part[0], "all")]
            found += _rows(label, of_it, "GPU-hours" if on_gpu else "CPU-hours")
    for run in kept["runs"]:
        if "predicted" in run and "seconds" in run:
            amount = Amount(*run["predicted"]).times(1 / 60)
            title = f"run of {run['time'][:16].replace('T', ' ')} UTC on {_slots(run['slots'])}"
            found.append(Predicted(title, "wall-clock, minutes", run["trials"], *amount, actual=run["seconds"] / 60))
    return tuple(found)


def _rows(label: str, parts: Sequence[tuple[str, Prediction, spending.Spending]], unit: str) -> Iterator[Predicted]:
    if not parts:
        return
    whole: list[Weighed] = [(one, 1.0) for _, one, _ in parts]
    hours = sum(spent.seconds * (one.gpus or one.cpus) for _, one, spent in parts) / 3600
    amount = estimates.total(whole, of=lambda one: one.device_hours)
    yield Predicted(label, unit, len(parts), *amount, actual=hours)
    joules = [spent.joules for _, _, spent in parts if spent.joules is not None]
    if len(joules) == len(parts) and all(one.joules is not None for one, _ in whole):
        amount = estimates.total(whole, of=lambda one: one.joules or 0.0).times(1 / KWH)
        yield Predicted(label, "kWh", len(parts), *amount, actual=sum(joules) / KWH)


def _amounts(parts: Sequence[Weighed], slots: int, settings: Settings) -> Iterator[tuple[str, Amount, str]]:
    prices = settings.cost
    bills: list[Amount] = []
    energies: list[Amount] = []
    for name, price, some in (
        ("GPU-hours", prices.price_per_gpu_hour, [part for part in parts if part[0].gpus]),
        ("CPU-hours", prices.price_per_cpu_hour, [part for part in parts if not part[0].gpus]),
    ):
        if some:
            hours = estimates.total(some, of=lambda one: one.device_hours)
            yield name, hours, ""
            bills += [hours.times(price)] if price else []
            if all(one.joules is not None for one, _ in some):
                energies.append(estimates.total(some, of=lambda one: one.joules or 0.0).times(1 / KWH))
            elif prices.watts:
                energies.append(hours.times(prices.watts / 1000))
    yield "wall-clock", estimates.wall_clock(parts, slots).times(1 / 60), f"minutes on {_slots(slots)}"
    sized = [part for part in parts if part[0].size is not None]
    if sized:
        of_files = sum(one.size or 0.0 for one, _ in sized) / 2**20
        meanwhile = sum(sorted(one.checkpoint for one, _ in parts)[-slots:]) / 2**20
        most = of_files * (estimates.FACTOR if any(one.factor > 1 for one, _ in sized) else 1) + meanwhile
        yield "disk", Amount(of_files, of_files, most), "MiB, at most while checkpoints are there too"
    kinds = len({bool(one.gpus) for one, _ in parts})
    if len(bills) == kinds:
        yield "money", _sum(bills), prices.currency
    if len(energies) == kinds:
        yield "energy", _sum(energies), "kWh"
        if prices.kg_co2_per_kwh:
            yield "CO2", _sum(energies).times(prices.kg_co2_per_kwh), "kg"


def _sum(amounts: Sequence[Amount]) -> Amount:
    return Amount(*(sum(ends) for ends in zip(*amounts, strict=True)))


def _left(trial: TrialSpec, ledger: Ledger) -> float:
    """Share of a trial that is still to be trained."""
    epochs = len({score["epoch"] for score in ledger.scores(trial.id) if score["split"] == "train"})
    return max(0.0, 1 - epochs / trial.budget.epochs)


def _slots(count: int) -> str:
    return f"{count} slot{'' if count == 1 else 's'}"


def _in_words(amount: Amount) -> str:
    return f"{amount.value:.3g} [{amount.low:.3g}, {amount.high:.3g}]"


def _widened(parts: Sequence[Weighed]) -> str:
    if all(one.factor == 1 for one, _ in parts):
        return ""
    return f"; a factor of {estimates.FACTOR:g} either way is in it where no finished trials show how they differ"


def _read(path: Path) -> dict[str, Any]:
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {"trials": {}, "runs": []}
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}. Delete the file: `run` writes it again.") from error
    return dict(kept)
