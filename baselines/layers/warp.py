"""What all warps share: overview, grid, resampled image, answer. A new warp is only a new estimator.

An estimator is a module that takes the overview (B, 3, overview, overview) and gives (grid, saliency): the sampling
grid of what the task network is to see, and the saliency map behind it, or None.
"""

from typing import Any

from torch import Tensor, nn

from ...harness.budget import Budget
from ...harness.contract import Method, Output, Zoom
from ...harness.tasks import Task
from .backbones import WithAuxiliary, task_network
from .blur import Blur
from .resample import Images, Size, overview, view

AUXILIARY_WEIGHT = 0.4
"""Of the loss of Inception V3's auxiliary head, as in torchvision's training script."""

Estimate = tuple[Tensor, Tensor | None]


class Warp(Method):
    """Look at the overview, bend the image where the estimator says, answer from the bent image.

    The estimator learns at `learning_rate_multiplier` times the task network's rate; named parts of it, which must be
    all that learns, may each have a multiple of their own. `blur`, if there is one, stands before the task network.
    Fits tasks whose answer has no place in the image, such as a class: nothing is mapped back.
    """

    takes_bytes = True

    def __init__(
        self,
        estimator: nn.Module,
        *,
        task: Task,
        budget: Budget,
        learning_rate_multiplier: float | dict[str, float] = 1.0,
        blur: Blur | None = None,
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.task_network = task_network(task.outputs, budget)
        self.task = task
        self.overview = budget.overview
        one = learning_rate_multiplier
        self.multipliers = one if isinstance(one, dict) else {"": one}  # "" is the whole estimator
        self.blur = blur

    def forward(self, image: Images, target: Any = None) -> Output:
        """Answer a batch of images of any size."""
        zoom = zoom_in(image, self.estimator, overview_size=self.overview)
        if self.blur is not None:
            zoom = zoom._replace(resampled=self.blur(zoom.resampled))
        return answer(self.task_network, zoom, task=self.task, target=target)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """The blur has its epochs."""
        if self.blur is not None:
            self.blur.start_epoch(epoch, epochs)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The task network at the given rate, each part of the estimator at its multiple."""
        multiples = [(self.task_network, 1.0)]
        multiples += [(self.estimator.get_submodule(part), multiple) for part, multiple in self.multipliers.items()]
        return [{"params": list(module.parameters()), "lr": learning_rate * multiple} for module, multiple in multiples]


def zoom_in(image: Images, estimator: nn.Module, *, overview_size: Size) -> Zoom:
    """The image as the estimator wants it seen, in the image's precision if it has one."""
    grid, saliency = estimator(overview(image, overview_size))
    return Zoom(view(image, grid), grid, saliency)


def answer(network: nn.Module, zoom: Zoom, *, task: Task, target: Any) -> Output:
    """What the task network says of one view, with the loss where there is a target."""
    prediction, loss = conclude(network(zoom.resampled), task=task, target=target)
    return Output(prediction, loss, (zoom,))


def conclude(numbers: Tensor | WithAuxiliary, *, task: Task, target: Any) -> tuple[Tensor, Tensor | None]:
    """From a head's numbers to the answer in the task's unit, and its loss where there is a target."""
    if not isinstance(numbers, WithAuxiliary):
        prediction = task.answer(numbers)
        return prediction, None if target is None else task.loss(prediction, target)
    prediction, loss = conclude(numbers.numbers, task=task, target=target)
    if loss is not None:
        loss = loss + AUXILIARY_WEIGHT * task.loss(task.answer(numbers.auxiliary), target)
    return prediction, loss
