"""Task: what is asked of a method, how an answer is scored, and in which unit.

Importing this module does not import torch, so that a sweep file can be checked without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A number that a test split gives a method."""

    name: str
    unit: str
    higher_is_better: bool


@runtime_checkable
class Task(Protocol):
    """Loss, metric and size of the answer."""

    metric: ClassVar[Metric]

    @property
    def outputs(self) -> int:
        """Numbers that the task network's head must give for one example."""

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar to minimise."""

    def judge(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """One value per example in each column; the mean of column `score` is the metric."""


@dataclass(frozen=True)
class Classification:
    """One of a fixed number of classes: cross-entropy to train, accuracy to judge.

    Predictions are logits (batch, classes), targets class indices (batch,).
    """

    classes: int
    metric: ClassVar[Metric] = Metric(name="accuracy", unit="fraction", higher_is_better=True)

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return self.classes

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of the batch."""
        from torch.nn import functional

        return functional.cross_entropy(prediction, target)

    def judge(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Target class, predicted class, its probability, and score: 1 where they agree, else 0."""
        probability, chosen = prediction.softmax(dim=1).max(dim=1)
        return {
            "target": target,
            "prediction": chosen,
            "probability": probability,
            "score": (chosen == target).to(prediction.dtype),
        }
