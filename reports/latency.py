"""How long one answer takes, with the interval that counts: over processes, since calls within one are not independent.

Five fresh processes and more; ratios from runs that alternate between the two methods (Kalibera and Jones 2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..harness.errors import TableError
from .estimates import Estimate, paired
from .statistics import ALPHA, FloatArray, Interval


@dataclass(frozen=True)
class Latency:
    """A quantile of the latency, as geometric mean over processes. Scope: new processes, this machine."""

    value: float
    interval: Interval | None
    """t interval of the logarithms over processes; None below three."""
    processes: int
    calls: int
    """Fewest timed calls of a process."""


@dataclass(frozen=True)
class QuantileInterval:
    """Order statistics around a quantile of independent values; None on a side that so few values cannot bound."""

    low: float | None
    high: float | None
    n: int


def latency(processes: Sequence[FloatArray], *, quantile: float = 0.5, alpha: float = ALPHA) -> Latency:
    """A quantile of the latency from the timed calls of each process, in their unit.

    Raises TableError without a call, or for a time that is not above 0.
    """
    if not processes or any(len(calls) == 0 or not (np.isfinite(calls) & (calls > 0)).all() for calls in processes):
        raise TableError("found a process without timed calls, or a time that is not above 0. Measure it again.")
    logs = np.log([np.quantile(calls, quantile) for calls in processes])
    over = paired(logs) if len(logs) >= 3 else None
    interval = None if over is None else over.interval(1 - alpha)
    return Latency(
        value=float(np.exp(logs.mean())),
        interval=None if interval is None else Interval(float(np.exp(interval.low)), float(np.exp(interval.high))),
        processes=len(logs),
        calls=min(len(calls) for calls in processes),
    )


def by_process(value: float, low: float, high: float, processes: int) -> FloatArray:
    """As many latencies as a profile had processes, whose logarithms have the mean and the spread that it tells.

    low and high are its 95% t interval over processes. The single values are made up, and nothing that reads a mean, a
    t interval or Welch's t from them can tell: those know no more of a sample than its size, mean and spread.
    """
    from scipy.stats import t

    error = np.log(high / low) / 2 / t.isf(0.025, processes - 1)
    places = np.linspace(-1, 1, processes)
    made: FloatArray = np.exp(np.log(value) + places / places.std(ddof=1) * error * np.sqrt(processes))
    return made


def latency_ratio(method: FloatArray, reference: FloatArray) -> Estimate | None:
    """ln(latency of the method / latency of the reference) over pairs of alternating processes; None below two."""
    if len(method) != len(reference) or not ((method > 0).all() and (reference > 0).all()):
        raise TableError(
            f"found {len(method)} and {len(reference)} processes, expected pairs of alternating ones, times above 0."
        )
    return paired(np.log(method) - np.log(reference))


def quantile_interval(values: FloatArray, quantile: float, *, alpha: float = ALPHA) -> QuantileInterval:
    """Distribution-free interval of a quantile by order statistics.

    The 99th percentile of 100 values has no upper bound: one needs n with quantile^n below alpha / 2.
    """
    from scipy.stats import binom

    ranked, n = np.sort(values), len(values)
    low, high = int(binom.ppf(alpha / 2, n, quantile)) - 1, int(binom.isf(alpha / 2, n, quantile))
    return QuantileInterval(float(ranked[low]) if low >= 0 else None, float(ranked[high]) if high < n else None, n)
