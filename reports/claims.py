"""From the results table to claims: one cell per data set, budget and metric, one claim per method and cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from ..harness.errors import TableError
from .latency import by_process
from .power import detectable, seeds_needed, seeds_to_find
from .splits import Splits, redrawn
from .statistics import (
    ALPHA,
    Comparison,
    FloatArray,
    Interval,
    Outcomes,
    Summary,
    compare,
    holm,
    pareto,
    summarise,
    t_interval,
)
from .table import check, finals, outcomes
from .unpaired import compare_unpaired
from .wording import Design, Metric, Verdict, judge

COSTS = (
    "parameters",
    "gflops",
    "flop_coverage",
    "latency_ms_p50",
    "latency_ms_p90",
    "peak_memory_mib",
    "energy_j",
    "train_seconds",
    "gpu_hours",
)
PROFILED = (
    "gflops_pointwise",
    "gflops_overhead",
    "latency_ms_p50_low",
    "latency_ms_p50_high",
    "latency_ms_p90_low",
    "latency_ms_p90_high",
    "latency_ms_p99",
    "latency_ms_p99_low",
    "latency_ms_p99_high",
    "latency_processes",
    "latency_calls",
    "latency_drift",
    "images_per_second",
    "pipeline_ms_p50",
    "pipeline_images_per_second",
    "inference_memory_mib",
    "host_memory_mib",
    "energy_trial_j",
    "gpu_hours_all",
)
"""What else is known of a cost; no axis."""
COST_NAMES = {
    "parameters": "parameters",
    "gflops": "GFLOPs",
    "latency_ms_p50": "latency",
    "latency_ms_p90": "90th percentile of latency",
    "peak_memory_mib": "memory",
    "energy_j": "energy",
    "train_seconds": "training time",
    "gpu_hours": "GPU-hours",
}
"""What a sentence calls a cost."""
MEASURED = ("latency_ms_p50", "energy_j")
"""Costs of one image that vary from process to process."""
TRAINING = ("train_seconds", "gpu_hours")
"""Costs of a whole trial; the others are those of one image or one step."""


@dataclass(frozen=True)
class Cost:
    """What a method costs in one cell: medians over its seeds; of training, the mean of the trials that timed it."""

    parameters: float | None
    gflops: float | None
    flop_coverage: float | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    peak_memory_mib: float | None
    energy_j: float | None
    train_seconds: float | None
    gpu_hours: float | None
    gpu_hours_total: float | None
    """The sum over its trials, with all their attempts where these are known."""
    intervals: Mapping[str, Interval]
    """t intervals of the mean log of what is measured again in each trial or, if a profile, process (MEASURED), in its
    unit; from three on."""
    more: Mapping[str, float]
    """Medians of what the table holds besides (PROFILED), as far as it does."""
    profiled: bool
    """Whether the latency is of `zoombench profile`."""
    n: int
    """Trials that measured anything."""


@dataclass(frozen=True)
class Entry:
    """One method in one cell."""

    method: str
    competes: bool
    summary: Summary
    cost: Cost
    planned: int
    lost: int
    """Trials that ended for reasons outside the method; taken as missing at random."""
    missing: int
    skipped: int
    stopped: int
    """Trials that a scheduler ended early; they belong to a search and never to a comparison."""


@dataclass(frozen=True)
class Claim:
    """What one cell says about a method against the reference."""

    method: str
    competes: bool
    comparison: Comparison
    test: str
    """The test that leads: paired t (the corrected resampled t where splits are redrawn), or the sign test when a
    failure is involved; Welch's t of unpaired seeds."""
    p: float | None
    p_holm: float | None
    design: Design
    verdict: Verdict


