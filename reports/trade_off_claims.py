"""From table and cells to claims of score against one cost: no worse and cheaper, the front, equal-score speed-up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..harness.errors import TableError
from .claims import COST_NAMES, COSTS, Cell, Claim, Entry, measurements
from .estimates import Estimate, corrected_resampled
from .statistics import FloatArray, holm
from .trade_off import DRAWS, SpeedUp, TradeOff, mean_draws, no_worse_and_cheaper, p_on_front, speed_up
from .wording import SCOPE, Verdict, p_equals, seeds_of

Seeded = dict[tuple[str, int], float]
AXES = tuple(name for name in COSTS if name != "flop_coverage")
COUNTED = ("parameters", "gflops")
"""Costs that are counted and have no noise; all others are measured."""


@dataclass(frozen=True)
class TradeOffClaim:
    """Whether a method is no worse than the reference and cheaper."""

    method: str
    trade_off: TradeOff | None
    """None below three pairs or three measurements, with failures, or where a cost is absent."""
    p_holm: float | None
    p_dominates_holm: float | None
    verdict: Verdict
    """better and cheaper, no worse and cheaper, or undecided."""


@dataclass(frozen=True)
class Point:
    """A competing method in the plane of score and cost."""

    method: str
    on_front: bool
    """Whether no other method beats it on both means."""
    p_on_front: float
    """Share of redrawn means in which that holds. Scope: new seeds, the methods of this table."""
    certain: bool
    """Whether both its score and its cost have three values or more; else it was held at its mean."""

    @property
    def undecided(self) -> bool:
        """Whether it is drawn hollow: neither 95% on the front nor 95% off it."""
        return not self.certain or 0.05 < self.p_on_front < 0.95


@dataclass(frozen=True)
class TradeOffs:
    """One cell and one cost."""

    dataset: str
    budget: str
    metric: str
    axis: str
    m: int
    claims: tuple[TradeOffClaim, ...]
    front: tuple[Point, ...]


@dataclass(frozen=True)
class SpeedUps:
    """How much cheaper each method reaches the reference's score of one budget, along its own budgets."""

    dataset: str
    budget: str
    metric: str
    axis: str
    methods: tuple[tuple[str, SpeedUp], ...]


def trade_offs(table: pd.DataFrame, found: Sequence[Cell], axis: str, *, seed: int = 0) -> tuple[TradeOffs, ...]:
    """Every cell of `claims.cells` against one cost; the margin is the one declared for the cell's metric.

    Without a margin only `better and cheaper` can be claimed. p-values are corrected by Holm over as many planned
    comparisons as the scores, for each of the two words on its own. Raises TableError for a cost that the table does
    not have.
    """
    _known(axis)
    drafts = [(cell, _costs(table, cell, axis)) for cell in found]
    tested = [
        (cell, claim, _trade_off(cell, claim, costs, axis)) for cell, costs in drafts for claim in _rivals(cell.claims)
    ]
    m = found[0].m if found else 1
    p = holm([one.p if one and cell.margin is not None else None for cell, _, one in tested], m)
    dominates = holm([one.p_dominates if one else None for _, _, one in tested], m)
    claims: dict[int, list[TradeOffClaim]] = {}
    for (cell, claim, one), p_holm, p_dominates in zip(tested, p, dominates, strict=True):
        verdict = _judge(cell, claim, one, axis, p_holm=p_holm, p_dominates=p_dominates)
        claims.setdefault(id(cell), []).append(TradeOffClaim(claim.method, one, p_holm, p_dominates, verdict))
    return tuple(
        TradeOffs(
            dataset=cell.dataset,
            budget=cell.budget,
            metric=cell.metric.name,
            axis=axis,
            m=m,
            claims=tuple(claims.get(id(cell), ())),
            front=_front(cell, costs, axis, seed),
        )
        for cell, costs in drafts
    )


def speed_ups(found: Sequence[Cell], axis: str, *, seed: int = 0) -> tuple[SpeedUps, ...]:
    """For each budget of the reference, the speed-up of every competing method that ran two budgets or more.

    Costs are medians over trials, those of training means. A budget on which a seed failed is no point of a curve and
    no target. Raises TableError for a cost that the table does not have.
    """
    _known(axis)
    made = []
    for target in found:
        base = _curve([target], target.reference, axis)
        if not base:
            continue
        beside = [cell for cell in found if (cell.dataset, cell.metric) == (target.dataset, target.metric)]
        methods = []
        for claim in _rivals(target.claims):
            points = _curve(beside, claim.method, axis)
            if len(points) < 2:
                continue
            scores = _by_seed([values for _, values in [*points, *base]])
            one = speed_up(
                np.array([cost for cost, _ in points]),
                scores[:-1],
                target_cost=base[0][0],
                target_scores=scores[-1],
                rng=np.random.default_rng(seed),
                alpha=target.alpha,
                splits=target.splits,
            )
            methods.append((claim.method, one))
        made.append(SpeedUps(target.dataset, target.budget, target.metric.name, axis, tuple(methods)))
    return tuple(made)


def _trade_off(cell: Cell, claim: Claim, costs: dict[str, FloatArray], axis: str) -> TradeOff | None:
    cost, base = (costs.get(name, np.empty(0)) for name in (claim.method, cell.reference))
    if claim.comparison.failed or not len(cost) or not len(base):
        return None
    pairs = np.array(claim.comparison.differences)
    differences: FloatArray | Estimate = pairs
    if (groups := claim.comparison.groups) is not None:
        if claim.comparison.complete < 3 or claim.comparison.effect is None:
            return None
        differences = Estimate(claim.comparison.effect, groups.error, groups.df)
    elif (splits := cell.splits) is not None:
        corrected = corrected_resampled(pairs, n_train=splits.n_train, n_test=splits.n_test)
        differences = pairs if corrected is None else corrected
    return no_worse_and_cheaper(
        differences,
        cost,
        base,
        margin=cell.margin or 0.0,
        counted=axis in COUNTED,
        alpha=cell.alpha,
    )


