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

    def answer(self, numbers: Tensor) -> Tensor:
        """What the head's numbers (batch, outputs) say, in the task's own unit."""

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

    def answer(self, numbers: Tensor) -> Tensor:
        """The numbers are the logits."""
        return numbers

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


@dataclass(frozen=True)
class Gaze:
    """Where somebody looks: squared distance to train, distance to judge, both in centimetres.

    Predictions and targets are points (batch, 2), x and y in centimetres from the camera (Krafka et al. 2016).
    With a screen x0, y0, x1, y1 in centimetres a sigmoid holds the answer inside it, as in Recasens et al. 2018, who do
    not say which range theirs covers; without one the head's numbers are the centimetres.
    """

    screen: tuple[float, float, float, float] | None = None
    metric: ClassVar[Metric] = Metric(name="error", unit="cm", higher_is_better=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a screen without area."""
        if self.screen is not None and not (self.screen[0] < self.screen[2] and self.screen[1] < self.screen[3]):
            raise ValueError(f"screen is {self.screen}: expected x0 < x1 and y0 < y1, in centimetres")

    @property
    def outputs(self) -> int:
        """x and y."""
        return 2

    def answer(self, numbers: Tensor) -> Tensor:
        """A point in centimetres, in at least single precision: bfloat16 knows no millimetres at 10 cm."""
        import torch

        numbers = numbers.to(torch.promote_types(numbers.dtype, torch.float32))
        if self.screen is None:
            return numbers
        x0, y0, x1, y1 = self.screen
        share = numbers.sigmoid()
        return torch.stack((x0 + (x1 - x0) * share[:, 0], y0 + (y1 - y0) * share[:, 1]), dim=1)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the coordinates, in square centimetres."""
        from torch.nn import functional

        return functional.mse_loss(prediction, target)

    def judge(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Both points, and score: the distance between them."""
        return {
            "target_x": target[:, 0],
            "target_y": target[:, 1],
            "prediction_x": prediction[:, 0],
            "prediction_y": prediction[:, 1],
            "score": (prediction - target).norm(dim=1),
        }
