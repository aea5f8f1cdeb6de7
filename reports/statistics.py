"""Seed-level statistics of one data set and budget: arrays in, small frozen dataclasses out.

Pairs by seed, never by row position, and is oriented once: a positive difference is always better. The paired t test
comes first because it alone keeps its 95% with three to five seeds; the bootstrap covers 75% there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from ..harness.errors import TableError
from .splits import Splits

FloatArray = npt.NDArray[np.float64]
ALPHA = 0.05
LARGEST_EXACT = 40
"""Pairs up to which the sign-flip test is exact; more are never planned, and the t test needs no companion there."""


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval, both ends included."""

    low: float
    high: float

    def excludes(self, point: float) -> bool:
        """Whether the point lies outside."""
        return point < self.low or point > self.high

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies between -margin and margin."""
        return -margin < self.low and self.high < margin


@dataclass(frozen=True)
class Share:
    """k of n, with the exact interval of Clopper and Pearson; k may hold halves, from ties."""

    k: float
    n: int
    alpha: float = ALPHA

    @property
    def value(self) -> float | None:
        """The share itself, or None of nothing."""
        return self.k / self.n if self.n else None

    @cached_property
    def interval(self) -> Interval | None:
        """Clopper-Pearson; a half counts against certainty at both ends, so coverage never falls below 1 - alpha."""
        return clopper_pearson(self.k, self.n, 1 - self.alpha) if self.n else None


@dataclass(frozen=True)
class Outcomes:
    """What one method did: one entry per seed, in any order. Seeds that were lost or never run are left out.

    A failed seed has no value; every other value is finite. Raises TableError for a seed that comes twice.
    """

    seeds: npt.NDArray[np.int64]
    values: FloatArray
    failed: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.seeds) == len(self.values) == len(self.failed):
            raise TableError("found seeds, values and failures of different lengths, expected one of each per trial.")
        if len(np.unique(self.seeds)) != len(self.seeds):
            raise TableError(
                f"found seeds {sorted(self.seeds.tolist())}, expected each once. Remove the duplicate rows."
            )
        if not np.isfinite(self.values[~self.failed]).all():
            raise TableError("found a value that is nan or infinite in a finished trial. Mark that trial as failed.")

    @property
    def finished(self) -> FloatArray:
        """Values of the seeds that did not fail, in the order of the seeds."""
        order = np.argsort(self.seeds)
        return self.values[order][~self.failed[order]]


@dataclass(frozen=True)
class Summary:
    """One method on its own: mean over the seeds that finished, in the metric's unit."""

    n: int
    mean: float | None
    interval: Interval | None
    """t interval, 95% unless told otherwise; None below three seeds, where it would be wider than the axis."""
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    failures: Share


@dataclass(frozen=True)
class Groups:
    """Two groups of seeds that nothing pairs, compared by Welch's t."""

    method: int
    """Seeds that finished."""
    reference: int
    error: float
    """Standard error of the difference of the two means."""
    df: float
    """Degrees of freedom of Welch and Satterthwaite."""
    df_a_seed: float
    """What they would grow by with each seed that both ran more."""


@dataclass(frozen=True)
class Comparison:
    """A method against the reference, seed by seed; differences are positive where the method is better."""

    n: int
    """Seeds on which both have an outcome, failures included; of unpaired seeds those of the smaller group."""
    seeds: tuple[int, ...]
    """Seeds on which both finished: the complete pairs."""
    differences: tuple[float, ...]
    effect: float | None
    spread: float | None
    """Standard deviation of the differences (n - 1), of unpaired seeds that of a difference of any two."""
    interval: Interval | None
    """t interval at 1 - alpha."""
    equivalence_interval: Interval | None
    """t interval at 1 - 2 alpha: inside the margin, it is two one-sided tests (TOST) at alpha."""
    p_t: float | None
    p_sign_flip: float | None
    p_sign_flip_floor: float | None
    p_wilcoxon: float | None
    p_sign: float | None
    """Exact sign test of wins against losses, failures included; the only test that needs no score for a failure."""
    wins: int
    ties: int
    losses: int
    superiority: Share
    """P(method > reference): wins and half the ties; a failure loses, two failures tie."""
    failed: int
    """Pairs in which at least one of the two failed; of unpaired seeds, those that failed."""
    correlation: float | None
    error_reduction: float | None
    """1 - error / error of the reference, where the error is known; 0.18 is 18% less error."""
    notes: tuple[str, ...] = field(default=())
    groups: Groups | None = None
    """None where seeds pair the two; else there are no differences, no exact tests and no P(better)."""
    splits: Splits | None = None
    """Where each seed has a split of its own: then t is corrected, and exact tests of independent seeds are None."""

    @property
    def complete(self) -> int:
        """Number of complete pairs; of unpaired seeds, the finished ones of the smaller group."""
        return len(self.differences) if self.groups is None else min(self.groups.method, self.groups.reference)

    @property
    def depends_on_failures(self) -> bool:
        """Whether counting failures as losses and leaving them out point in opposite directions."""
        if not self.failed or self.effect is None or self.superiority.value is None:
            return False
        return (self.superiority.value - 0.5) * self.effect < 0


