"""What the page says beyond one data set and one score: all data sets, costs, single examples; or why it cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from ..harness.errors import TableError
from .across_claims import Across, across
from .claims import Cell
from .estimates import paired
from .example_claims import TrialCalibration, VarianceShares, calibrations, variance_shares
from .figures import COST_AXES, CostAxis, priced
from .statistics import Interval
from .trade_off_claims import SpeedUps, TradeOffs, speed_ups, trade_offs

MOST_TRIALS = 2000
"""Trials whose predictions are read; more would take longer than the rest of the report."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Beyond:
    """Every claim that needs more than the cells themselves."""

    across: tuple[Across, ...]
    trade_offs: Mapping[str, tuple[TradeOffs, ...]]
    """By cost, one a cell, in the order of the cells."""
    speed_ups: tuple[tuple[CostAxis, SpeedUps], ...]
    shares: tuple[VarianceShares, ...]
    calibrated: tuple["Calibrated", ...]
    reasons: tuple[str, ...]
    """Why something is absent that could be expected."""

    def p_on_front(self, axis: str, cell: int) -> dict[str, float]:
        """Chance of each competing method to be on the front of one cell by one cost."""
        made = self.trade_offs.get(axis, ())
        return {point.method: point.p_on_front for point in made[cell].front} if made else {}

    def undecided(self, axis: str, cell: int) -> frozenset[str]:
        """Methods that may or may not be on that front."""
        made = self.trade_offs.get(axis, ())
        return frozenset(point.method for point in made[cell].front if point.undecided) if made else frozenset()


@dataclass(frozen=True)
class Calibrated:
    """One method's calibration on one data set, over its seeds."""

    method: str
    dataset: str
    budget: str
    n: int
    """Seeds."""
    ece: float
    brier: float
    nll: float
    brier_interval: Interval | None


def gather(table: pd.DataFrame, found: Sequence[Cell], predictions: Mapping[str, Path]) -> Beyond:
    """Everything that can be said; a claim that the table does not allow becomes a reason."""
    reasons: list[str] = []

    def tried(make: Callable[[], tuple[Found, ...]]) -> tuple[Found, ...]:
        try:
            return make()
        except TableError as error:
            reasons.append(str(error))
            return ()

    together = tried(lambda: across(found)) if found else ()
    shown = [axis for axis in COST_AXES if any(priced(cell, axis) for cell in found)]
    costs = {axis.key: tried(lambda axis=axis: trade_offs(table, found, axis.key)) for axis in shown}
    faster = [(axis, one) for axis in shown[:2] for one in tried(lambda axis=axis: speed_ups(found, axis.key))]
    shares, calibrated = _by_example(table, found, predictions, tried, reasons)
    return Beyond(
        across=together,
        trade_offs={key: made for key, made in costs.items() if made},
        speed_ups=tuple(faster),
        shares=shares,
        calibrated=calibrated,
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _by_example(
    table: pd.DataFrame,
    found: Sequence[Cell],
    predictions: Mapping[str, Path],
    tried: Callable[[Callable[[], tuple[VarianceShares, ...]]], tuple[VarianceShares, ...]],
    reasons: list[str],
) -> tuple[tuple[VarianceShares, ...], tuple[Calibrated, ...]]:
    done = table[(table["status"] == "done") & table["trial_id"].isin(list(predictions))]
    if len(done) > MOST_TRIALS:
        reasons.append(f"Predictions of {len(done)} trials were not read; the report reads those of {MOST_TRIALS}.")
        return (), ()
    shares: list[VarianceShares] = []
    calibrated: list[Calibrated] = []
    for cell in found:
        rows = done[(done["dataset"] == cell.dataset) & (done["budget"] == cell.budget)]
        rows = rows[rows["metric"] == cell.metric.name]
        frames = {str(trial): pd.read_parquet(predictions[str(trial)]) for trial in rows["trial_id"]}
        if not frames:
            continue
        make = partial(variance_shares, rows, frames, cell.reference, alpha=cell.alpha)
        made = tried(make) if cell.paired and not cell.splits else ()
        place = {entry.method: number for number, entry in enumerate(cell.entries)}
        shares += sorted(made, key=lambda one: place[one.method])
        calibrated += _calibrated(calibrations(rows, frames), cell)
    return tuple(shares), tuple(calibrated)


def _calibrated(trials: Sequence[TrialCalibration], cell: Cell) -> list[Calibrated]:
    made = []
    for entry in cell.entries:
        mine = [trial.calibration for trial in trials if trial.method == entry.method]
        if not mine:
            continue
        brier = paired(np.array([one.brier for one in mine])) if len(mine) > 2 else None
        made.append(
            Calibrated(
                method=entry.method,
                dataset=cell.dataset,
                budget=cell.budget,
                n=len(mine),
                ece=float(np.mean([one.ece for one in mine])),
                brier=float(np.mean([one.brier for one in mine])),
                nll=float(np.mean([one.nll for one in mine])),
                brier_interval=None if brier is None else brier.interval(1 - cell.alpha),
            )
        )
    return made
