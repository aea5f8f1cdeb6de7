"""What each method spent on its settings, what it found, and where that was not equal. No claim is made of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .wording import Metric, plural


@dataclass(frozen=True)
class Tuned:
    """The search of one method on one data set and budget. Scores are of the validation split, means over seeds."""

    method: str
    dataset: str
    budget: str
    metric: Metric
    asked: int
    """Configurations that were planned."""
    done: int
    failed: int
    """Configurations that lost because a trial of theirs failed."""
    stopped: int
    """Configurations that a scheduler ended early."""
    different: int
    """Configurations with different settings: draws of few choices repeat themselves."""
    epochs: int
    """Trained by its trials that were done or stopped."""
    hours: float
    """GPU-hours of its finished trials, or hours of training where no GPU was used."""
    on_gpu: bool
    tunes: tuple[str, ...]
    """What it tuned; nothing where it has one configuration."""
    default: float | None
    """Score of draw 0, the sweep file's own settings; None where it failed."""
    default_settings: str
    winner: float | None
    """Best score; None while configurations are open, and where all failed."""
    draw: int | None
    settings: str
    """Of the winner, in words."""

    @property
    def place(self) -> str:
        """Data set and budget, as a heading."""
        return f"{self.dataset}, {self.budget}"

    @property
    def open(self) -> int:
        """Configurations that have not ended."""
        return self.asked - self.done - self.failed - self.stopped

    @property
    def spent(self) -> str:
        """How many configurations and hours, in a few words."""
        ends = [
            f"{n} {word}" for n, word in ((self.failed, "failed"), (self.stopped, "stopped"), (self.open, "open")) if n
        ]
        unit = "GPU-h" if self.on_gpu else "h"
        return ", ".join([f"{self.asked} {plural(self.asked, 'draw')}", *ends, f"{self.hours:.2g} {unit}"])


def tuned(table: pd.DataFrame) -> tuple[Tuned, ...]:
    """Every search of a results table, methods in their order in it; none where nothing was tuned."""
    rows = table[table["purpose"] == "tuning"]
    places = rows.groupby(["dataset", "budget", "method"], sort=True)
    return tuple(_tuned(str(method), str(dataset), str(budget), part) for (dataset, budget, method), part in places)


def unequal(found: Sequence[Tuned], table: pd.DataFrame) -> list[str]:
    """What a reader must know of the searches before comparing what they found, a sentence each."""
    told = []
    rivals = table[(table["purpose"] == "final") & table["competes"] & (table["status"] != "skipped")]
    for dataset, budget in dict.fromkeys((one.dataset, one.budget) for one in found):
        here = {one.method: one for one in found if (one.dataset, one.budget) == (dataset, budget)}
        searched = {name: one for name, one in here.items() if one.tunes}
        spent = {name: one.asked - one.open for name, one in searched.items()}
        at_all = rivals[(rivals["dataset"] == dataset) & (rivals["budget"] == budget)]["method"]
        spent |= dict.fromkeys(sorted(set(at_all) - set(here)), 0)
        if len(set(spent.values())) > 1 or len({one.asked for one in searched.values()}) > 1:
            each = ", ".join(f"{name} {count}" for name, count in spent.items())
            told.append(
                f"Tuning was not equal on {dataset}, {budget}: configurations that were tried are {each}. A difference "
                "may come from that."
            )
        idle = [name for name, one in here.items() if not one.tunes]
        if idle and searched:
            told.append(
                f"{', '.join(idle)} had nothing to tune on {dataset}, {budget}: "
                f"{'its only configuration counts' if len(idle) == 1 else 'their only configurations count'} as all."
            )
        for name, one in here.items():
            if one.failed == one.asked:
                told.append(f"Tuning found no settings for {name} on {dataset}, {budget}: all its draws failed.")
            elif one.failed:
                told.append(f"{one.failed} of {one.asked} draws of {name} failed on {dataset}, {budget}, and lost.")
    seeds = table.groupby(["method", "purpose"])["seed"].unique()
    twice = sorted(
        {
            str(method)
            for method, purpose in seeds.index
            if purpose == "tuning"
            and (method, "final") in seeds.index
            and set(seeds[method, "tuning"]) & set(seeds[method, "final"])
        }
    )
    if twice:
        told.append(
            f"Final trials of {', '.join(twice)} have seeds that tuning chose their settings with: not fresh ones."
        )
    return told


def _tuned(method: str, dataset: str, budget: str, rows: pd.DataFrame) -> Tuned:
    known = rows.dropna(subset=["metric", "higher_is_better"])
    metric = Metric("score", "", True)
    if len(known):
        unit = known["unit"].iloc[0]
        metric = Metric(
            str(known["metric"].iloc[0]), "" if pd.isna(unit) else str(unit), bool(known["higher_is_better"].iloc[0])
        )
    numbers = rows["draw"].fillna(0).astype(int)
    draws = {number: rows[numbers == number] for number in sorted(set(numbers.tolist()))}
    ends = {number: set(part["status"]) for number, part in draws.items()}
    done = {number: part for number, part in draws.items() if ends[number] == {"done"}}
    scores = {number: float(part["value"].astype(float).mean()) for number, part in done.items()}
    settings = {number: _settings(part) for number, part in draws.items()}
    failed = [number for number, end in ends.items() if "failed" in end]
    stopped = [number for number, end in ends.items() if "stopped" in end and "failed" not in end]
    sign = 1 if metric.higher_is_better else -1
    is_open = len(scores) + len(failed) + len(stopped) < len(ends)
    winner = None if is_open or not scores else max(scores, key=lambda number: sign * scores[number])
    finished = rows[rows["status"].isin(["done", "stopped"])]
    gpu = float(finished["gpu_hours"].astype("Float64").sum())
    return Tuned(
        method=method,
        dataset=dataset,
        budget=budget,
        metric=metric,
        asked=len(ends),
        done=len(scores),
        failed=len(failed),
        stopped=len(stopped),
        different=len({json.dumps(values, sort_keys=True) for values in settings.values()}),
        epochs=int(finished["epoch"].sum()),
        hours=gpu or float(finished["train_seconds"].astype("Float64").sum()) / 3600,
        on_gpu=gpu > 0,
        tunes=tuple(next(iter(settings.values()))),
        default=scores.get(0),
        default_settings=_in_words(settings.get(0, {})),
        winner=None if winner is None else scores[winner],
        draw=winner,
        settings="" if winner is None else _in_words(settings[winner]),
    )


def _settings(rows: pd.DataFrame) -> dict[str, Any]:
    """The settings of a configuration; a stranger's that are no JSON mapping are shown as they are."""
    text = rows["settings"].dropna()
    if text.empty:
        return {}
    try:
        values = json.loads(text.iloc[0])
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {"settings": text.iloc[0]}


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
