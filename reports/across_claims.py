"""From cells to claims over all data sets of a budget: one for new seeds on these, one for a new data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..harness.errors import TableError
from .across import (
    MOST_PAIRS,
    Evidence,
    Omnibus,
    Part,
    TheseDataSets,
    iman_davenport,
    log_error,
    new_data_set,
    normalised,
    stratified,
    these_data_sets,
)
from .across_wording import judge_new, judge_these
from .aggregates import Iqm, Ranks, interquartile_means, leave_one_out, ranks, too_few
from .claims import Cell, Claim
from .estimates import corrected_resampled, paired, welch
from .statistics import ALPHA, FloatArray, Share, holm, sign_test
from .wording import Verdict

DIGITS = 9
"""Of an effect in the common unit; below is float noise, which would pass for a spread where a ratio never varies."""


@dataclass(frozen=True)
class AcrossClaim:
    """A method against the reference over all data sets of a budget."""

    method: str
    competes: bool
    evidence: Evidence
    p_holm: float | None
    p_new_holm: float | None
    verdict: Verdict
    """Scope: new seeds, these data sets."""
    verdict_new: Verdict
    """Scope: a new data set of this kind."""


@dataclass(frozen=True)
class Across:
    """All data sets of one budget together."""

    budget: str
    reference: str
    datasets: tuple[str, ...]
    left_out: tuple[str, ...]
    """Data sets without a value in the common unit, each with the reason."""
    unit: str
    """error ratio, or normalised score."""
    claims: tuple[AcrossClaim, ...]
    m: int
    """Planned comparisons: competing methods other than the reference, times budgets."""
    ranked: tuple[str, ...] = ()
    """Competing methods with an outcome on every data set, in the order in which ranks lists them."""
    omnibus: Omnibus | None = None
    ranks: Ranks | None = None
    iqms: tuple[tuple[str, Iqm], ...] = ()
    """Interquartile mean of the pairs of each method with the reference, in the common unit."""
    no_aggregate: str = ""
    """Why interquartile means or ranks are absent; empty where both are there."""


def across(
    found: Sequence[Cell],
    *,
    scales: Mapping[str, tuple[float, float]] | None = None,
    primary: Mapping[str, str] | None = None,
    margin: float | None = None,
    seed: int = 0,
) -> tuple[Across, ...]:
    """Every budget that has two data sets or more, from the cells of `claims.cells`.

    The common unit is the log error ratio; scales gives (floor, ceiling) of every data set for normalised scores
    instead. primary names the metric of a data set that has several. margin is the relative difference of errors (or
    the difference of normalised scores) that does not matter, 0.05 is 5%. seed starts every draw anew, so that no
    comparison depends on its company.

    Raises TableError for a data set with several metrics and none declared, for scales that leave a data set out and
    for a margin that is not above 0.
    """
    if margin is not None and not margin > 0:
        raise TableError(f"found margin {margin:g}, expected a positive number: 0.05 is 5% of the error.")
    chosen = _primary(found, primary or {})
    if scales is not None and (absent := sorted({cell.dataset for cell in chosen} - set(scales))):
        raise TableError(f"found no floor and ceiling for {', '.join(absent)}, expected them for every data set.")
    budgets = sorted({cell.budget for cell in chosen})
    rivals = {
        entry.method for cell in found for entry in cell.entries if entry.competes and entry.method != cell.reference
    }
    m = max(len(rivals) * len(budgets), 1)
    alpha = chosen[0].alpha if chosen else ALPHA
    unit = "error ratio" if scales is None else "normalised score"
    base = chosen[0].reference if chosen else ""
    groups = [(budget, *_in_unit([cell for cell in chosen if cell.budget == budget], scales)) for budget in budgets]
    groups = [(budget, cells, left_out) for budget, cells, left_out in groups if len(cells) + len(left_out) > 1]
    weighed = [
        (budget, method, competes, _weigh(method, cells, scales, alpha, seed))
        for budget, cells, _ in groups
        for method, competes in (_methods(cells) if len(cells) > 1 else ())
    ]
    p_these = holm([one.p if competes else None for *_, competes, one in weighed], m)
    p_new = holm([_p_new(one) if competes else None for *_, competes, one in weighed], m)
    claims: dict[str, list[AcrossClaim]] = {budget: [] for budget in budgets}
    for (budget, method, competes, one), p, new in zip(weighed, p_these, p_new, strict=True):
        here = there = Verdict("upper bound", "not a competitor: shown for orientation, outside the family, no claim")
        if competes:
            here = judge_these(one, p_holm=p, m=m, unit=unit, margin=margin, alpha=alpha)
            there = judge_new(one, p_holm=new, m=m, unit=unit, margin=margin, alpha=alpha)
        claims[budget].append(AcrossClaim(method, competes, one, p, new, here, there))
    return tuple(
        _together(
            Across(
                budget=budget,
                reference=base,
                datasets=tuple(cell.dataset for cell in cells),
                left_out=tuple(left_out),
                unit=unit,
                claims=tuple(claims[budget]),
                m=m,
            ),
            cells,
            alpha,
            seed,
        )
        for budget, cells, left_out in groups
    )


def _together(made: Across, cells: list[Cell], alpha: float, seed: int) -> Across:
    """Add ranks and aggregates where there are enough data sets for them."""
    if len(cells) < 2:
        return replace(made, no_aggregate="Fewer than two data sets have a value in the common unit.")
    rivals = [claim for claim in made.claims if claim.competes and not claim.evidence.gaps]
    ranked = (made.reference, *(claim.method for claim in rivals)) if rivals else ()
    scores = np.array([[_rank_score(cell, name) for name in ranked] for cell in cells])
    made = replace(made, ranked=ranked, omnibus=iman_davenport(scores), no_aggregate=too_few(len(cells)))
    if made.no_aggregate:
        return made
    reasons = []
    if np.isfinite(scores).all() and rivals:
        made = replace(made, ranks=ranks(scores, alpha=alpha))
    else:
        reasons.append("No mean ranks: some seeds failed, or no method has a score on every data set.")
    dense = [
        one
        for one in rivals
        if not one.evidence.failed
        and 0 < one.evidence.superiority.n <= MOST_PAIRS
        and len({len(part.effects) for part in one.evidence.parts}) == 1
    ]
    if len(dense) < len(rivals):
        reasons.append(
            "No interquartile mean where seeds are not paired, failed, differ in number by data set or are thousands."
        )
    iqms = tuple((claim.method, _iqm(claim.evidence, alpha, seed)) for claim in dense)
    return replace(made, iqms=iqms, no_aggregate=" ".join(reasons))


def _p_new(one: Evidence) -> float | None:
    return None if one.new is None or one.new.estimate is None or one.failed else one.new.estimate.p


def _iqm(evidence: Evidence, alpha: float, seed: int) -> Iqm:
    pairs = np.array([[part.effects for part in evidence.parts]])
    return interquartile_means(pairs, rng=np.random.default_rng(seed), alpha=alpha)[0]


def _weigh(
    method: str, cells: list[Cell], scales: Mapping[str, tuple[float, float]] | None, alpha: float, seed: int
) -> Evidence:
    claims = {cell.dataset: claim for cell in cells for claim in cell.claims if claim.method == method}
    kept = [cell for cell in cells if cell.dataset in claims and claims[cell.dataset].comparison.n]
    parts = tuple(_part(cell, claims[cell.dataset], scales) for cell in kept)
    compared = [claims[cell.dataset].comparison for cell in kept]
    wins, losses = sum(c.wins for c in compared), sum(c.losses for c in compared)
    seeds, failed = sum(c.n for c in compared), sum(part.failed for part in parts)
    paired, own = all(cell.paired for cell in cells), any(cell.splits for cell in kept)
    pairs = seeds if paired else 0
    gaps = tuple(sorted({cell.dataset for cell in cells} - {cell.dataset for cell in kept}))
    these = new = None
    means = [part.effect for part in parts if part.effect is not None]
    if parts and not gaps and len(means) == len(parts):
        new = new_data_set(np.array(means), level=1 - alpha)
        if paired and not own:
            these = these_data_sets([np.array(part.effects) for part in parts], rng=np.random.default_rng(seed))
        elif (estimate := stratified([part.estimate for part in parts])) is not None:
            these = TheseDataSets(estimate, len(parts), None, None)
    p, test = None if these is None else these.estimate.p, "stratified t"
    if not paired:
        p, test = (None, "none: seeds failed and are not paired") if failed else (p, "stratified Welch t")
    elif failed:
        p, test = None if gaps else sign_test(wins, losses), "sign test, failures as losses"
    elif own:
        test = "stratified t, corrected for redrawn splits"
    return Evidence(
        parts=parts,
        gaps=gaps,
        these=these,
        new=new,
        superiority=Share(wins + (pairs - wins - losses) / 2, pairs, alpha),
        seeds=seeds,
        test=test,
        p=p,
        leave_one_out=leave_one_out(np.array(means)) if new is not None else None,
    )


def _part(cell: Cell, claim: Claim, scales: Mapping[str, tuple[float, float]] | None) -> Part:
    c = claim.comparison
    if c.failed and cell.paired:
        lean = (c.superiority.value or 0.0) - 0.5
    else:
        lean = 0.0 if c.effect is None or abs(c.effect) < (cell.margin or 0.0) else c.effect
    outcome = "win" if lean > 0 else "loss" if lean < 0 else "tie"
    mine, base = (_by_seed(cell, name) for name in (claim.method, cell.reference))
    seeds = (c.seeds, c.seeds) if cell.paired else (mine, base)
    a, b = (np.array([side[seed] for seed in of]) for side, of in zip((mine, base), seeds, strict=True))
    if scales is not None:
        floor, ceiling = scales[cell.dataset]
        a, b = (normalised(one, floor=floor, ceiling=ceiling) for one in (a, b))
    elif (_error(cell, a) <= 0).any() or (_error(cell, b) <= 0).any():  # only an upper bound may be here
        a = b = np.empty(0)
    else:
        a, b = (log_error(_error(cell, one)) for one in (a, b))
    if not cell.paired:
        effect = round(float(a.mean() - b.mean()), DIGITS) if len(a) and len(b) else None
        return Part(cell.dataset, (), c.failed, outcome, effect, welch(np.round(a, DIGITS), np.round(b, DIGITS)))
    effects = np.round(a - b, DIGITS)
    estimate = paired(effects)
    if cell.splits is not None:
        estimate = corrected_resampled(effects, n_train=cell.splits.n_train, n_test=cell.splits.n_test)
    effect = float(effects.mean()) if len(effects) else None
    return Part(cell.dataset, tuple(effects.tolist()), c.failed, outcome, effect, estimate)


def _in_unit(cells: list[Cell], scales: Mapping[str, tuple[float, float]] | None) -> tuple[list[Cell], list[str]]:
    if scales is not None:
        return cells, []
    reasons = {cell.dataset: _no_ratio(cell) for cell in cells}
    left_out = [f"{dataset}: {reason}" for dataset, reason in reasons.items() if reason]
    return [cell for cell in cells if not reasons[cell.dataset]], left_out


def _no_ratio(cell: Cell) -> str:
    if cell.metric.higher_is_better and not cell.metric.bounded:
        return f"{cell.metric.name} has no best value, so there is no error; declare scales"
    for entry in cell.entries:
        if entry.competes and (_error(cell, np.array(entry.summary.values)) <= 0).any():
            return f"{entry.method} made no error at all, and a ratio needs some; declare scales"
    return ""


def _error(cell: Cell, values: FloatArray) -> FloatArray:
    return 1 - values if cell.metric.higher_is_better else values


def _by_seed(cell: Cell, method: str) -> dict[int, float]:
    summary = cell.entry(method).summary
    return dict(zip(summary.seeds, summary.values, strict=True))


def _rank_score(cell: Cell, method: str) -> float:
    summary = cell.entry(method).summary
    if summary.failures.k or summary.mean is None:
        return float("nan")
    return summary.mean if cell.metric.higher_is_better else -summary.mean


def _methods(cells: list[Cell]) -> list[tuple[str, bool]]:
    entries = (entry for cell in cells for entry in cell.entries if entry.method != cell.reference)
    return list({entry.method: entry.competes for entry in entries}.items())


def _primary(found: Sequence[Cell], primary: Mapping[str, str]) -> list[Cell]:
    metrics: dict[str, list[str]] = {}
    for cell in found:
        metrics.setdefault(cell.dataset, []).append(cell.metric.name)
    for dataset, names in metrics.items():
        several = sorted(set(names))
        if primary.get(dataset, several[0]) not in several or (len(several) > 1 and dataset not in primary):
            raise TableError(
                f"found the metrics {', '.join(several)} for {dataset}, expected one to stand for it over data sets. "
                f"Name one of them as primary, for example {dataset}: {several[0]}."
            )
    return [cell for cell in found if primary.get(cell.dataset, cell.metric.name) == cell.metric.name]
