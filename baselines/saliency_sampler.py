"""Saliency sampler: a saliency map, learned from the task alone, says where the image is sampled densely.

Recasens, Kellnhofer, Stent, Matusik and Torralba, "Learning to Zoom: a Saliency-Based Sampling Layer for Neural
Networks", ECCV 2018. Where paper and released code disagree, `Config` names which is followed.
Left out of the default: the authors' blur of the resampled image in the first epochs.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..harness.budget import Budget
from ..harness.tasks import Task
from .layers.attraction import SIGMA, Attraction
from .layers.networks import SaliencyNetwork
from .layers.warp import Estimate, Warp


@dataclass(frozen=True)
class Config:
    """Kernel and grid of the sampler."""

    # Width of the attraction kernel, as a share of the saliency map's width. `code`: fwhm 13 of 31 cells, so 0.178;
    # `paper`: a third. The two magnify the same bump of saliency 2.6 and 1.7 times.
    sigma: Literal["code", "paper"] | float = "code"
    grid_size: int | None = None  # cells a side; left out: the overview's side. Authors' code: 31, overview 224
    border: Literal["replicate", "reflect"] = "replicate"  # authors' code; FOVEA reflects
    # Authors' code: 0.001, for a network pretrained on ImageNet. From scratch 0.1 and 0.01 lose 5 and 40 points.
    learning_rate_multiplier: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for settings that make no grid."""
        if not isinstance(self.sigma, str) and not 0 < self.sigma <= 10:
            raise ValueError(f"sigma is {self.sigma}: a share of the map's width lies above 0 and at most at 10")
        if self.grid_size is not None and self.grid_size < 2:
            raise ValueError(f"grid_size is {self.grid_size}: a grid needs at least 2 cells a side")
        if not self.learning_rate_multiplier > 0:
            raise ValueError(f"learning_rate_multiplier is {self.learning_rate_multiplier}: it must be positive")


class SaliencyEstimator(nn.Module):
    """Overview to saliency map to grid."""

    def __init__(self, attraction: Attraction, *, cells: int, size: int) -> None:
        super().__init__()
        self.saliency_network = SaliencyNetwork()
        self.attraction = attraction
        self.cells = cells
        self.size = size

    def forward(self, overview: Float[Tensor, "batch 3 rows columns"]) -> Estimate:
        """The grid that magnifies what is salient, and the saliency map, which sums to one."""
        logits = self.saliency_network(overview).float()
        if logits.shape[-2:] != (self.cells, self.cells):
            logits = functional.interpolate(logits, size=(self.cells, self.cells), mode="bilinear", align_corners=False)
        saliency = logits.flatten(1).softmax(dim=1).view_as(logits)
        return self.attraction(saliency, (self.size, self.size)), saliency


def build(config: Config, task: Task, budget: Budget) -> Warp:
    """The sampler with a grid of budget.image_size points a side and a saliency network that sees budget.overview."""
    cells = config.grid_size or budget.overview
    share = SIGMA[config.sigma] if isinstance(config.sigma, str) else config.sigma
    attraction = Attraction(cells, cells, sigma=share * cells, border=config.border)
    estimator = SaliencyEstimator(attraction, cells=cells, size=budget.image_size)
    return Warp(estimator, task=task, budget=budget, learning_rate_multiplier=config.learning_rate_multiplier)
