"""Score against compute: no worse and cheaper, the front with its doubt, and the speed-up at equal score.

Costs enter as logarithms: a ratio of costs is what compares.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..harness.errors import TableError
from .estimates import Estimate, paired, welch
from .splits import Splits
from .statistics import ALPHA, FloatArray, Interval

DRAWS = 10_000
MOST_SEEDS = 1000
"""Seeds that are each drawn for; more would only take memory."""


@dataclass(frozen=True)
class TradeOff:
    """A method against the reference: no worse than a margin, and cheaper. Scope: new seeds, this data set."""

    difference: Estimate
    """Score, positive is better."""
    log_cost: Estimate
    """ln(cost of the method / cost of the reference); error 0 for a cost that is counted and not measured."""
    margin: float
    lower: float
    """One-sided lower bound of the difference at 1 - alpha; no worse where it is above -margin."""
    upper_ratio: float
    """One-sided upper bound of the ratio of costs at 1 - alpha; cheaper where it is below 1."""
    p: float | None
    """Intersection-union: the larger of the p of no worse and the p of cheaper. No correction for the two."""
    p_dominates: float | None
    """The larger of the p of better (margin 0) and the p of cheaper."""

    @property
    def ratio(self) -> float:
        """Geometric mean ratio of costs; below 1 is cheaper."""
        return float(np.exp(self.log_cost.value))


@dataclass(frozen=True)
class SpeedUp:
    """Cost of the reference over the cost at which the method's own curve reaches the same score."""

    ratio: float | None
    """Above 1 is cheaper; None where the mean curve does not reach the score."""
    at_least: bool
    """Whether the cheapest configuration already reaches it, so that the ratio is a lower bound."""
    interval: Interval | None
    """From redrawn seeds; an end of 0 or infinity is no bound on that side. None below three seeds."""
    reached: float | None
    """Share of the redraws in which the curve reaches the score."""

    def __str__(self) -> str:
        if self.ratio is None:
            return "not reached"
        number = f"{'≥ ' if self.at_least else ''}{self.ratio:.2g} ×"
        if self.interval is None:
            return f"{number}, fewer than three seeds"
        low = "not reached" if self.interval.low == 0 else f"{self.interval.low:.2g}"
        high = "no bound" if np.isinf(self.interval.high) else f"{self.interval.high:.2g}"
        return f"{number} [{low}, {high}]"


def no_worse_and_cheaper(
    differences: FloatArray | Estimate,
    cost: FloatArray,
    reference_cost: FloatArray,
    *,
    margin: float,
    counted: bool,
    alpha: float = ALPHA,
) -> TradeOff | None:
    """One intersection-union test of score differences and of costs, one cost a trial or process.

    The differences are those of pairs; or an estimate of their mean, where seeds are not paired.

    counted says that the cost has no noise (operations, parameters): where it then does not vary, cheaper is a fact
    and not a test. Measured costs are compared by Welch's t of their logarithms: processes are not paired by seed.
    None below three differences or, if measured, three costs on either side. Raises TableError for a margin below 0
    and for a cost that is not above 0.
    """
    if not margin >= 0:
        raise TableError(f"found margin {margin:g}, expected zero or more in the metric's unit.")
    log_cost = _log_cost(cost, reference_cost, counted=counted)
    difference = differences if isinstance(differences, Estimate) else paired(differences)
    if difference is None or difference.df < 2 or log_cost is None:
        return None
    cheaper = log_cost.p_below(0.0)
    if counted and log_cost.error == 0:
        cheaper = 0.0 if log_cost.value < 0 else 1.0
    no_worse, better = difference.p_above(-margin), difference.p_above(0.0)
    return TradeOff(
        difference=difference,
        log_cost=log_cost,
        margin=margin,
        lower=difference.lower(1 - alpha),
        upper_ratio=float(np.exp(log_cost.upper(1 - alpha))),
        p=None if no_worse is None or cheaper is None else max(no_worse, cheaper),
        p_dominates=None if better is None or cheaper is None else max(better, cheaper),
    )


def mean_draws(
    values: FloatArray, *, rng: np.random.Generator, draws: int = DRAWS, splits: Splits | None = None
) -> FloatArray:
    """Draws of the means of several rows, (draws, rows), that know of the pairing: columns are seeds, nan is absent.

    Each mean alone follows mean + t(n - 1) s / sqrt(n), so that its quantiles are those of the t interval, which keeps
    its level with three seeds where resampled seeds do not; rows move together as their seeds do. splits widens them
    as it widens that interval. Raises TableError for a row with fewer than two values.
    """
    from scipy.stats import chi2

    present = np.isfinite(values)
    n = present.sum(axis=1)
    if (n < 2).any():
        raise TableError(f"found a row with {n.min()} values, expected at least two in each.")
    mean = np.where(present, values, 0.0).sum(axis=1) / n
    centred = np.where(present, values - mean[:, None], 0.0)
    if values.shape[1] > MOST_SEEDS:  # as many draws as rows have the same covariance
        centred = np.linalg.qr(centred.T).R.T
    normal = rng.standard_normal((draws, centred.shape[1]))
    uniform = rng.uniform(size=draws)
    widths = {df: np.sqrt(df / chi2.ppf(uniform, df)) for df in set((n - 1).tolist())}
    width = np.stack([widths[df] for df in (n - 1).tolist()], axis=1)
    wider = np.sqrt(1 + n * splits.ratio) if splits else 1.0
    drawn: FloatArray = mean + (normal @ centred.T) / np.sqrt(n * (n - 1.0)) * width * wider
    return drawn


