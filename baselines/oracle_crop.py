"""Oracle crop: cuts out what matters, because it is told where that is. An upper bound, not a method.

What the task network of this size can read at best, so how much there is to gain by looking in the right place.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..harness.budget import Budget
from ..harness.contract import Method, Output, Zoom
from ..harness.tasks import Task
from .layers.backbones import task_network
from .layers.resample import Images, box_grid, resample
from .layers.warp import answer

INPUTS = ("image", "boxes")
COMPETES = False


@dataclass(frozen=True)
class Config:
    """How closely the box is cut."""

    margin: float = 0.0  # on each side, as a share of the box's side

    def __post_init__(self) -> None:
        """Raise ValueError for a margin that leaves nothing."""
        if not self.margin > -0.5:
            raise ValueError(f"margin is {self.margin}: at -0.5 and below nothing is left of the box")


class OracleCrop(Method):
    """Crop the true boxes, stretch them to stand side by side in the task network's square, answer.

    Not the smallest box around all: of two digits far apart that shows mostly what lies between, and is no bound.
    """

    inputs = INPUTS
    takes_bytes = True

    def __init__(self, config: Config, *, task: Task, budget: Budget) -> None:
        super().__init__()
        self.margin = config.margin
        self.task = task
        self.size = budget.image_size
        self.task_network = task_network(task.outputs, budget)

    def forward(  # type: ignore[override]  # the harness passes each of `inputs` by name
        self,
        image: Images,
        boxes: Float[Tensor, "batch count 4"],
        target: Any = None,
    ) -> Output:
        """Answer a batch; boxes are x0, y0, x1, y1 in pixel edges of the image."""
        low, high = boxes[..., :2], boxes[..., 2:]
        margin = self.margin * (high - low)
        wider = torch.cat((low - margin, high + margin), dim=2)
        count = boxes.shape[1]
        edges = [self.size * index // count for index in range(count + 1)]
        strips = [
            box_grid(
                wider[:, index],
                image_hw=(image.shape[2], image.shape[3]),
                size=(self.size, edges[index + 1] - edges[index]),
            )
            for index in range(count)
        ]
        grid = torch.cat(strips, dim=2)
        return answer(self.task_network, Zoom(resample(image, grid), grid), task=self.task, target=target)


def build(config: Config, task: Task, budget: Budget) -> OracleCrop:
    """The bound for a task network that sees budget.image_size pixels a side."""
    return OracleCrop(config, task=task, budget=budget)
