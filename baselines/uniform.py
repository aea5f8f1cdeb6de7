"""Uniform: the whole image, resized. What every method that looks somewhere must beat.

By area average: a warp with a flat saliency map skips pixels, and reads half as many digits as this does.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..harness.budget import Budget
from ..harness.contract import Method, Output, Zoom
from ..harness.tasks import Task
from .layers.backbones import task_network
from .layers.resample import Images, identity_grid, overview, view
from .layers.warp import answer


@dataclass(frozen=True)
class Config:
    """How the image is made small."""

    # Ours, the harder to beat: of cluttered digits at 24 px, 8 epochs, one seed, it reads 0.66, and 0.44 if False,
    # which skips pixels as every warp does. No paper says which.
    antialias: bool = True


def remark(config: Config) -> str | None:
    """Said in the report where the baseline is the weaker one."""
    return None if config.antialias else "resizes without antialiasing: pixels are skipped, as the warps skip them."


class Uniform(Method):
    """Resize, then answer."""

    takes_bytes = True
    identity: Tensor

    def __init__(self, config: Config, *, task: Task, budget: Budget) -> None:
        super().__init__()
        self.antialias = config.antialias
        self.task = task
        self.size = budget.image_size
        self.task_network = task_network(task.outputs, budget)
        self.register_buffer("identity", identity_grid(self.size, self.size), persistent=False)

    def forward(self, image: Images, target: Any = None) -> Output:
        """Answer a batch of images of any size; the grid is the identity, around which each pixel averages its area."""
        grid = self.identity.expand(len(image), -1, -1, -1)
        seen = overview(image, self.size) if self.antialias else view(image, grid)
        return answer(self.task_network, Zoom(seen, grid), task=self.task, target=target)


def build(config: Config, task: Task, budget: Budget) -> Uniform:
    """The baseline that sees budget.image_size pixels a side."""
    return Uniform(config, task=task, budget=budget)
