"""Uniform: the whole image, resized by area average. What every method that looks somewhere must beat.

Not a warp with a flat saliency map: that skips pixels, and reads half as many digits as this does.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..harness.budget import Budget
from ..harness.contract import Method, Output, Zoom
from ..harness.tasks import Task
from .layers.backbones import task_network
from .layers.resample import identity_grid, overview
from .layers.warp import answer


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Uniform(Method):
    """Resize, then answer."""

    identity: Tensor

    def __init__(self, task: Task, budget: Budget) -> None:
        super().__init__()
        self.task = task
        self.size = budget.image_size
        self.task_network = task_network(task.outputs, budget)
        self.register_buffer("identity", identity_grid(self.size, self.size), persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 rows columns"], target: Any = None) -> Output:
        """Answer a batch of images of any size; the grid is the identity, around which each pixel averages its area."""
        grid = self.identity.expand(len(image), -1, -1, -1)
        return answer(self.task_network, Zoom(overview(image, self.size), grid), task=self.task, target=target)


def build(config: Config, task: Task, budget: Budget) -> Uniform:
    """The baseline that sees budget.image_size pixels a side."""
    return Uniform(task, budget)
