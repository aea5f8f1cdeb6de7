"""From the trials of searches to the expected best validation score of n configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..harness.errors import TableError
from .search import BestOf, best_of_n


@dataclass(frozen=True)
class Searched:
    """One searched method on one data set. Scope: configurations drawn as these were, these seeds."""

    method: str
    dataset: str
    budget: str
    metric: str
    best: BestOf | None
    reason: str
    """Why there is no curve; else empty."""
    hours: float | None
    """Mean hours of a configuration: GPU-hours, or hours of training where no GPU was used."""


def best_of(
    table: pd.DataFrame, searched: Mapping[str, Sequence[str]], *, floors: Mapping[str, float] | None = None
) -> tuple[Searched, ...]:
    """Expected best of n for each searched method; searched names the labels of its randomly drawn configurations.

    The table holds validation scores (split validation), one label a configuration, averaged over its seeds. floors
    gives the score of a constant predictor by data set, which a failed configuration counts as. There is no curve
    where trials were stopped early, which leaves survivors, where scores are of the test split, or where something
    failed and no floor is known. Raises TableError for a label that the table does not have.
    """
    absent = sorted({label for labels in searched.values() for label in labels} - set(table["method"]))
    if absent:
        raise TableError(f"found no trials of {', '.join(absent)}, expected the labels of configurations in the table.")
    found = []
    for method, labels in searched.items():
        rows = table[table["method"].isin(list(labels))]
        for (dataset, budget), part in rows.groupby(["dataset", "budget"], sort=True):
            for metric in sorted(part["metric"].dropna().unique()):
                one = part[part["metric"].isna() | (part["metric"] == metric)]
                floor = (floors or {}).get(str(dataset))
                best, reason = _best(one, floor)
                found.append(Searched(method, str(dataset), str(budget), str(metric), best, reason, _hours(one)))
    return tuple(found)


def _best(rows: pd.DataFrame, floor: float | None) -> tuple[BestOf | None, str]:
    if (rows["status"] == "stopped").any():
        return None, "trials were stopped early: the survivors of a search are biased upwards"
    if (rows.loc[rows["status"] == "done", "split"] != "validation").any():
        return None, "scores are of the test split: a search is judged by its validation scores"
    if rows["status"].isin(["missing", "skipped"]).any():
        return None, "some configurations did not run"
    values = []
    for _, seeds in rows.groupby("method", sort=True):
        failed = (seeds["status"] != "done").any()
        values.append(np.nan if failed else float(seeds["value"].astype(float).mean()))
    if np.isnan(values).any() and floor is None:
        return None, "some configurations failed, and no floor was declared that they count as"
    up = bool(rows["higher_is_better"].dropna().iloc[0])
    return best_of_n(np.array(values), higher_is_better=up, floor=floor), ""


def _hours(rows: pd.DataFrame) -> float | None:
    gpu, seconds = rows["gpu_hours"].astype("Float64").sum(), rows["train_seconds"].astype("Float64").sum()
    hours = float(gpu) if float(gpu) > 0 else float(seconds) / 3600
    return hours / rows["method"].nunique() if hours > 0 else None
