"""All data sets together, in two scopes that are never mixed: these data sets, and a new one of their kind.

The common unit is the log error ratio l = ln(error of the reference / error of the method): positive is better, there
is no unit, and exp(mean) is a geometric mean of ratios (Fleming and Wallace 1986). Accuracy is never averaged with
centimetres.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from ..harness.errors import TableError
from .estimates import Estimate, combined, paired
from .statistics import ALPHA, FloatArray, Interval, Share, sign_flip, signed_rank

EXACT = 24
"""Pairs up to which the stratified sign-flip runs through all signs; above, it draws them."""
FLIPS = 10_000
MOST_PAIRS = 2000
"""Pairs up to which they are drawn; above, the t test needs no companion, nor a mean its bootstrap."""


@dataclass(frozen=True)
class TheseDataSets:
    """Scope: new seeds on exactly these data sets. Every data set weighs the same."""

    estimate: Estimate
    """Mean over data sets of the mean over seeds, with Satterthwaite's degrees of freedom."""
    n_data_sets: int
    p_sign_flip: float | None
    """None where seeds are not paired, each has a split of its own, or there are thousands."""
    p_sign_flip_floor: float | None
    """The smallest p that the sign-flip could have given."""


@dataclass(frozen=True)
class NewDataSet:
    """Scope: a new data set of this kind; n is the number of data sets, and seeds do not count."""

    n: int
    estimate: Estimate | None
    """t on the data sets' means; None below three."""
    prediction: Interval | None
    """Where the effect on one new data set is expected, with the same confidence."""
    p_signed_rank: float | None
    floor: float
    """Smallest p of any distribution-free two-sided test: 2/2^n."""

    @property
    def caution(self) -> str:
        """What must be printed beside a claim from few data sets; empty from six on."""
        if self.n >= 6:
            return ""
        few = f"{self.n} data {'set' if self.n == 1 else 'sets'} cannot support a distribution-free claim"
        return f"{few} about new data sets (smallest possible p = 2/2^{self.n} = {self.floor:.3g})"


@dataclass(frozen=True)
class Part:
    """One data set's part in a comparison over data sets."""

    dataset: str
    effects: tuple[float, ...]
    """Complete pairs in the common unit, positive is better; none where seeds are not paired."""
    failed: int
    """Pairs in which at least one of the two failed; of unpaired seeds, those that failed."""
    outcome: str
    """win, tie or loss: by the mean, a tie within the declared margin; with failures of pairs by P(better)."""
    effect: float | None
    """Mean of the complete pairs, or difference of the means of unpaired seeds."""
    estimate: Estimate | None
    """The same with its error; None below two pairs, or two seeds of either."""


@dataclass(frozen=True)
class Evidence:
    """What a method's pairs with the reference say over all data sets of a budget."""

    parts: tuple[Part, ...]
    gaps: tuple[str, ...]
    """Data sets without a single pair: any takes the method out of the aggregate."""
    these: TheseDataSets | None
    """None with gaps, or with fewer than two complete pairs on a data set."""
    new: NewDataSet | None
    superiority: Share
    """P(method > reference) over all pairs, failures as losses; of nothing where seeds are not paired."""
    seeds: int
    """Paired seeds over all data sets; of unpaired ones, those of the smaller group."""
    test: str
    """The test that leads: stratified t (corrected for redrawn splits; Welch's where seeds are not paired), or the sign
    test where a failure is involved."""
    p: float | None
    leave_one_out: Interval | None

    @property
    def failed(self) -> int:
        """Pairs with a failure."""
        return sum(part.failed for part in self.parts)

    @property
    def record(self) -> tuple[int, int, int]:
        """Data sets won, tied and lost."""
        count = Counter(part.outcome for part in self.parts)
        return count["win"], count["tie"], count["loss"]


@dataclass(frozen=True)
class Omnibus:
    """Iman and Davenport's F: do any of k methods differ in their ranks over n data sets? No gate to anything."""

    statistic: float
    df: tuple[int, int]
    p: float
    mean_ranks: tuple[float, ...]
    """1 is best."""
    n: int


def log_error(errors: FloatArray) -> FloatArray:
    """-ln(error), higher is better: the difference of a method's and the reference's is their log error ratio.

    Raises TableError for an error that is not above zero: it has no ratio, however small the other.
    """
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise TableError(
            f"found an error of {np.min(errors):g}, expected finite errors above zero: a ratio needs them. Compare "
            "this data set in its own unit, or declare a floor and a ceiling and take normalised scores."
        )
    logs: FloatArray = -np.log(errors)
    return logs