def clopper_pearson(k: float, n: int, level: float = 0.95) -> Interval:
    """Exact interval of a share; k is rounded outwards at both ends if ties made it a half."""
    from scipy.special import betaincinv

    tail, low, high = (1 - level) / 2, int(np.floor(k)), int(np.ceil(k))
    return Interval(
        0.0 if low == 0 else float(betaincinv(low, n - low + 1, tail)),
        1.0 if high == n else 1 - float(betaincinv(n - high, high + 1, tail)),
    )


def t_interval(values: FloatArray, level: float = 0.95, *, splits: Splits | None = None) -> Interval | None:
    """Student's interval of a mean, corrected for redrawn splits; None below three values."""
    if len(values) < 3:
        return None
    spread = float(values.std(ddof=1)) * (splits.widening(len(values)) if splits else 1.0)
    return _t_interval(float(values.mean()), spread, len(values), level)


def summarise(outcomes: Outcomes, *, alpha: float = ALPHA, splits: Splits | None = None) -> Summary:
    """Mean, t interval at 1 - alpha, seeds and failures of one method; the interval corrected for redrawn splits."""
    order = np.argsort(outcomes.seeds)
    kept = order[~outcomes.failed[order]]
    values = outcomes.values[kept]
    return Summary(
        n=len(values),
        mean=float(values.mean()) if len(values) else None,
        interval=t_interval(values, level=1 - alpha, splits=splits),
        seeds=tuple(outcomes.seeds[kept].tolist()),
        values=tuple(values.tolist()),
        failures=Share(int(outcomes.failed.sum()), len(outcomes.seeds), alpha),
    )


def compare(
    method: Outcomes,
    reference: Outcomes,
    *,
    higher_is_better: bool,
    resolution: float | None = None,
    ceiling: float | None = None,
    alpha: float = ALPHA,
    splits: Splits | None = None,
) -> Comparison:
    """Compare a method with the reference on the seeds that both have; alpha sets the levels of the intervals.

    resolution is the smallest step of the metric, 1/n_test for accuracy: differences are rounded to it, so that float
    noise breaks no tie. ceiling is the best value of a bounded metric that grows, 1 for accuracy. splits says that each
    seed has a split of its own: t is then the corrected resampled one, and tests of independent seeds are left out.
    """
    seeds, at, at_reference = np.intersect1d(method.seeds, reference.seeds, return_indices=True)
    failed, failed_reference = method.failed[at], reference.failed[at_reference]
    both = ~failed & ~failed_reference
    a, b = method.values[at][both], reference.values[at_reference][both]
    differences = rounded(a - b if higher_is_better else b - a, smallest_step(a, b, resolution))
    wins = int((differences > 0).sum() + (~failed & failed_reference).sum())
    losses = int((differences < 0).sum() + (failed & ~failed_reference).sum())
    ties = len(seeds) - wins - losses
    n = len(differences)
    mean = float(differences.mean()) if n else None
    spread = None if n < 2 else 0.0 if differences.min() == differences.max() else float(differences.std(ddof=1))
    p_t = interval = narrower = None
    notes: tuple[str, ...] = ()
    if n >= 3 and mean is not None and spread:
        wide = spread * (splits.widening(n) if splits else 1.0)
        p_t = _paired_t(mean, wide, n)
        interval, narrower = (_t_interval(mean, wide, n, level) for level in (1 - alpha, 1 - 2 * alpha))
    elif n >= 3 and mean == 0:
        p_t = 1.0
    elif n >= 3:
        notes = (f"all {n} differences are the same, so the t test has no spread to judge by",)
    return Comparison(
        n=len(seeds),
        seeds=tuple(seeds[both].tolist()),
        differences=tuple(differences.tolist()),
        effect=mean,
        spread=spread,
        interval=interval,
        equivalence_interval=narrower,
        p_t=p_t,
        p_sign_flip=sign_flip(differences) if splits is None else None,
        p_sign_flip_floor=2 / 2**n if n >= 3 and splits is None else None,
        p_wilcoxon=signed_rank(differences) if n >= 6 and splits is None else None,
        p_sign=sign_test(wins, losses) if len(seeds) >= 3 else None,
        wins=wins,
        ties=ties,
        losses=losses,
        superiority=Share(wins + ties / 2, len(seeds), alpha),
        failed=int((~both).sum()),
        correlation=_correlation(a, b),
        error_reduction=error_reduction(a, b, higher_is_better=higher_is_better, ceiling=ceiling),
        notes=notes,
        splits=splits,
    )