def _judge(
    cell: Cell, claim: Claim, one: TradeOff | None, axis: str, *, p_holm: float | None, p_dominates: float | None
) -> Verdict:
    scope = f"{SCOPE}; n = {seeds_of(claim.comparison)}"
    if one is None:
        why = (
            "seeds failed"
            if claim.comparison.failed
            else f"fewer than three {'pairs' if cell.paired else 'seeds'} or measurements of {COST_NAMES[axis]}"
        )
        return Verdict("undecided", f"undecided: {why} ({scope})")
    cost = f"{one.ratio:.3g} × the {COST_NAMES[axis]} (at most {one.upper_ratio:.3g} ×)"
    least = f"the score differs by at least {cell.metric.difference(one.lower)}"
    end = f"one-sided bounds; {scope}; m = {cell.m}"
    if p_dominates is not None and p_dominates < cell.alpha:
        return Verdict(
            "better and cheaper", f"better and cheaper: {cost}, {least} ({end}; Holm {p_equals(p_dominates)})"
        )
    if cell.margin is None:
        return Verdict("undecided", f"undecided: {cost}, {least}, and no margin was declared ({end})")
    margin = f"margin {cell.metric.difference(cell.margin, signed=False)}"
    if p_holm is not None and p_holm < cell.alpha:
        words = f"no worse and cheaper: {cost}, {least}, {margin} ({end}; Holm {p_equals(p_holm)})"
        return Verdict("no worse and cheaper", words)
    return Verdict("undecided", f"undecided: {cost}, {least}, {margin} ({end}; Holm {p_equals(p_holm)})")


def _front(cell: Cell, costs: dict[str, FloatArray], axis: str, seed: int) -> tuple[Point, ...]:
    entries = [e for e in cell.entries if e.competes and e.summary.n and len(costs.get(e.method, ()))]
    if not entries:
        return ()
    entries = sorted(entries, key=lambda e: (float(np.log(costs[e.method]).mean()), e.summary.values))
    rng = np.random.default_rng(seed)
    sign = 1.0 if cell.metric.higher_is_better else -1.0
    values = sign * _by_seed([_seeded(cell, e) for e in entries])
    enough = np.array([e.summary.n >= 3 for e in entries])
    scores = np.tile(np.nanmean(values, axis=1), (DRAWS, 1))
    if enough.any():
        scores[:, enough] = mean_draws(values[enough], rng=rng, splits=cell.splits)
    drawn = np.empty_like(scores)
    measured = []
    for column, e in enumerate(entries):
        logs = np.log(costs[e.method])
        counted = axis in COUNTED and np.ptp(logs) == 0
        measured.append(counted or len(logs) >= 3)
        drawn[:, column] = logs[0] if np.ptp(logs) == 0 else logs.mean()  # equal costs tie, to the last digit
        if len(logs) >= 3 and np.ptp(logs) > 0:  # one row of mean_draws, without other rows to pair it with
            drawn[:, column] += logs.std(ddof=1) / np.sqrt(len(logs)) * rng.standard_t(len(logs) - 1, size=DRAWS)
    chance = dict(zip((e.method for e in entries), p_on_front(drawn, scores), strict=True))
    sure = {e.method: bool(a and b) for e, a, b in zip(entries, enough, measured, strict=True)}
    best = set(cell.front(axis))
    order = [e.method for e in cell.entries if e.method in chance]
    return tuple(Point(name, name in best, float(chance[name]), sure[name]) for name in order)


def _costs(table: pd.DataFrame, cell: Cell, axis: str) -> dict[str, FloatArray]:
    """One cost a finished trial or profiling process, for each method; absent, infinite and 0 are left out."""
    done = (table["status"] == "done") & (table["dataset"] == cell.dataset) & (table["budget"] == cell.budget)
    mine = (table["metric"] == cell.metric.name).fillna(False)  # a trial has a row for each of its metrics, one cost
    rows = table[done & mine].sort_values(["method", "seed"])
    each = {str(name): measurements(of_method, axis) for name, of_method in rows.groupby("method", sort=False)}
    return {name: kept for name, values in each.items() if len(kept := values[values > 0])}


def _curve(cells: Sequence[Cell], method: str, axis: str) -> list[tuple[float, Seeded]]:
    points = []
    for cell in cells:
        entry = next((e for e in cell.entries if e.method == method), None)
        cost = None if entry is None else getattr(entry.cost, axis)
        if entry is None or not cost or not np.isfinite(cost) or not entry.summary.n or entry.summary.failures.k:
            continue
        sign = 1.0 if cell.metric.higher_is_better else -1.0
        points.append((float(cost), {seed: sign * value for seed, value in _seeded(cell, entry).items()}))
    return points


def _seeded(cell: Cell, entry: Entry) -> Seeded:
    """Scores under a key that two methods share where the same seed pairs them, and never otherwise."""
    group = "" if cell.paired else f"{entry.method}, {cell.title}"
    return {(group, seed): value for seed, value in zip(entry.summary.seeds, entry.summary.values, strict=True)}


def _by_seed(rows: Sequence[Seeded]) -> FloatArray:
    """One row each, one column a key; nan where a row lacks it."""
    keys = sorted({key for row in rows for key in row})
    return np.array([[row.get(key, np.nan) for key in keys] for row in rows])


def _rivals(claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.competes]


def _known(axis: str) -> None:
    if axis not in AXES:
        raise TableError(f"found the cost {axis!r}, expected one of: {', '.join(AXES)}.")