def normalised(score: FloatArray, *, floor: float, ceiling: float) -> FloatArray:
    """(score - floor) / (ceiling - floor): 0 for a constant predictor, 1 for the best there is, any direction."""
    if floor == ceiling or not np.isfinite([floor, ceiling]).all():
        raise TableError(f"found floor {floor:g} and ceiling {ceiling:g}, expected two different finite scores.")
    scaled: FloatArray = (score - floor) / (ceiling - floor)
    return scaled


def these_data_sets(
    strata: Sequence[FloatArray], *, rng: np.random.Generator, flips: int = FLIPS
) -> TheseDataSets | None:
    """Stratified t and stratified sign-flip of paired differences, one array a data set.

    Delta = mean of the data sets' means; its variance is sum(s_d^2 / n_d) / D^2. Every data set needs two pairs: one
    alone has no spread, and the result is None. The sign-flip is exact up to 24 pairs and drawn above.
    """
    estimate = stratified([paired(values) for values in strata])
    if estimate is None:
        return None
    weighted = np.concatenate([values / len(values) for values in strata])
    p, floor = _flipped(weighted, rng, flips)
    return TheseDataSets(estimate, len(strata), p, floor)


def stratified(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Mean of one estimate a data set, each of the same weight; None without any, or where one is None.

    The estimates may be of pairs, of seeds that are not paired (Welch) or corrected for splits that are drawn again.
    """
    known = [one for one in estimates if one is not None]
    if not known or len(known) < len(estimates):
        return None
    parts = np.array([(one.error / len(known)) ** 2 for one in known])
    return combined(float(np.mean([one.value for one in known])), parts, np.array([one.df for one in known]))


def new_data_set(means: FloatArray, *, level: float = 1 - ALPHA) -> NewDataSet:
    """One-sample t on the data sets' mean effects, unweighted on purpose, with a prediction interval.

    Weights by inverse variance would make it anti-conservative with a handful of seeds a data set.
    """
    n = len(means)
    estimate = paired(means) if n >= 3 else None
    prediction = None
    if estimate is not None and estimate.error > 0:
        one_more = Estimate(estimate.value, estimate.error * float(np.sqrt(n + 1)), estimate.df)  # s sqrt(1 + 1/n)
        prediction = one_more.interval(level)
    return NewDataSet(n, estimate, prediction, signed_rank(means), min(1.0, 2.0 / 2.0**n))


def iman_davenport(scores: FloatArray) -> Omnibus | None:
    """F of the ranks of k methods (columns) on n data sets (rows); a higher score is better, nan ranks last.

    F = (n - 1) chi2 / (n (k - 1) - chi2) with Friedman's chi2, corrected for ties (Iman and Davenport 1980). Where
    all data sets rank alike, F is infinite and p is that of the ranks themselves, 1 / (k!)^(n - 1). None below two
    data sets or methods, or where everything ties.
    """
    from scipy.stats import f, rankdata

    n, k = scores.shape
    if n < 2 or k < 2:
        return None
    ranks = rankdata(np.where(np.isnan(scores), np.inf, -scores), axis=1)
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())
    if spread == 0:
        return None
    between = n * float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum())
    within = spread - between  # F is that of a two-way analysis of variance of the ranks
    mean_ranks = tuple(ranks.mean(axis=0).tolist())
    df = (k - 1, (k - 1) * (n - 1))
    if within <= 1e-9 * spread:
        exact = 1.0 / float(factorial(k)) ** (n - 1) if len(np.unique(ranks[0])) == k else float("nan")
        return None if np.isnan(exact) else Omnibus(float("inf"), df, exact, mean_ranks, n)
    statistic = (n - 1) * between / within
    return Omnibus(statistic, df, float(f.sf(statistic, *df)), mean_ranks, n)


def _flipped(values: FloatArray, rng: np.random.Generator, flips: int) -> tuple[float | None, float | None]:
    n = len(values)
    if n <= EXACT:
        return sign_flip(values), (2.0 / 2.0**n if n >= 3 else None)
    if n > MOST_PAIRS:
        return None, None
    signs = 2.0 * rng.integers(0, 2, size=(flips, n), dtype=np.int8) - 1
    sizes = np.sort(np.abs(values))  # so that neither the order of the pairs nor swapping the methods changes p
    reach = abs(values.sum()) - 1e-9 * sizes.sum()
    p = (1 + int((np.abs(signs @ sizes) >= reach).sum())) / (flips + 1)
    return p, 1 / (flips + 1)
