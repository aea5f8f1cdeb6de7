"""What a sweep was predicted to cost, and what it did cost."""

from collections.abc import Sequence
from dataclasses import dataclass

FAR = 1.5
"""A ratio of actual to predicted from which on, or from whose inverse on down, a prediction outside its interval is far
off."""


@dataclass(frozen=True)
class Predicted:
    """One sum over trials that are done."""

    label: str
    """A method, all of them, or a run."""
    unit: str
    trials: int
    value: float
    low: float
    high: float
    actual: float

    @property
    def ratio(self) -> float:
        """Actual to predicted."""
        return self.actual / self.value if self.value else float("nan")

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds what it took."""
        return self.low <= self.actual <= self.high

    @property
    def is_far_off(self) -> bool:
        """Outside the interval, and by much."""
        return not self.is_inside and not 1 / FAR < self.ratio < FAR


def far_off(found: Sequence[Predicted]) -> list[str]:
    """What a reader must know of predictions that were wrong, a sentence each."""
    return [
        f"The cost of {one.label} was predicted badly: {one.actual:.3g} {one.unit} for "
        f"{one.trials} trials, {one.ratio:.2g} times the {one.value:.3g} [{one.low:.3g}, {one.high:.3g}] predicted."
        for one in found
        if one.is_far_off
    ]