@dataclass(frozen=True)
class Cell:
    """Everything about one data set, budget and metric."""

    dataset: str
    budget: str
    metric: Metric
    n_test: int | None
    """Test examples, where every finished trial has the same number."""
    reference: str
    entries: tuple[Entry, ...]
    """The reference first, then the competing methods, then upper bounds; each in the given order, else by name."""
    claims: tuple[Claim, ...]
    m: int
    margin: float | None
    alpha: float = ALPHA
    paired: bool = True
    """Whether the same seed of two methods is a pair."""
    splits: Splits | None = None
    """Where each seed has a split of its own, which corrects every t."""

    @property
    def title(self) -> str:
        """Data set and budget, as a heading."""
        return f"{self.dataset}, {self.budget}"

    @property
    def t(self) -> str:
        """Which t its intervals are of, as a word before `interval`."""
        return "Welch" if not self.paired else "corrected t" if self.splits else "t"

    def entry(self, method: str) -> Entry:
        """The entry of a method."""
        return next(entry for entry in self.entries if entry.method == method)

    def front(self, axis: str) -> tuple[str, ...]:
        """Competing methods that no other competing method beats on cost and mean score, cheapest first."""
        rivals = [e for e in self.entries if e.competes]
        cost = _numbers([getattr(e.cost, axis) for e in rivals])
        sign = 1.0 if self.metric.higher_is_better else -1.0
        score = sign * _numbers([e.summary.mean for e in rivals])
        chosen = np.flatnonzero(pareto(cost, score))
        return tuple(rivals[i].method for i in sorted(chosen, key=lambda i: (cost[i], score[i], rivals[i].method)))


def family_size(table: pd.DataFrame, reference: str) -> int:
    """m: competing methods other than the reference, times budgets, times data sets with each of their metrics.

    A comparison that failed or is missing still counts, so that m never changes after the results are seen: also one
    for which tuning found no settings. One whose trials were all skipped was never planned: that a method cannot serve
    a dataset is known before anything runs.
    """
    rivals = set(table.loc[table["competes"].fillna(False).astype(bool), "method"]) - {reference}
    metrics = {name: len(_metrics(table[table["dataset"] == name])) for name in table["dataset"].unique()}
    runs = (table["status"] != "skipped").groupby([table["method"], table["dataset"], table["budget"]]).any()
    idle = runs[~runs].index.to_frame(index=False)
    never = sum(metrics[name] for name in idle.loc[idle["method"].isin(rivals), "dataset"])
    return len(rivals) * sum(metrics.values()) * table["budget"].nunique() - never


def cells(
    table: pd.DataFrame,
    reference: str,
    margins: Mapping[str, float] | None = None,
    *,
    alpha: float = ALPHA,
    order: Sequence[str] = (),
    paired: bool = True,
) -> tuple[Cell, ...]:
    """Every cell of the table, with claims corrected over the whole planned family; without its tuning trials.

    alpha is the error that the whole family may make; intervals are at 1 - alpha. order lists the methods as they are
    to be shown; whoever it leaves out follows by name. paired says whether equal seeds pair the methods; where they do
    not, Welch's t compares them.

    Raises TableError if the table breaks a rule, has no trial of the reference, or if a margin or alpha is no such
    number.
    """
    check(table)
    if not 0 < alpha < 0.5:
        raise TableError(f"found alpha {alpha:g}, expected a number above 0 and below 0.5, usually 0.05.")
    if table.empty:
        return ()
    names = sorted(table["method"].unique())
    if reference not in names:
        raise TableError(f"found no trial of the reference {reference!r}, expected one of: {', '.join(names)}.")
    for name, limit in (margins or {}).items():
        if not (np.isfinite(limit) and limit > 0):
            raise TableError(f"found margin {limit} for {name}, expected a positive number in the metric's unit.")
    m = family_size(table, reference)
    table = _lean(finals(table))
    drafts = [
        (str(dataset), str(budget), metric, group[group["metric"].isna() | (group["metric"] == metric.name)])
        for (dataset, budget), group in table.groupby(["dataset", "budget"], sort=True)
        for metric in _metrics(table[table["dataset"] == dataset])
    ]
    places = {name: place for place, name in enumerate(dict.fromkeys(order))}
    grouped = [_methods(rows, reference, places) for *_, rows in drafts]
    splits = [redrawn(rows, f"{dataset}, {budget}") if paired else None for dataset, budget, _, rows in drafts]
    compared = [
        _compared(groups, reference, metric, n_test=_n_test(rows), alpha=alpha, paired=paired, splits=one)
        for groups, (_, _, metric, rows), one in zip(grouped, drafts, splits, strict=True)
    ]
    tested = [(c, _leading(c)[1] if competes else None) for pairs in compared for _, competes, c in pairs]
    adjusted = iter(holm([p for _, p in tested], max(m, 1)))
    made = []
    for (dataset, budget, metric, rows), groups, pairs, one in zip(drafts, grouped, compared, splits, strict=True):
        margin = (margins or {}).get(metric.name)
        claims = tuple(
            _claim(name, competes, c, p_holm=next(adjusted), m=max(m, 1), metric=metric, margin=margin, alpha=alpha)
            for name, competes, c in pairs
        )
        made.append(
            Cell(
                dataset=dataset,
                budget=budget,
                metric=metric,
                n_test=_n_test(rows),
                reference=reference,
                entries=tuple(_entry(name, group, alpha, one) for name, group in groups),
                claims=claims,
                m=max(m, 1),
                margin=margin,
                alpha=alpha,
                paired=paired,
                splits=one,
            )
        )
    return tuple(made)


