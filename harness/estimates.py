"""What trials will take, from what trials like them took or what a calibration saw. Imports no torch.

    results/estimates/<configuration>/<conditions>.json    what `zoombench plan --calibrate` saw, keyed as profiles are

Times are multiplicative, so that all is done with their logarithms. Of n finished trials of a configuration (a trial
without its seed, its epochs and its recipe) the interval of the mean of k further ones is t s sqrt(1/k + 1/n), with s
pooled over the configurations. A calibration sees pieces of one trial: the interval is that of a further piece, and
FACTOR on top.
"""

import hashlib
import heapq
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from . import profiles, spending
from .ledger import Ledger
from .spec import Sweep, TrialSpec
from .sweepfile import Settings

LEVEL = 0.95
"""Share of such totals that the intervals are made to hold."""
FACTOR = 1.5
"""By which an interval is widened either way where nobody saw how much trials differ: after a calibration, or where no
configuration has two finished trials."""
PROTOCOL = 1
"""Raised when harness/calibrating.py measures differently: calibrations are then made again."""
BUSY = 0.3
"""Load for each CPU from which on the machine is called busy."""
LOOKED_AT = 3
"""Finished trials of a configuration whose files are weighed."""


class Amount(NamedTuple):
    """A total and its interval."""

    value: float
    low: float
    high: float

    def times(self, by: float) -> "Amount":
        """The same in another unit."""
        return Amount(*(by * one for one in self))


@dataclass(frozen=True)
class Prediction:
    """What one trial will take from its first to its last second."""

    group: str
    """Trials that are predicted from the same measurements: their errors go together."""
    seconds: float
    gpus: float
    """That it holds; 0 on the CPU."""
    cpus: int
    own: float
    """Variance of the logarithm of the seconds, from trial to trial."""
    shared: float
    """Variance of what all trials of the group are predicted from."""
    freedom: int
    """Degrees of freedom of both."""
    factor: float
    """By which the interval is wider either way."""
    basis: str
    """Where all this comes from, in words."""
    joules: float | None = None
    size: float | None = None
    """Bytes that it leaves."""
    checkpoint: float = 0.0
    """Bytes that it needs besides while it runs."""

    @property
    def device_hours(self) -> float:
        """GPU-hours, or CPU-hours of a trial that holds no GPU."""
        return self.seconds * (self.gpus or self.cpus) / 3600


Weighed = tuple[Prediction, float]
"""A prediction and the share of its trial that is meant: what is left of one that was begun."""


def total(parts: Iterable[Weighed], of: Callable[[Prediction], float]) -> Amount:
    """A sum over trials. The ends of groups are added up, as if all erred to one side: what slows one slows all."""
    groups: dict[str, list[Weighed]] = {}
    for one in parts:
        groups.setdefault(one[0].group, []).append(one)
    value = low = high = 0.0
    for members in groups.values():
        first, among = members[0][0], sum(share * of(prediction) for prediction, share in members)
        width = _t(first.freedom) * math.sqrt(first.own / len(members) + first.shared)
        by = first.factor * math.exp(min(width, 50))
        value, low, high = value + among, low + among / by, high + among * by
    return Amount(value, low, high)


def wall_clock(parts: Sequence[Weighed], slots: int) -> Amount:
    """Seconds until the last trial ends, where a slot takes the next one as soon as it is free."""
    free = [0.0] * max(1, slots)
    for prediction, share in parts:
        heapq.heappush(free, heapq.heappop(free) + share * prediction.seconds)
    whole = total(parts, of=lambda one: one.seconds)
    return whole.times(max(free) / whole.value) if whole.value else whole