def sign_flip(differences: FloatArray) -> float | None:
    """Exact two-sided p of the mean under all 2^n changes of sign; None below 3 and above 40 pairs.

    Meets in the middle: the sums of either half are sorted and matched, so 40 pairs cost 2^20 numbers.
    """
    n = len(differences)
    if not 3 <= n <= LARGEST_EXACT:
        return None
    total = np.abs(differences).sum()
    if total == 0:
        return 1.0
    left, right = _signed_sums(differences[: n // 2]), np.sort(_signed_sums(differences[n // 2 :]))
    reach = abs(differences.sum()) - 1e-9 * total
    above = len(right) - np.searchsorted(right, reach - left, side="left")
    below = np.searchsorted(right, -reach - left, side="right")
    return min(1.0, float(above.sum() + below.sum()) / 2.0**n)


@lru_cache(maxsize=4096)
def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided sign test; ties are left out."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def signed_rank(differences: FloatArray) -> float | None:
    """Wilcoxon's two-sided signed rank test, zeros ranked and then dropped (Pratt); None below 3.

    Exact up to 40 differences, with ties and zeros too: it is the sign-flip test of the signed ranks. Above, normal.
    """
    from scipy.stats import wilcoxon

    if len(differences) < 3:
        return None
    if not differences.any():
        return 1.0
    if len(differences) > LARGEST_EXACT:
        return float(wilcoxon(differences, zero_method="pratt", method="approx").pvalue)
    sizes = np.abs(differences)
    ranked = np.sort(sizes)
    mean_ranks = (np.searchsorted(ranked, sizes, side="left") + np.searchsorted(ranked, sizes, side="right") + 1) / 2
    return sign_flip(np.sign(differences) * mean_ranks)


def holm(p_values: Sequence[float | None], m: int) -> list[float | None]:
    """Holm's adjusted p over a family of m planned comparisons; those without a p still count in m."""
    if m < len([p for p in p_values if p is not None]):
        raise TableError(f"found {len(p_values)} p-values, expected at most the {m} planned comparisons.")
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    ranked = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    for rank, (p, place) in enumerate(ranked):
        largest = max(largest, min(1.0, (m - rank) * p))
        adjusted[place] = largest
    return adjusted


def pareto(cost: FloatArray, score: FloatArray) -> npt.NDArray[np.bool_]:
    """Which points no other point beats; a higher score and a lower cost are better.

    An equal score at a higher cost is beaten; exact duplicates are both kept; a point that is not finite is never on
    the front.
    """
    finite = np.isfinite(cost) & np.isfinite(score)
    no_worse = (cost[:, None] <= cost) & (score[:, None] >= score)
    strictly = (cost[:, None] < cost) | (score[:, None] > score)
    beaten = (no_worse & strictly & finite[:, None]).any(axis=0)
    return finite & ~beaten


def _t_interval(mean: float, spread: float, n: int, level: float) -> Interval:
    half = _critical(level, n - 1) * spread / sqrt(n)
    return Interval(mean - half, mean + half)


def _paired_t(mean: float, spread: float, n: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(n - 1, -abs(mean) * sqrt(n) / spread))


@lru_cache(maxsize=4096)
def _critical(level: float, df: int) -> float:
    from scipy.special import stdtrit

    return float(-stdtrit(df, (1 - level) / 2))


def smallest_step(a: FloatArray, b: FloatArray, resolution: float | None) -> float:
    """The resolution of the metric where it is known, else the size of float noise at this scale."""
    if resolution is not None:
        return resolution
    return float(np.abs(np.concatenate([a, b])).max(initial=0.0)) * 1e-12  # float noise, at any scale


def rounded(values: FloatArray, step: float) -> FloatArray:
    """Values as whole steps; 0 leaves them alone."""
    rounded: Any = np.round(values / step) * step if step > 0 else values
    return np.asarray(rounded + 0.0, dtype=np.float64)


def _signed_sums(values: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _correlation(a: FloatArray, b: FloatArray) -> float | None:
    if len(a) < 3 or a.min() == a.max() or b.min() == b.max():
        return None
    x, y = a - a.mean(), b - b.mean()
    scale = sqrt(x @ x) * sqrt(y @ y)
    return float(x @ y / scale) if scale > 0 else None


def error_reduction(a: FloatArray, b: FloatArray, *, higher_is_better: bool, ceiling: float | None) -> float | None:
    """1 - mean error / mean error of the reference; None where the best value is unknown or the reference has it."""
    if not (len(a) and len(b)) or (higher_is_better and ceiling is None):
        return None
    error, reference = (a.mean(), b.mean()) if not higher_is_better else (ceiling - a.mean(), ceiling - b.mean())
    return float(1 - error / reference) if reference > 0 else None