def _claim(
    name: str,
    competes: bool,
    comparison: Comparison,
    *,
    p_holm: float | None,
    m: int,
    metric: Metric,
    margin: float | None,
    alpha: float,
) -> Claim:
    test, p = _leading(comparison)
    design = _design(comparison, m, alpha)
    if competes:
        verdict = judge(comparison, p_holm=p_holm, m=m, design=design, metric=metric, margin=margin, alpha=alpha)
    else:
        verdict = Verdict("upper bound", "not a competitor: shown for orientation, outside the family, no claim")
    return Claim(name, competes, comparison, test, p if competes else None, p_holm, design, verdict)


def _leading(comparison: Comparison) -> tuple[str, float | None]:
    if comparison.groups is not None:
        return ("none: seeds failed and are not paired", None) if comparison.failed else ("Welch's t", comparison.p_t)
    if comparison.failed:
        return "sign test, failures as losses", comparison.p_sign
    return "corrected resampled t" if comparison.splits else "paired t", comparison.p_t


def _design(comparison: Comparison, m: int, alpha: float) -> Design:
    n, spread = comparison.complete, comparison.spread
    if n < 3 or not spread or comparison.effect is None or comparison.failed:
        return Design(None, None, None)
    if (groups := comparison.groups) is not None:
        reach = groups.error * sqrt(groups.df + 1)
        plain, family = detectable(groups.df + 1, alpha), detectable(groups.df + 1, alpha / m)
        return Design(
            detectable=plain * reach if plain else None,
            detectable_family=family * reach if family else None,
            seeds_needed=seeds_to_find(comparison.effect, spread / sqrt(2), groups.df_a_seed, seeds=2, alpha=alpha / m),
        )
    plain, family, splits = detectable(n, alpha), detectable(n, alpha / m), comparison.splits
    wide = spread * (splits.widening(n) if splits else 1.0)
    size, ratio = round(abs(comparison.effect) / spread, 6), splits.ratio if splits else 0.0
    return Design(
        detectable=plain * wide if plain else None,
        detectable_family=family * wide if family else None,
        seeds_needed=seeds_needed(size, alpha / m, ratio=ratio),
    )


def _compared(
    listed: list[tuple[str, pd.DataFrame]],
    reference: str,
    metric: Metric,
    *,
    n_test: int | None,
    alpha: float,
    paired: bool,
    splits: Splits | None,
) -> list[tuple[str, bool, Comparison]]:
    groups = dict(listed)
    against = partial(compare, splits=splits) if paired else compare_unpaired
    nobody = Outcomes(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=bool))
    base = _outcomes(groups[reference]) if reference in groups else nobody
    return [
        (
            name,
            bool(group["competes"].iloc[0]),
            against(
                _outcomes(group),
                base,
                higher_is_better=metric.higher_is_better,
                resolution=1 / n_test if metric.name == "accuracy" and n_test else None,
                ceiling=1.0 if metric.bounded else None,
                alpha=alpha,
            ),
        )
        for name, group in groups.items()
        if name != reference and (group["status"] != "skipped").any()
    ]


def _methods(rows: pd.DataFrame, reference: str, places: Mapping[str, int]) -> list[tuple[str, pd.DataFrame]]:
    groups = [(str(name), group) for name, group in rows.groupby("method")]

    def place(pair: tuple[str, pd.DataFrame]) -> tuple[bool, bool, int, str]:
        name, group = pair
        return name != reference, not group["competes"].iloc[0], places.get(name, len(places)), name

    return sorted(groups, key=place)


