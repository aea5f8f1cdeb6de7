"""Saliency sampler: a saliency map, learned from the task alone, says where the image is sampled densely.

Recasens, Kellnhofer, Stent, Matusik and Torralba, "Learning to Zoom: a Saliency-Based Sampling Layer for Neural
Networks", ECCV 2018. Where paper and released code disagree, `Config` names which is followed.
Left out of the default: the authors' blur of the resampled image in the first epochs.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..harness.budget import Budget
from ..harness.contract import Zoom
from ..harness.errors import ShapeError
from ..harness.tasks import Task
from .layers.attraction import SIGMA, Attraction, Border
from .layers.networks import SaliencyNetwork
from .layers.resample import Size, height_width
from .layers.warp import Estimate, Warp, zoom_in


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
    """Overview to saliency map to grid; its settings are those of SaliencySampler."""

    def __init__(
        self, saliency_network: nn.Module, *, size: Size, grid_size: Size, sigma: str | float, border: Border
    ) -> None:
        super().__init__()
        if isinstance(sigma, str) and sigma not in SIGMA:
            raise ValueError(
                f"sigma is {sigma!r}: expected {', '.join(map(repr, SIGMA))} or a share of the map's width."
            )
        self.size = height_width(size)
        self.cells = height_width(grid_size)
        share = SIGMA[sigma] if isinstance(sigma, str) else sigma
        self.saliency_network = saliency_network
        self.attraction = Attraction(*self.cells, sigma=share * self.cells[1], border=border)

    def forward(self, overview: Float[Tensor, "batch channels rows columns"]) -> Estimate:
        """The grid that magnifies what is salient, and the saliency map, which sums to one."""
        logits = self.saliency_network(overview)
        batch = overview.shape[0]  # not len, which would fix the batch in an exported graph
        if logits.ndim != 4 or logits.shape[:2] != (batch, 1):
            raise ShapeError(
                f"the saliency network gave {tuple(logits.shape)}; expected ({batch}, 1, rows, columns), one "
                "logit for each place. More channels need a 1 x 1 convolution to one, a vector a reshape."
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if logits.shape[-2:] != self.cells:
            logits = functional.interpolate(logits, size=self.cells, mode="bilinear", align_corners=False)
        saliency = logits.flatten(1).softmax(dim=1).view_as(logits)
        return self.attraction(saliency, self.size), saliency


class Sampled(NamedTuple):
    """What the layer gives: `prediction, zoom = sampler(image)`."""

    prediction: Any
    """Whatever the task network answers. Places in it are places in the resampled image."""
    zoom: Zoom
    """The resampled image, the sampling grid, and the saliency map behind it."""


class SaliencySampler(nn.Module):
    """The layer by itself, for a training script of your own: no task, no budget, no harness.

        sampler = SaliencySampler(task_network, saliency_network, task_size=224)
        prediction, zoom = sampler(image)
        functional.cross_entropy(prediction, label).backward()

    The task network takes the resampled image, the saliency network the overview and gives (B, 1, rows, columns)
    logits of any size; both may be anything else. Sizes are one number for a square or (height, width); images may have
    any size, aspect ratio and number of channels.

    task_size: of the resampled image. overview_size: of what the saliency network sees; left out, task_size.
    grid_size: cells of the saliency map and nodes of the grid; the authors' 31.
    sigma: width of the kernel as a share of the map's width, in cells alike in both directions; `code` or `paper`.
    border: of the padded map, `replicate` or `reflect`; see Attraction.

    The grid has at least float32 also under autocast. Constants are in no state_dict. Weights of a trial of the
    benchmark's method fit, as both are the same modules under the same names. A graph that is exported takes any batch,
    if told so, but images of one size.

    Raises ShapeError where image or logits have another shape.
    """

    def __init__(
        self,
        task_network: nn.Module,
        saliency_network: nn.Module,
        task_size: Size = 224,
        *,
        overview_size: Size | None = None,
        grid_size: Size = 31,
        sigma: Literal["code", "paper"] | float = "code",
        border: Border = "replicate",
    ) -> None:
        super().__init__()
        self.estimator = SaliencyEstimator(
            saliency_network, size=task_size, grid_size=grid_size, sigma=sigma, border=border
        )
        self.task_network = task_network
        self.overview_size = overview_size or task_size

    def forward(self, image: Tensor) -> Sampled:
        """Answer a batch of images (B, C, H, W), floating point."""
        if image.ndim != 4:
            raise ShapeError(f"the image has shape {tuple(image.shape)}; expected (batch, channels, height, width).")
        zoom = zoom_in(image, self.estimator, overview_size=self.overview_size)
        return Sampled(self.task_network(zoom.resampled), zoom)


def build(config: Config, task: Task, budget: Budget) -> Warp:
    """The sampler with a grid of budget.image_size points a side and a saliency network that sees budget.overview."""
    estimator = SaliencyEstimator(
        SaliencyNetwork(),
        size=budget.image_size,
        grid_size=config.grid_size or budget.overview,
        sigma=config.sigma,
        border=config.border,
    )
    return Warp(estimator, task=task, budget=budget, learning_rate_multiplier=config.learning_rate_multiplier)
