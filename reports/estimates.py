"""An estimate with its standard error and degrees of freedom: everything that Student's t says about a mean.

One dataclass serves every design: paired seeds, seeds that are not paired, splits that are drawn again for each seed;
and, in other files, seeds crossed with examples and means over data sets.
"""

from dataclasses import dataclass

import numpy as np

from ..harness.errors import TableError
from .splits import Splits
from .statistics import ALPHA, FloatArray, Interval


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error and the degrees of freedom of that error.

    Without spread (error 0) there is nothing to judge by: no interval and no p, unless the value is 0 too.
    """

    value: float
    error: float
    df: float

    def interval(self, level: float = 1 - ALPHA) -> Interval | None:
        """Two-sided t interval."""
        from scipy.stats import t

        if not self.error > 0:
            return None
        half = float(t.isf((1 - level) / 2, self.df)) * self.error
        return Interval(self.value - half, self.value + half)

    def lower(self, level: float = 1 - ALPHA) -> float:
        """One-sided lower bound; the value itself where there is no spread."""
        from scipy.stats import t

        return self.value - float(t.isf(1 - level, self.df)) * self.error

    def upper(self, level: float = 1 - ALPHA) -> float:
        """One-sided upper bound; the value itself where there is no spread."""
        return 2 * self.value - self.lower(level)

    @property
    def p(self) -> float | None:
        """Two-sided p of no difference."""
        from scipy.stats import t

        if not self.error > 0:
            return 1.0 if self.value == 0 else None
        return float(2 * t.sf(abs(self.value) / self.error, self.df))

    def p_above(self, bound: float) -> float | None:
        """One-sided p against `the mean is at most bound`: small where the mean is above it."""
        from scipy.stats import t

        return float(t.sf((self.value - bound) / self.error, self.df)) if self.error > 0 else None

    def p_below(self, bound: float) -> float | None:
        """One-sided p against `the mean is at least bound`: small where the mean is below it."""
        from scipy.stats import t

        return float(t.cdf((self.value - bound) / self.error, self.df)) if self.error > 0 else None

    def p_equivalent(self, margin: float) -> float | None:
        """Two one-sided tests (TOST): small where the mean is within -margin and margin.

        Below alpha exactly where the interval at 1 - 2 alpha lies inside. Raises TableError for a margin not above 0.
        """
        if not margin > 0:
            raise TableError(f"found margin {margin:g}, expected a positive number in the unit of the difference.")
        above, below = self.p_above(-margin), self.p_below(margin)
        return None if above is None or below is None else max(above, below)


def paired(differences: FloatArray) -> Estimate | None:
    """Mean of paired differences; None below two."""
    n = len(differences)
    if n < 2:
        return None
    noise = 1e-12 * float(np.abs(differences).max())  # equal numbers that were computed in two ways
    spread = float(differences.std(ddof=1)) if np.ptp(differences) > noise else 0.0
    return Estimate(float(differences.mean()), spread / np.sqrt(n), n - 1)


def welch(a: FloatArray, b: FloatArray) -> Estimate | None:
    """Mean of a minus mean of b, for seeds that are not paired; None where either has fewer than two.

    Degrees of freedom of Welch and Satterthwaite.
    """
    if len(a) < 2 or len(b) < 2:
        return None
    parts = np.array([_variance(a) / len(a), _variance(b) / len(b)])
    dofs = np.array([len(a) - 1, len(b) - 1])
    return combined(float(a.mean() - b.mean()), parts, dofs)


def corrected_resampled(differences: FloatArray, *, n_train: int, n_test: int) -> Estimate | None:
    """Mean of differences whose train and test splits are drawn again for each seed; None below two.

    The splits overlap, so the differences are correlated and the error is wider (`Splits.widening`). Raises TableError
    for a split without examples.
    """
    splits = Splits(n_train, n_test)
    plain = paired(differences)
    if plain is None:
        return None
    return Estimate(plain.value, plain.error * splits.widening(len(differences)), plain.df)


def standardised(differences: FloatArray) -> float | None:
    """Hedges' g_z: the mean in standard deviations of the differences, freed from its small-sample bias.

    The factor is J = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2)) with df = n - 1; it is 0 for two differences, so that
    nothing is said below three, nor without spread.
    """
    from scipy.special import gammaln

    n = len(differences)
    if n < 3 or np.ptp(differences) == 0:
        return None
    df = n - 1
    factor = np.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / np.sqrt(df / 2)
    return float(factor * differences.mean() / differences.std(ddof=1))


def combined(value: float, parts: FloatArray, dofs: FloatArray) -> Estimate:
    """A value whose variance is a sum of independent parts, with the degrees of freedom of Satterthwaite."""
    total = float(parts.sum())
    if total <= 0:
        return Estimate(value, 0.0, float(np.min(dofs)))
    shares = parts / total  # so that tiny variances do not underflow when they are squared
    return Estimate(value, float(np.sqrt(total)), float(1 / (shares**2 / dofs).sum()))


def _variance(values: FloatArray) -> float:
    return float(values.var(ddof=1)) if np.ptp(values) > 0 else 0.0