def _lean(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that claims are made of, as plain numpy; a failed trial becomes an outcome or is lost."""
    status = table["status"].to_numpy(dtype=object)
    status[(status == "failed") & ~outcomes(table).to_numpy()] = "lost"
    names = ("method", "dataset", "budget", "metric", "unit", "higher_is_better", "split_id", "latency_source")
    columns: dict[str, Any] = {name: table[name].to_numpy(dtype=object, na_value=np.nan) for name in names}
    columns |= {"status": status, "seed": table["seed"].to_numpy(dtype=np.int64)}
    columns |= {"competes": table["competes"].to_numpy(dtype=bool)}
    columns |= {
        name: table[name].to_numpy(dtype=float, na_value=np.nan)
        for name in ("value", "n_train", "n_test", *COSTS, *PROFILED)
    }
    return pd.DataFrame(columns)


def _outcomes(group: pd.DataFrame) -> Outcomes:
    status = group["status"].to_numpy()
    failed = status == "failed"
    kept = (status == "done") | failed
    return Outcomes(group["seed"].to_numpy()[kept], group["value"].to_numpy()[kept], failed[kept])


def _entry(name: str, group: pd.DataFrame, alpha: float, splits: Splits | None) -> Entry:
    status = group["status"].to_numpy()
    return Entry(
        method=name,
        competes=bool(group["competes"].iloc[0]),
        summary=summarise(_outcomes(group), alpha=alpha, splits=splits),
        cost=_cost(group, alpha),
        planned=len(group),
        lost=int((status == "lost").sum()),
        missing=int((status == "missing").sum()),
        skipped=int((status == "skipped").sum()),
        stopped=int((status == "stopped").sum()),
    )


def _cost(group: pd.DataFrame, alpha: float) -> Cost:
    columns = {name: _finite(group[name]) for name in COSTS}
    amounts = {
        name: (float(np.mean(values) if name in TRAINING else np.median(values)) if len(values) else None)
        for name, values in columns.items()
    }
    hours = np.where(np.isfinite(group["gpu_hours_all"]), group["gpu_hours_all"], group["gpu_hours"])
    total = float(np.nansum(hours)) if np.isfinite(hours).any() else None
    measured = {name: measurements(group, name) for name in MEASURED}
    logs = {name: t_interval(np.log(values[values > 0]), level=1 - alpha) for name, values in measured.items()}
    intervals = {name: Interval(float(np.exp(i.low)), float(np.exp(i.high))) for name, i in logs.items() if i}
    return Cost(
        **amounts,
        gpu_hours_total=total,
        intervals=intervals,
        more={name: float(np.median(values)) for name in PROFILED if len(values := _finite(group[name]))},
        profiled=bool(group["latency_source"].eq("profile").any()),
        n=max(len(values) for values in columns.values()),
    )


def measurements(rows: pd.DataFrame, axis: str) -> FloatArray:
    """One cost of one method, one number a trial; one a process where a profile measured the latency."""
    told = rows[rows["latency_source"].eq("profile").fillna(False).astype(bool)]
    if axis == "energy_j" and len(told):
        rows = told.drop_duplicates(axis)  # one number, which the table repeats for each trial
    if axis == "latency_ms_p50":
        whole = told[["latency_ms_p50", "latency_ms_p50_low", "latency_ms_p50_high", "latency_processes"]].dropna()
        if len(whole):
            value, low, high, processes = whole.iloc[0].astype(float)
            return by_process(value, low, high, int(processes))
    values: FloatArray = rows[axis].to_numpy(dtype=float, na_value=np.nan)
    return values[np.isfinite(values)]


def _metrics(rows: pd.DataFrame) -> list[Metric]:
    known = rows.dropna(subset=["metric", "higher_is_better"]).sort_values(["metric", "unit"])  # no unit comes last
    found = known.drop_duplicates("metric")[["metric", "unit", "higher_is_better"]].fillna({"unit": ""})
    metrics = [Metric(str(name), str(unit), bool(up)) for name, unit, up in found.itertuples(index=False)]
    return metrics or [Metric("score", "", True)]  # nothing of this data set has finished


def _n_test(rows: pd.DataFrame) -> int | None:
    sizes = rows.loc[rows["status"] == "done", "n_test"].dropna().unique()
    return int(sizes[0]) if len(sizes) == 1 and sizes[0] > 0 else None


def _finite(column: "pd.Series") -> FloatArray:
    values: FloatArray = column.to_numpy()
    return values[np.isfinite(values)]


def _numbers(values: list[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