def predict(trials: Sequence[TrialSpec], sweep: Sweep, ledger: Ledger, settings: Settings) -> dict[str, Prediction]:
    """What each of these trials will take, by its id; those of which nothing is known are left out."""
    named = _Configurations()
    wanted = {named.of(trial): trial for trial in trials}
    if not wanted:
        return {}
    seen = list(_finished(sweep.runnable, ledger, settings))
    lacking = wanted.keys() - {named.of(one.trial) for one in seen}
    if lacking:
        others = _others({trial.id for trial in sweep.runnable}, [wanted[one] for one in lacking], ledger)
        seen += _finished(others, ledger, settings)
    groups: dict[str, list[_Finished]] = {}
    for one in seen:
        groups.setdefault(named.of(one.trial), []).append(one)
    groups = {name: _on_last_device(members) for name, members in groups.items()}
    spread, freedom = _pooled(groups.values())
    made: dict[tuple[str, int], Prediction | None] = {}
    for trial in trials:
        key = (named.of(trial), trial.budget.epochs)
        if key not in made:
            made[key] = (
                _from_finished(trial, groups[key[0]], ledger, spread=spread, freedom=freedom)
                if key[0] in groups
                else _from_calibration(trial, ledger, settings)
            )
    by_id = ((trial.id, made[named.of(trial), trial.budget.epochs]) for trial in trials)
    return {trial_id: found for trial_id, found in by_id if found is not None}


def spent_seconds(trial_id: str, ledger: Ledger) -> float | None:
    """Seconds that a finished trial took, all attempts together; None where nobody noted it."""
    record = ledger.record(trial_id, "done.json")
    if record.get("attempts") == 1:
        began, ended = record.get("started"), record.get("finished")
        if not began or not ended:
            return None
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    spent = spending.of_trial(ledger.events(trial_id))
    return spent.seconds if spent else None


def calibration_file(trial: TrialSpec, conditions: Mapping[str, Any], ledger: Ledger) -> Path:
    """Where what a calibration saw is kept."""
    named = hashlib.sha256(json.dumps([PROTOCOL, conditions], sort_keys=True).encode()).hexdigest()[:12]
    return _folder(trial, ledger) / f"{named}.json"


def conditions_of(trial: TrialSpec, settings: Settings) -> dict[str, Any]:
    """What moves the clock, as far as it is known without asking the device."""
    return {
        "protocol": PROTOCOL,
        "precision": settings.precision,
        "compile": settings.compile,
        "threads": settings.cpu_threads or trial.budget.cpus,
        "workers": settings.workers,
        "processes": trial.budget.processes,
        "gpus": trial.budget.gpus,
        "code": profiles.code_of(trial),
    }


def extrapolated(seen: Mapping[str, Any], epochs: int) -> tuple[float, float]:
    """Seconds of a whole trial from what a calibration saw, and the variance of their logarithm.

    Set-up once; each epoch its steps, its validation examples and a checkpoint; at the end the test examples and files.
    """
    pieces: list[float] = seen["piece_seconds"]
    step = sum(pieces) / len(pieces)
    of_epoch = seen["steps_of_epoch"] * step + seen["validation"] * seen["judge_seconds"] + seen["save_seconds"]
    seconds = seen["set_up_seconds"] + epochs * of_epoch + seen["test"] * seen["judge_seconds"] + seen["save_seconds"]
    return seconds, _variance([math.log(piece) for piece in pieces]) * (1 + 1 / len(pieces))


@dataclass(frozen=True)
class _Finished:
    trial: TrialSpec
    seconds: float
    record: dict[str, Any]

    @property
    def gpus(self) -> float:
        """Held while it ran."""
        hours, trained = self.record.get("gpu_hours") or 0.0, self.record.get("train_seconds") or 0.0
        return round(3600 * hours / trained, 6) if trained else 0.0


class _Configurations:
    """Names of configurations; each is reckoned once for all its seeds."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], str] = {}

    def of(self, trial: TrialSpec) -> str:
        content = (trial.method.name, trial.dataset.name, str(trial.dataset.content), trial.purpose)
        key = (*content, trial.budget_label, trial.method.label, trial.dataset.label, repr(trial.drawn))
        if key not in self._known:
            self._known[key] = profiles.configuration(trial)
        return self._known[key]


def _finished(trials: Iterable[TrialSpec], ledger: Ledger, settings: Settings) -> Iterator[_Finished]:
    """Those that were finished by today's code under these settings."""
    for trial in trials:
        record = ledger.record(trial.id, "done.json")
        if not record or not _is_like(record, trial, settings):
            continue
        seconds = spent_seconds(trial.id, ledger)
        if seconds:
            yield _Finished(trial, seconds, record)


