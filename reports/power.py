"""What a paired t test with n seeds could have found: detectable differences and seeds needed.

Own numerical integration, on purpose: with three to six seeds and a small alpha, statsmodels' TTestPower returns 5.5
where 14.3 is right, and scipy.stats.nct returns nan.
"""

from functools import lru_cache

import numpy as np

POWER = 0.8
MOST_SEEDS = 10_000
MOST_PLANNED = 1000


@lru_cache(maxsize=4096)
def detectable(n: float, alpha: float, power: float = POWER) -> float | None:
    """Smallest mean difference, in standard deviations of the differences, found with this power by n seeds.

    Two-sided paired t test. None below two seeds. For any other t statistic pass n = degrees of freedom + 1 and
    multiply the result with sqrt(n) standard errors.
    """
    from scipy.optimize import brentq

    if n < 2:
        return None
    high = 1.0
    while power_of(high, n, alpha) < power:
        high *= 2
    return float(brentq(lambda size: power_of(size, n, alpha) - power, 0.0, high, xtol=1e-10))


@lru_cache(maxsize=4096)
def seeds_needed(size: float, alpha: float, power: float = POWER, *, ratio: float = 0.0) -> int | None:
    """Smallest number of seeds that finds a difference of this many standard deviations; None above 10 000.

    ratio is that of test to training examples where each seed has a split of its own: the error then has a floor.
    """

    def reached(n: int) -> bool:
        return power_of(abs(size) / float(np.sqrt(1 + n * ratio)), n, alpha) >= power

    if not abs(size) > 0 or not reached(MOST_SEEDS):
        return None
    low, high = 1, 2
    while not reached(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def seeds_to_find(value: float, error: float, df: float, *, seeds: float, alpha: float) -> int | None:
    """Seeds that find a value with 80% power, if its error and degrees of freedom change from `seeds` as seeds do.

    For t statistics that are not those of one row of pairs. None above 1000.
    """
    if not (error > 0 and seeds > 1):
        return None

    def power(count: int) -> float:
        n = df * (count - 1) / (seeds - 1) + 1
        shift = abs(value) / error * np.sqrt(count / seeds)
        return power_of(float(shift / np.sqrt(n)), n, alpha)

    low, high = 2, MOST_PLANNED
    if power(high) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def power_of(size: float, n: float, alpha: float) -> float:
    """Probability that the two-sided paired t test rejects, if the mean is `size` standard deviations.

    T = (Z + size sqrt(n)) / S with S^2 = chi2(n - 1) / (n - 1), so the power is the mean over S of
    Phi(shift - t S) + Phi(-shift - t S), t the critical value.
    """
    from scipy.special import ndtr
    from scipy.stats import t

    spread, weight = _spread(n - 1)
    critical, shift = float(t.isf(alpha / 2, n - 1)), size * np.sqrt(n)
    return float(weight @ (ndtr(shift - critical * spread) + ndtr(-shift - critical * spread)))


@lru_cache(maxsize=512)
def _spread(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and probabilities of S by Gauss-Legendre on 256 panels; a critical value of 500 is still resolved."""
    from scipy.stats import chi2

    edges = np.linspace(np.sqrt(chi2.ppf(1e-15, df)), np.sqrt(chi2.isf(1e-15, df)), 257) / np.sqrt(df)
    node, weight = np.polynomial.legendre.leggauss(16)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    spread = (middle + half * node).ravel()
    density = chi2.pdf(df * spread**2, df) * 2 * df * spread
    return spread, (half * weight).ravel() * density
