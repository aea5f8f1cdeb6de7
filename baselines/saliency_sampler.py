"""Saliency sampler: a saliency map, learned from the task alone, says where the image is sampled densely.

Recasens, Kellnhofer, Stent, Matusik and Torralba, "Learning to Zoom: a Saliency-Based Sampling Layer for Neural
Networks", ECCV 2018. Where paper and released code disagree, `Config` names which is followed; `preset` sets all of it.

No preset has these of the released code: its learning rate starts again after epoch 30, its overview averages windows
that overlap where the sizes do not divide, its kernel may be trained, and its blur is one size for a batch.
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
from ..harness.task_networks import Trunk, complaint_about_trunk
from ..harness.tasks import Task
from .layers.attraction import SIGMA, Alignment, Attraction, Border
from .layers.backbones import TRUNK_CHANNELS, trunk
from .layers.blur import Blur, blurred
from .layers.networks import SaliencyNetwork
from .layers.resample import Size, height_width
from .layers.warp import Estimate, Warp, zoom_in

PRESETS: dict[str, dict[str, Any]] = {
    "ours": {
        "saliency_network": "small",  # sees every pixel of an overview of 16 to 32
        "saliency_weights": None,  # there are none for it
        "first_logits": "non_negative",  # from scratch: see SaliencyNetwork
        "sigma": "code",  # magnifies more: the same bump 2.6 times, `paper` 1.7 times
        "grid_size": None,  # the overview's: no cell of a small map is lost
        "border": "replicate",
        "alignment": "corners",  # uniform saliency is then the identity grid
        "blur_epochs": 0.0,  # 0.26 changes little: 0.933 for 0.929 of cluttered digits at 24 px, 8 epochs, one seed
        "trunk_learning_rate_multiplier": 1.0,  # from scratch 0.1 and 0.01 lose 5 and 40 points on cluttered digits
        "last_learning_rate_multiplier": 1.0,  # as its trunk
    },
    # The paper does not say all of it; what it leaves open is the code's.
    "paper": {
        "saliency_network": "resnet18_14",  # table 3's best; on GazeCapture resnet18_10
        "saliency_weights": "IMAGENET1K_V1",  # the code's
        "first_logits": "any_sign",  # the code's
        "sigma": "paper",  # "one third of the width of the saliency map"
        "grid_size": 31,  # the code's
        "border": "replicate",  # the code's
        "alignment": "corners",  # its uniform saliency is the identity
        "blur_epochs": 0.2583,  # "for some epochs at the beginning": the code's number
        "trunk_learning_rate_multiplier": 0.001,  # the code's
        "last_learning_rate_multiplier": 0.01,  # the code's
    },
    # saliency_sampler.py and main.py of recasens/Saliency-Sampler.
    "code": {
        "saliency_network": "resnet18_14",  # the only one that is there
        "saliency_weights": "IMAGENET1K_V1",  # its resnet18(pretrained)
        "first_logits": "any_sign",  # conv_last as torch starts it, bias and all
        "sigma": "code",  # fwhm 13 of 31 cells
        "grid_size": 31,  # grid_size
        "border": "replicate",  # ReplicationPad2d(30)
        "alignment": "code",  # nn.Upsample, and grid_sample of torch 0.4.0
        "blur_epochs": 0.2583,  # 31 (epochs 0 to N_pretraining = 30) of 120
        "trunk_learning_rate_multiplier": 0.001,  # main.py, the saliency network's group
        "last_learning_rate_multiplier": 0.01,  # main.py, conv_last's group
    },
}


@dataclass(frozen=True)
class Config:
    """Saliency network, kernel, grid and recipe of the sampler. What is left out is the preset's."""

    preset: Literal["ours", "paper", "code"] = "ours"
    saliency_network: Trunk | None = None
    # Of the saliency network's ResNet-18: torchvision's by name, a checkpoint by path; `random` for none in any preset.
    saliency_weights: str | None = None
    first_logits: Literal["non_negative", "any_sign"] | None = None  # how the last layer of the saliency network starts
    # Width of the attraction kernel, as a share of the saliency map's width. `code`: 0.178; `paper`: a third.
    sigma: Literal["code", "paper"] | float | None = None
    sigma_cells: float | None = None  # the same in cells of the saliency map, instead of sigma; `code`: 5.52 of 31
    grid_size: int | None = None  # cells a side; in `ours`, left out: the overview's side
    border: Literal["replicate", "reflect"] | None = None  # FOVEA reflects
    alignment: Literal["corners", "code"] | None = None  # see upsample_nodes
    blur_epochs: float | None = None  # share of the epochs, from the first, in which the resampled image is blurred
    trunk_learning_rate_multiplier: float | None = None  # of the saliency network but for its last layer
    last_learning_rate_multiplier: float | None = None  # of its last layer, the 1 x 1 convolution

    def __post_init__(self) -> None:
        """Fill what is left out; raise ValueError for settings that make no sampler."""
        if self.sigma is not None and self.sigma_cells is not None:
            raise ValueError(f"sigma is {self.sigma} and sigma_cells is {self.sigma_cells}: give one of the two")
        for name, value in PRESETS[self.preset].items():
            answered = {"sigma": self.sigma_cells is not None, "saliency_weights": self.saliency_network == "small"}
            if getattr(self, name) is None and not answered.get(name):
                object.__setattr__(self, name, value)
        filled: Any = self  # so that no None is left where a type allows one
        if isinstance(self.sigma, float | int) and not 0 < self.sigma <= 10:
            raise ValueError(f"sigma is {self.sigma}: a share of the map's width lies above 0 and at most at 10")
        if self.sigma_cells is not None and not self.sigma_cells > 0:
            raise ValueError(f"sigma_cells is {self.sigma_cells}: it must be positive")
        if self.grid_size is not None and self.grid_size < 2:
            raise ValueError(f"grid_size is {self.grid_size}: a grid needs at least 2 cells a side")
        if not 0 <= filled.blur_epochs <= 1:
            raise ValueError(f"blur_epochs is {self.blur_epochs}: a share of the epochs lies between 0 and 1")
        for name in ("trunk_learning_rate_multiplier", "last_learning_rate_multiplier"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")
        if self.saliency_weights != "random":
            complaint = complaint_about_trunk(self.saliency_weights, filled.saliency_network)
            if complaint:
                raise ValueError(f"saliency_weights is {self.saliency_weights!r}: {complaint}")


def remark(config: Config) -> str | None:
    """In what a preset, with the settings given beside it, differs from ours."""
    if config.preset == "ours":
        return None
    ours = {"sigma_cells": None} | PRESETS["ours"]
    said = [f"{name} {value}" for name in ours if (value := getattr(config, name)) not in (None, ours[name])]
    restart = "; the authors' restart of the learning rate after epoch 30 is left out" * (config.preset == "code")
    return f"preset {config.preset}, which differs from ours in {', '.join(said)}{restart}."


class SaliencyEstimator(nn.Module):
    """Overview to saliency map to grid; its settings are those of SaliencySampler."""

    def __init__(
        self,
        saliency_network: nn.Module,
        *,
        size: Size,
        grid_size: Size,
        sigma: str | float,
        sigma_cells: float | None,
        border: Border,
        alignment: Alignment,
    ) -> None:
        super().__init__()
        if isinstance(sigma, str) and sigma not in SIGMA:
            raise ValueError(
                f"sigma is {sigma!r}: expected {', '.join(map(repr, SIGMA))} or a share of the map's width."
            )
        self.size = height_width(size)
        self.cells = height_width(grid_size)
        share = SIGMA[sigma] if isinstance(sigma, str) else sigma
        sigma_cells = share * self.cells[1] if sigma_cells is None else sigma_cells
        self.saliency_network = saliency_network
        self.attraction = Attraction(*self.cells, sigma=sigma_cells, border=border, alignment=alignment)

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
    sigma_cells: the same in cells of the map, instead of sigma.
    border: of the padded map, `replicate` or `reflect`; see Attraction.
    alignment: `corners`, or `code` for the authors' grid, whose uniform saliency is not the identity.

    The grid has at least float32 also under autocast. Constants are in no state_dict. Weights of a trial of the
    benchmark's method fit, as both are the same modules under the same names (all but `blur._extra_state`, if its
    preset blurs). A graph that is exported takes any batch, if told so, but images of one size.

    Raises ShapeError where image, logits or blur have another shape.
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
        sigma_cells: float | None = None,
        border: Border = "replicate",
        alignment: Alignment = "corners",
    ) -> None:
        super().__init__()
        self.estimator = SaliencyEstimator(
            saliency_network,
            size=task_size,
            grid_size=grid_size,
            sigma=sigma,
            sigma_cells=sigma_cells,
            border=border,
            alignment=alignment,
        )
        self.task_network = task_network
        self.overview_size = overview_size or task_size

    def forward(self, image: Tensor, *, blur: Tensor | None = None) -> Sampled:
        """Answer a batch of images (B, C, H, W), floating point, or uint8 of which 255 is 1.

        blur (B,): resolution of each resampled image, from 0 for the coarsest, 64/224 of its size, to 1. The authors
        draw it uniformly in the first quarter of the epochs: torch.rand(len(image), device=image.device).
        """
        if image.ndim != 4:
            raise ShapeError(f"the image has shape {tuple(image.shape)}; expected (batch, channels, height, width).")
        zoom = zoom_in(image, self.estimator, overview_size=self.overview_size)
        if blur is not None:
            if blur.shape != image.shape[:1]:
                raise ShapeError(
                    f"blur has shape {tuple(blur.shape)}; expected {tuple(image.shape[:1])}, one an image."
                )
            zoom = zoom._replace(resampled=blurred(zoom.resampled, blur))
        return Sampled(self.task_network(zoom.resampled), zoom)


def build(config: Config, task: Task, budget: Budget) -> Warp:
    """The sampler with a grid of budget.image_size points a side and a saliency network that sees budget.overview."""
    filled: Any = config  # by __post_init__
    name: Trunk = filled.saliency_network
    weights = None if config.saliency_weights == "random" else config.saliency_weights
    network = SaliencyNetwork(
        trunk(name, weights=weights), channels=TRUNK_CHANNELS[name], first_logits=filled.first_logits
    )
    estimator = SaliencyEstimator(
        network,
        size=budget.image_size,
        grid_size=config.grid_size or budget.overview,
        sigma="code" if config.sigma is None else config.sigma,
        sigma_cells=config.sigma_cells,
        border=filled.border,
        alignment=filled.alignment,
    )
    return Warp(
        estimator,
        task=task,
        budget=budget,
        learning_rate_multiplier={
            "saliency_network.trunk": filled.trunk_learning_rate_multiplier,
            "saliency_network.to_logits": filled.last_learning_rate_multiplier,
        },
        blur=Blur(epochs_share=filled.blur_epochs) if filled.blur_epochs else None,
    )
