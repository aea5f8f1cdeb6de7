"""Class activation crop: a first look says which part of the image the network takes for something, a second sees it.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016; as a baseline in Recasens et al. 2018:
the box around the class activation map is cut out of the full-resolution image, for a second pass of the same network.

Trained in two stages: first on whole views alone, until the maps mean something; then on both passes.
Where the box lies is not differentiated: no gradient says where to look, only what is seen there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..harness.budget import Budget
from ..harness.contract import Method, Output, Zoom
from ..harness.tasks import Classification, Task
from .layers.class_activation import ClassActivationNetwork, as_saliency, at_least, boxes_around
from .layers.resample import Images, box_grid, identity_grid, overview, view
from .layers.warp import conclude


@dataclass(frozen=True)
class Config:
    """The box, and when it is first used."""

    # Of the map's maximum; Zhou et al., section 3.2, whose tool differs: see boxes_around. The small network's map has
    # few cells: the median box around a digit of 16 px was 71 px wide. At 0.5 it reads 0.87 instead of 0.78 (24 px).
    threshold: float = 0.2
    smallest_box: float = 0.1  # share of the image's side; ours. A part of one pixel would be magnified without end
    # Share of the epochs, the first ones, that train the first pass alone; ours. On cluttered digits, 8 epochs, one
    # seed, at 24 px: 0.69 at 1, which never crops, 0.74 at 0.5, 0.78 at 0.25; `uniform` 0.66. At 32 px: 0.84, 0.88,
    # 0.94 and 0.82.
    whole_views: float = 0.25

    def __post_init__(self) -> None:
        """Raise ValueError for settings that make no box."""
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}: a share of the maximum lies from 0 to below 1")
        if not 0 < self.smallest_box <= 1:
            raise ValueError(f"smallest_box is {self.smallest_box}: a share of the side lies above 0 and at most at 1")
        if not 0 <= self.whole_views <= 1:
            raise ValueError(f"whole_views is {self.whole_views}: a share of the epochs lies from 0 to 1")


def skip(task: Task, budget: Budget) -> str | None:
    """Why not: a map of class activation needs classes."""
    return None if isinstance(task, Classification) else "a class activation map needs classes"


def remark(config: Config) -> str:
    """What a comparison with the other methods does not see."""
    return (
        "class_activation_crop needs a network that ends in a mean over places and one linear layer: of the small "
        "network and of AlexNet it trains such a form, which is not the other methods'."
    )


class ClassActivationCrop(Method):
    """Look at the whole, crop what the network takes for something, look again.

    In the first stage it answers from the whole view, also where it is judged: its learning curve shows what it was
    trained for. A method that was never told of an epoch crops.
    """

    takes_bytes = True
    identity: Tensor

    def __init__(self, config: Config, *, task: Task, budget: Budget) -> None:
        super().__init__()
        self.config = config
        self.task = task
        self.size = budget.image_size
        self.network = ClassActivationNetwork(task.outputs, budget)
        self.register_buffer("identity", identity_grid(self.size, self.size), persistent=False)
        self.crops = True

    def forward(self, image: Images, target: Any = None) -> Output:
        """Answer a batch of images of any size; the loss is the mean of both passes'.

        Of both, because the second can crop well only while the first knows the classes on whole views.
        """
        first_look = overview(image, self.size)
        whole = self.network(first_look)
        prediction, loss = conclude(whole.numbers, task=self.task, target=target)
        activation = self.network.strongest_map(whole.features)
        saliency = as_saliency(activation)
        if not self.crops:
            return Output(prediction, loss, (Zoom(first_look, self.identity.expand(len(image), -1, -1, -1), saliency),))
        grid = self.look_closer(activation, image_hw=(image.shape[2], image.shape[3]))
        resampled = view(image, grid)
        prediction, second = conclude(self.network(resampled).numbers, task=self.task, target=target)
        if loss is not None and second is not None:
            loss = (loss + second) / 2
        return Output(prediction, loss, (Zoom(resampled, grid, saliency),))

    def look_closer(
        self, activation: Float[Tensor, "batch rows columns"], *, image_hw: tuple[int, int]
    ) -> Float[Tensor, "batch height width 2"]:
        """The grid of the crop; the map is brought to the size of the view first, so the box is not in whole cells."""
        size = (self.size, self.size)
        fine = functional.interpolate(activation[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        boxes = at_least(boxes_around(fine, threshold=self.config.threshold), self.config.smallest_box)
        sides = torch.tensor([image_hw[1], image_hw[0]] * 2, dtype=boxes.dtype, device=boxes.device)
        return box_grid(boxes * sides, image_hw=image_hw, size=size)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Crop from the second stage on."""
        self.crops = epoch >= int(self.config.whole_views * epochs)

    def get_extra_state(self) -> dict[str, bool]:
        """The stage, for a trial that was killed after its last epoch: no epoch starts before it is judged."""
        return {"crops": self.crops}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Go on in the stage that get_extra_state gave."""
        self.crops = state["crops"]


def build(config: Config, task: Task, budget: Budget) -> ClassActivationCrop:
    """The method whose both passes see budget.image_size pixels a side."""
    return ClassActivationCrop(config, task=task, budget=budget)
