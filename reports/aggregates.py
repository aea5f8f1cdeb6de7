"""One number for many data sets: what leaving one out changes, the interquartile mean, mean ranks and their cliques.

The last two stay away below ten data sets: an interquartile mean of few drops whole data sets, and the smallest
p-values that ranks can give pass no correction.
"""

from dataclasses import dataclass

import numpy as np

from ..harness.errors import TableError
from .statistics import ALPHA, FloatArray, Interval, holm, signed_rank

FEWEST = 10
DRAWS = 50_000
CHUNK = 5000


@dataclass(frozen=True)
class Iqm:
    """Interquartile mean over all data sets and seeds of one method. Scope: new seeds, these data sets."""

    value: float
    interval: Interval
    """Percentiles of the bootstrap, stratified by data set; it covers 79 to 92% where 95% is said."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over data sets, 1 is best, and which methods nothing tells apart."""

    mean_ranks: tuple[float, ...]
    cliques: tuple[tuple[int, ...], ...]
    """Neighbours in rank of which no pair differs by Wilcoxon's signed rank and Holm over all pairs."""
    p_holm: tuple[tuple[float, ...], ...]
    critical_difference: float
    """Nemenyi's, for the caption only: it depends on who else is in the table, and is no evidence."""
    n: int


def too_few(data_sets: int) -> str:
    """Why neither interquartile mean nor ranks are shown; empty from ten data sets on."""
    if data_sets >= FEWEST:
        return ""
    return (
        f"{data_sets} data {'set is' if data_sets == 1 else 'sets are'} too few for an interquartile mean or a diagram "
        f"of mean ranks, which are shown from {FEWEST} on: the first would drop whole data sets, and the smallest p "
        f"of a rank test, 2/2^{data_sets} = {min(1.0, 2 / 2**data_sets):.2g}, passes no correction."
    )


def leave_one_out(means: FloatArray) -> Interval | None:
    """Range of the mean of the data sets' effects when any one of them is left out; None below two."""
    n = len(means)
    if n < 2:
        return None
    rest = (means.sum() - means) / (n - 1)
    return Interval(float(rest.min()), float(rest.max()))


def interquartile_means(
    scores: FloatArray, *, rng: np.random.Generator, draws: int = DRAWS, alpha: float = ALPHA
) -> tuple[Iqm, ...]:
    """Interquartile mean of each method, scores (methods, data sets, seeds) without gaps, in one unit.

    Seeds are drawn again within each data set, the same for all methods: methods stay paired, and a method's interval
    does not depend on who else is there. Raises TableError for a gap.
    """
    if scores.ndim != 3 or not scores.size or not np.isfinite(scores).all():
        raise TableError(
            f"found scores of shape {scores.shape} with {int((~np.isfinite(scores)).sum())} gaps, expected (methods, "
            "data sets, seeds) without any. Leave out the methods that have some."
        )
    methods, data_sets, seeds = scores.shape
    flat = scores.reshape(methods, -1)
    total = flat.shape[1]
    cut = total // 4
    order = np.argsort(flat, axis=1, kind="stable")
    ranked = np.take_along_axis(flat, order, axis=1)
    small = np.uint8 if total < 256 else np.uint32
    found = np.empty((methods, draws))
    for start in range(0, draws, CHUNK):
        count = min(CHUNK, draws - start)
        picks = rng.integers(0, seeds, size=(data_sets, seeds, count))
        picks += seeds * np.arange(data_sets)[:, None, None]
        places = picks.reshape(total, count) * count + np.arange(count)
        times = np.bincount(places.ravel(), minlength=total * count).astype(small).reshape(total, count)
        for method in range(methods):
            # How many of the drawn values up to the i-th smallest lie in the middle half; then a sum by parts.
            upto = np.clip(np.cumsum(times[order[method]], axis=0, dtype=small), cut, total - cut)
            v = ranked[method]
            found[method, start : start + count] = v[-1] * (total - cut) - v[0] * cut - np.diff(v) @ upto[:-1]
    ends = np.quantile(found / (total - 2 * cut), [alpha / 2, 1 - alpha / 2], axis=1)
    middle = ranked[:, cut : total - cut].mean(axis=1)
    return tuple(
        Iqm(float(value), Interval(float(low), float(high))) for value, low, high in zip(middle, *ends, strict=True)
    )


def ranks(scores: FloatArray, *, alpha: float = ALPHA) -> Ranks:
    """Mean ranks of methods (columns) over data sets (rows), higher is better, with the cliques of Wilcoxon and Holm.

    Raises TableError below ten data sets, below two methods, and for a gap: failures have no place in a signed rank.
    """
    from scipy.stats import rankdata, studentized_range

    n, k = scores.shape
    if n < FEWEST or k < 2 or not np.isfinite(scores).all():
        gaps = int((~np.isfinite(scores)).sum())
        raise TableError(
            f"found {n} data sets, {k} methods and {gaps} gaps, expected at least {FEWEST}, two and none. {too_few(n)}"
        )
    mean_ranks = rankdata(-scores, axis=1).mean(axis=0)
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    adjusted = holm([signed_rank(_rounded(scores[:, i] - scores[:, j])) for i, j in pairs], len(pairs))
    p = np.eye(k)
    for (i, j), value in zip(pairs, adjusted, strict=True):
        p[i, j] = p[j, i] = value
    order = np.argsort(mean_ranks, kind="stable")
    cliques: list[tuple[int, ...]] = []
    for start in range(k):
        end = start + 1
        while end < k and (p[np.ix_(order[start : end + 1], order[start : end + 1])] >= alpha).all():
            end += 1
        members = tuple(order[start:end].tolist())
        if len(members) > 1 and not (cliques and set(members) <= set(cliques[-1])):
            cliques.append(members)
    critical = float(studentized_range.isf(alpha, k, np.inf)) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    return Ranks(
        tuple(mean_ranks.tolist()), tuple(cliques), tuple(tuple(row) for row in p.tolist()), float(critical), n
    )


def _rounded(differences: FloatArray) -> FloatArray:
    step = float(np.abs(differences).max(initial=0.0)) * 1e-10
    rounded: FloatArray = np.round(differences / step) * step if step > 0 else differences
    return rounded