def p_on_front(cost: FloatArray, score: FloatArray) -> FloatArray:
    """Share of draws (rows) in which each method (column) is beaten by no other; lower cost, higher score."""
    kept = np.zeros(cost.shape[1])
    for start in range(0, len(cost), 1000):
        c, s = cost[start : start + 1000], score[start : start + 1000]
        no_worse = (c[:, :, None] <= c[:, None, :]) & (s[:, :, None] >= s[:, None, :])
        strictly = (c[:, :, None] < c[:, None, :]) | (s[:, :, None] > s[:, None, :])
        kept += (~(no_worse & strictly).any(axis=1)).sum(axis=0)
    return kept / len(cost)


def speed_up(
    cost: FloatArray,
    scores: FloatArray,
    *,
    target_cost: float,
    target_scores: FloatArray,
    rng: np.random.Generator,
    draws: int = DRAWS,
    alpha: float = ALPHA,
    splits: Splits | None = None,
) -> SpeedUp:
    """Iso-score speed-up: target_cost over the cost at which the curve reaches the target's mean score.

    cost is that of each configuration of the method, scores theirs by seed (configurations, seeds), higher is better;
    target_scores are those of one configuration of the reference on the same seeds. The curve joins the best mean so
    far, linearly in log cost, and is never extrapolated: beyond its dearest point the score is not reached, before
    its cheapest the ratio is a lower bound. Raises TableError for a cost that is not above 0.
    """
    if not (np.isfinite([*cost, target_cost]).all() and (cost > 0).all() and target_cost > 0):
        raise TableError("found a cost that is not a finite number above 0, expected one for each configuration.")
    order = np.argsort(cost, kind="stable")
    logs, rows = np.log(cost[order]), np.vstack([scores[order], target_scores])
    means = np.nanmean(rows, axis=1)[None]
    at, at_least = _reach(logs, means[:, :-1], means[:, -1])
    ratio = float(np.exp(np.log(target_cost) - at[0])) if np.isfinite(at[0]) else None
    if np.isfinite(rows).sum(axis=1).min() < 3:
        return SpeedUp(ratio, bool(at_least[0]), None, None)
    drawn = mean_draws(rows, rng=rng, draws=draws, splits=splits)
    reached_at, bound = _reach(logs, drawn[:, :-1], drawn[:, -1])
    low = np.quantile(np.log(target_cost) - reached_at, alpha / 2, method="inverted_cdf")
    high = np.quantile(np.where(bound, np.inf, np.log(target_cost) - reached_at), 1 - alpha / 2, method="inverted_cdf")
    interval = Interval(float(np.exp(low)), float(np.exp(high)))
    return SpeedUp(ratio, bool(at_least[0]), interval, float(np.isfinite(reached_at).mean()))


def _reach(logs: FloatArray, scores: FloatArray, target: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Log cost at which each row's curve reaches its target, inf if it does not, and whether it starts above it."""
    best = np.maximum.accumulate(scores, axis=1)
    enough = best >= target[:, None]
    first, rows = enough.argmax(axis=1), np.arange(len(scores))
    before = np.maximum(first - 1, 0)
    below, above = best[rows, before], best[rows, first]
    step = np.divide(target - below, above - below, out=np.zeros_like(target), where=above > below)
    at = np.where(first == 0, logs[0], logs[before] + np.clip(step, 0, 1) * (logs[first] - logs[before]))
    return np.where(enough[:, -1], at, np.inf), enough[:, 0]


def _log_cost(cost: FloatArray, reference: FloatArray, *, counted: bool) -> Estimate | None:
    for values in (cost, reference):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise TableError(
                f"found a cost of {values.min():g}, expected finite costs above 0: a ratio needs them. Leave the cost "
                "empty where it was not measured."
            )
    fewest = min(len(cost), len(reference))
    if counted and fewest and np.ptp(cost) == 0 and np.ptp(reference) == 0:
        return Estimate(float(np.log(cost[0]) - np.log(reference[0])), 0.0, np.inf)
    return welch(np.log(cost), np.log(reference)) if fewest >= 3 else None