def _is_like(record: Mapping[str, Any], trial: TrialSpec, settings: Settings) -> bool:
    """Whether a trial was made as this sweep would make it."""
    on_gpu = bool(record.get("gpu_hours"))
    ranks = trial.budget.processes or (max(1, int(trial.budget.gpus_where_there_are)) if on_gpu else 1)
    return (
        [record.get("method_code"), record.get("dataset_code")] == profiles.code_of(trial)
        and record.get("precision") == settings.precision
        and record.get("compiled", False) == settings.compile
        and record.get("cpu_threads") == (settings.cpu_threads or trial.budget.cpus)
        and record.get("processes", 1) == ranks
        and on_gpu <= (settings.device != "cpu" and trial.budget.gpus != 0)
        and (on_gpu or settings.device != "cuda")
    )


def _others(own: set[str], wanted: Sequence[TrialSpec], ledger: Ledger) -> list[TrialSpec]:
    """Trials of other sweeps in the same results folder that are of the configurations wanted.

    They take this sweep's labels, code and budget but for the epochs: what they were told of those is as it was then.
    """
    ids = [one for one in ledger.known() if one not in own and ledger.state(one) == "done"]
    ledger.fetch(ids, only=["trial.json", "done.json", "events.jsonl"])
    here = {profiles.configuration(trial): trial for trial in wanted}
    names = {(trial.method.name, trial.dataset.name) for trial in wanted}
    found = []
    for one in ids:
        told = ledger.record(one, "trial.json")
        if not told or (told["method"]["name"], told["dataset"]["name"]) not in names:
            continue
        try:
            other = TrialSpec.from_json(told)
        except (TypeError, ValidationError):  # an older zoombench wrote it, with other settings
            continue
        if other.id == one and (like := here.get(profiles.configuration(other))):
            budget = like.budget.model_copy(update={"epochs": other.budget.epochs})
            found.append(replace(like, seed=other.seed, training=other.training, budget=budget))
    return found


def _on_last_device(members: Sequence[_Finished]) -> list[_Finished]:
    """Those on the device that the last of them ran on."""
    last = max(members, key=lambda one: str(one.record.get("finished")))
    return [one for one in members if one.record.get("device") == last.record.get("device")]


def _pooled(groups: Iterable[Sequence[_Finished]]) -> tuple[float, int]:
    """Variance of the logarithm of seconds within configurations of the same epochs, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for members in groups:
        for epochs in {one.trial.budget.epochs for one in members}:
            logs = [math.log(one.seconds) for one in members if one.trial.budget.epochs == epochs]
            squares += _variance(logs) * (len(logs) - 1)
            freedom += len(logs) - 1
    return (squares / freedom if freedom else 0.0), freedom


def _from_finished(
    trial: TrialSpec, like: Sequence[_Finished], ledger: Ledger, *, spread: float, freedom: int
) -> Prediction:
    """From trials of the same epochs; else from those of other epochs, scaled."""
    epochs, device = trial.budget.epochs, like[0].record.get("device")
    same = [one for one in like if one.trial.budget.epochs == epochs] or like
    seconds = [_scaled(one, epochs, ledger) for one in same]
    middle = math.exp(sum(map(math.log, seconds)) / len(seconds))
    gpus = same[0].gpus
    sizes = [size for one in same[:LOOKED_AT] if (size := _size(one.trial, one.record, ledger)) is not None]
    weights = 4.0 * (same[0].record.get("parameters") or 0)
    scaled = "" if same[0].trial.budget.epochs == epochs else ", scaled to these epochs"
    return Prediction(
        group=f"{profiles.configuration(trial)}, {epochs}",
        seconds=middle,
        gpus=gpus,
        cpus=trial.budget.cpus_taken,
        own=spread,
        shared=spread / len(seconds),
        freedom=freedom,
        factor=1.0 if freedom else FACTOR,
        basis=f"finished trials{scaled}, on {device}",
        joules=_joules(same, seconds, ledger) if gpus else None,
        size=sum(sizes) / len(sizes) if sizes else None,
        checkpoint=3 * weights,  # AdamW keeps two numbers for each
    )


def _scaled(one: _Finished, epochs: int, ledger: Ledger) -> float:
    """Seconds with other epochs: the first epoch's, with all that is done once, and the mean of those after it."""
    if one.trial.budget.epochs == epochs:
        return one.seconds
    events = ledger.events(one.trial.id) if one.record["attempts"] == 1 else []
    ends = [datetime.fromisoformat(event["time"]) for event in events if event["event"] == "epoch"]
    if len(ends) < 2:
        return one.seconds * epochs / one.trial.budget.epochs
    each = (ends[-1] - ends[0]).total_seconds() / (len(ends) - 1)
    return max(one.seconds + (epochs - len(ends)) * each, 1e-3)


