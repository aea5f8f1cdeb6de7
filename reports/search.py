"""What a search of n configurations is expected to find: searched methods compared at equal search budget.

For random search only: configurations drawn alike and independently. Not for survivors of early stopping.
"""

from dataclasses import dataclass

import numpy as np

from ..harness.errors import TableError
from .statistics import FloatArray


@dataclass(frozen=True)
class BestOf:
    """The expected best validation score of n configurations, n = 1 .. N; place n - 1 belongs to n."""

    expected: tuple[float, ...]
    n: int
    """Configurations that were tried, failures included."""
    failed: int

    def needed(self, score: float, *, higher_is_better: bool = True) -> int | None:
        """Fewest configurations whose expected best reaches a score; None if N do not."""
        for count, value in enumerate(self.expected, start=1):
            if (value >= score) if higher_is_better else (value <= score):
                return count
        return None


def best_of_n(values: FloatArray, *, higher_is_better: bool = True, floor: float | None = None) -> BestOf:
    """Unbiased expected best of n: sum over i of C(i - 1, n - 1) / C(N, n) v_(i) (Tang et al. 2020).

    The mean of the best over all subsets of n, unlike the plug-in of Dodge et al. 2019, which draws with replacement
    and is too low near n = N. values are validation scores, nan for a configuration that failed; it counts as the
    floor, a constant predictor's score. Raises TableError without a value, or for a failure without a floor.
    """
    failed = np.isnan(values)
    if len(values) == 0 or np.isinf(values).any():
        raise TableError(f"found {len(values)} scores, {int(np.isinf(values).sum())} infinite, expected finite ones.")
    if failed.any() and floor is None:
        raise TableError(
            f"found {int(failed.sum())} failed configurations and no floor, expected the score of a constant "
            "predictor: a search pays for its failures too."
        )
    sign = 1.0 if higher_is_better else -1.0
    ranked = np.sort(sign * np.where(failed, np.nan if floor is None else floor, values))
    total = len(ranked)
    expected = []
    weight = np.full(total, 1 / total)  # C(i - 1, n - 1) / C(N, n), from n to n + 1 by the ratio of neighbours
    place = np.arange(total, dtype=np.float64)
    for n in range(1, total + 1):
        expected.append(float(sign * (weight @ ranked)))
        weight = weight * np.maximum(place - (n - 1), 0) / n * (n + 1) / max(total - n, 1)
    return BestOf(tuple(expected), total, int(failed.sum()))
