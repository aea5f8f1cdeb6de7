"""Thin-plate spline: a spatial transformer that bends; its network says where each of a few control points reads.

Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", NIPS 2015; a baseline in Recasens et
al. 2018 ("STN-TPS"). Neither says how the points are held inside the image: `bounded` is WarBean/tps_stn_pytorch's way.

In 8 epochs it learns little more than its first view shows: on cluttered digits at 24 and 32 px, one seed, it reads
0.43 and 0.73 of the digits, and 0.42 and 0.69 where it is kept at the identity.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..harness.budget import Budget
from ..harness.task_networks import Trunk, complaint_about_trunk
from ..harness.tasks import Task
from .layers.localization import localization_network, starting_from
from .layers.thin_plate import ThinPlate, lattice
from .layers.warp import Estimate, Warp


@dataclass(frozen=True)
class Config:
    """Control points and localization network."""

    control_points: int = 4  # a side, evenly from -0.9 to 0.9; 16 in all: Jaderberg et al., and WarBean's code
    bounded: bool = True  # a tanh keeps where a control point reads inside the image; WarBean's code has both
    # Added to the kernel matrix' diagonal, as in Donato and Belongie 2002: control points then draw the plate towards
    # their sources without pinning it there. 0, WarBean's code, pins it.
    smoothing: float = 0.0
    network: Trunk = "small"  # ours; Recasens et al.: "similar to" the sampler's, a ResNet-18 cut at 6, 10 or 14 layers
    weights: str | None = None  # of a ResNet-18 that it starts from: torchvision's by name, a checkpoint by path
    cells: int = 8  # side of the feature map that is flattened; as in spatial_transformer
    hidden: int = 32  # as in spatial_transformer
    # Of the localization network; ours. At 1 nothing is learned, not even what the first view shows: 0.11 after 8
    # epochs at 24 and at 32 px of cluttered digits. At 0.01 it gains nothing at 24 px: 0.42.
    learning_rate_multiplier: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for settings that make no spline or no network."""
        if self.control_points < 2:
            raise ValueError(f"control_points is {self.control_points}: a spline needs at least 2 a side")
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing is {self.smoothing}: it cannot be negative")
        for name in ("cells", "hidden", "learning_rate_multiplier"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        complaint = complaint_about_trunk(self.weights, self.network)
        if complaint:
            raise ValueError(f"weights is {self.weights!r}: {complaint}")


class SplineEstimator(nn.Module):
    """Overview to a source for each control point to grid. At the start it gives the identity."""

    def __init__(self, config: Config, *, size: int) -> None:
        super().__init__()
        controls = lattice(config.control_points)
        self.bounded = config.bounded
        self.localization_network = localization_network(
            cells=config.cells, hidden=config.hidden, network=config.network, weights=config.weights
        )
        start = controls.arctanh() if config.bounded else controls  # finite, because no control point is on the border
        self.to_sources = starting_from(start, hidden=config.hidden)
        self.thin_plate = ThinPlate(controls, size=(size, size), smoothing=config.smoothing)

    def forward(self, overview: Float[Tensor, "batch 3 rows columns"]) -> Estimate:
        """The grid of a spline; there is no saliency map. Between and beyond control points it may leave the image."""
        features = self.localization_network(overview)
        with torch.autocast(device_type=overview.device.type, enabled=False):  # a grid in bfloat16 is off by pixels
            sources = self.to_sources(features.to(self.to_sources.weight.dtype)).unflatten(1, (-1, 2))
            return self.thin_plate(sources.tanh() if self.bounded else sources), None


def build(config: Config, task: Task, budget: Budget) -> Warp:
    """The transformer with a grid of budget.image_size points a side."""
    estimator = SplineEstimator(config, size=budget.image_size)
    return Warp(estimator, task=task, budget=budget, learning_rate_multiplier=config.learning_rate_multiplier)