def _joules(like: Sequence[_Finished], seconds: Sequence[float], ledger: Ledger) -> float | None:
    """Mean of what their GPUs used, at as many watts for the seconds that are meant; None where one could not tell."""
    found = []
    for one, meant in zip(like, seconds, strict=True):
        spent = spending.of_trial(ledger.events(one.trial.id))
        if spent is None or spent.joules is None:
            return None
        found.append(spent.joules * meant / one.seconds)
    return sum(found) / len(found)


def _size(trial: TrialSpec, record: Mapping[str, Any], ledger: Ledger) -> float | None:
    """Bytes of what a finished trial left; of weights that are not here, by the count of parameters."""
    folder = ledger.folder(trial.id)
    files = [path for path in folder.rglob("*") if path.is_file()]
    here = any(path.name == "weights.pt" for path in files) or trial.purpose == "tuning"
    if not here and record.get("parameters") is None:
        return None
    return sum(path.stat().st_size for path in files) + (0.0 if here else 4.0 * record["parameters"])


def _from_calibration(trial: TrialSpec, ledger: Ledger, settings: Settings) -> Prediction | None:
    """From the newest calibration under these settings; None without one."""
    asked = conditions_of(trial, settings)
    made = sorted(_folder(trial, ledger).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    read = [json.loads(path.read_text(encoding="utf-8")) for path in made]
    known = [one for one in read if {key: one["conditions"].get(key) for key in asked} == asked]
    if not known:
        return None
    seen = known[-1]
    seconds, variance = extrapolated(seen, trial.budget.epochs)
    busy = ", which was busy" if seen["load"] > BUSY * seen["cpus"] else ""
    return Prediction(
        group=f"{profiles.configuration(trial)}, {trial.budget.epochs}",
        seconds=seconds,
        gpus=trial.budget.gpus_where_there_are if seen["on_gpu"] else 0.0,
        cpus=trial.budget.cpus_taken,
        own=0.0,
        shared=variance,
        freedom=len(seen["piece_seconds"]) - 1,
        factor=FACTOR,
        basis=f"calibrations of {seen['steps']} steps, on {seen['conditions']['device']}{busy}",
        size=seen["weights_bytes"] + seen["prediction_bytes"],
        checkpoint=seen["checkpoint_bytes"],
    )


def _folder(trial: TrialSpec, ledger: Ledger) -> Path:
    return ledger.root / "estimates" / profiles.configuration(trial)


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _t(freedom: int) -> float:
    """Quantile of Student's t for a two-sided interval at LEVEL; 0 without any freedom, where FACTOR stands in."""
    if not freedom:
        return 0.0
    from scipy.special import stdtrit  # half a second, and only where something was measured

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
