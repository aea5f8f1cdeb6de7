"""What a trial spent over all its attempts, failed and lost ones too: wall-clock, GPU-hours, joules.

An attempt on GPUs notes how many it holds when it starts, and at its end the energy that it used; the rest is the times
of its events. One that died without a word counts up to its last sign of life, so that its seconds are rather too few.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import energy
from .spec import TrialSpec
from .sweepfile import Settings


@dataclass(frozen=True)
class Spending:
    """The attempts of one trial together."""

    seconds: float
    gpu_hours: float | None
    """GPUs x hours that were held; None where an attempt did not say how many."""
    joules: float | None
    """Of the trial's own GPUs; None without any, or where an attempt could not say."""


@contextmanager
def noted(spec: TrialSpec, settings: Settings, note: Callable[..., None]) -> Iterator[None]:
    """Note as events the GPUs that an attempt holds, and at its end, whatever that is, the energy that it used.

    Of a GPU that several trials share nobody can tell whose the energy was: there is no meter then.
    """
    from .parallel import processes
    from .trial import pick_device

    device = pick_device(spec, settings)
    if device.type != "cuda":
        yield
        return
    gpus = spec.budget.gpus_where_there_are
    note("holds", gpus=gpus)
    meter = energy.meter(energy.uuids_of(processes(spec, device))) if gpus >= 1 else None
    try:
        yield
    finally:
        joules = meter.joules() if meter else None
        if meter:
            meter.close()
        note("spent", joules=joules)


def of_trial(events: Sequence[dict[str, Any]]) -> Spending | None:
    """What the events of a trial tell; None before it was started."""
    attempts: list[list[dict[str, Any]]] = []
    for event in events:
        if event["event"] == "start":
            attempts.append([])
        if attempts:
            attempts[-1].append(event)
    if not attempts:
        return None
    seconds = [_seconds(attempt) for attempt in attempts]
    gpus = [_told(attempt, "holds", "gpus") for attempt in attempts]
    joules = [_told(attempt, "spent", "joules") for attempt in attempts]
    return Spending(
        seconds=sum(seconds),
        gpu_hours=sum(n * s for n, s in zip(gpus, seconds, strict=True)) / 3600 if None not in gpus else None,
        joules=sum(joules) if None not in joules else None,
    )


def _seconds(attempt: Sequence[dict[str, Any]]) -> float:
    began, ended = (datetime.fromisoformat(attempt[place]["time"]) for place in (0, -1))
    return max(0.0, (ended - began).total_seconds())


def _told(attempt: Sequence[dict[str, Any]], event: str, fact: str) -> Any:
    return next((one[fact] for one in attempt if one["event"] == event), None)
