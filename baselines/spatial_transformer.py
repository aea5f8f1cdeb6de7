"""Spatial transformer: a network regresses one affine transformation, and the image is read through it.

Jaderberg, Simonyan, Zisserman and Kavukcuoglu, "Spatial Transformer Networks", NIPS 2015; as a baseline in Recasens et
al. 2018 with a localization network like the sampler's saliency network. That paper does not say how features become
six numbers: layers/localization.py says how here.

It learns only where its first view, the whole image with pixels skipped, already shows something: not at 16 px of the
default cluttered digits, where it stays at 0.11 to 0.17, but at 24 and 32 px.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..harness.budget import Budget
from ..harness.task_networks import Trunk, complaint_about_trunk
from ..harness.tasks import Task
from .layers.localization import localization_network, starting_from
from .layers.warp import Estimate, Warp


@dataclass(frozen=True)
class Config:
    """Localization network."""

    network: Trunk = "small"  # ours; Recasens et al.: "similar to" the sampler's, a ResNet-18 cut at 6, 10 or 14 layers
    weights: str | None = None  # of a ResNet-18 that it starts from: torchvision's by name, a checkpoint by path
    cells: int = 8  # side of the feature map that is flattened; a larger overview is max-pooled to it
    hidden: int = 32  # ours; the paper's networks for digits are as small
    # Of the localization network; ours. At 1, where the first view tells little (16 px of cluttered digits), the affine
    # wanders off: after 250 steps 99% of the grid lay outside the image, from where no gradient comes back.
    learning_rate_multiplier: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for settings that make no network."""
        for name in ("cells", "hidden", "learning_rate_multiplier"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        complaint = complaint_about_trunk(self.weights, self.network)
        if complaint:
            raise ValueError(f"weights is {self.weights!r}: {complaint}")


class AffineEstimator(nn.Module):
    """Overview to six numbers to grid. At the start it gives the identity."""

    def __init__(self, config: Config, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.localization_network = localization_network(
            cells=config.cells, hidden=config.hidden, network=config.network, weights=config.weights
        )
        self.to_affine = starting_from(torch.tensor([1.0, 0, 0, 0, 1, 0]), hidden=config.hidden)

    def forward(self, overview: Float[Tensor, "batch 3 rows columns"]) -> Estimate:
        """The grid of an affine transformation; there is no saliency map."""
        features = self.localization_network(overview)
        with torch.autocast(device_type=overview.device.type, enabled=False):  # a grid in bfloat16 is off by pixels
            affine = self.to_affine(features.to(self.to_affine.weight.dtype)).view(-1, 2, 3)
            size = [len(overview), 1, self.size, self.size]
            return functional.affine_grid(affine, size, align_corners=True), None


def build(config: Config, task: Task, budget: Budget) -> Warp:
    """The transformer with a grid of budget.image_size points a side."""
    estimator = AffineEstimator(config, size=budget.image_size)
    return Warp(estimator, task=task, budget=budget, learning_rate_multiplier=config.learning_rate_multiplier)
