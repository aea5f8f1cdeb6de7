"""Blur of the first epochs: what the task network sees is coarse, so that only what is magnified can still be read.

Recasens et al. 2018, who do not say how much of it; the numbers are their code's, which takes one size for all images
of a GPU at each step. Here every image has its own.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...harness.randomness import stream_seed

LEAST = 64 / 224
"""Lowest resolution, as a share of the view's side: the authors' code has 64 px, for a view of 224."""


def blurred(
    view: Float[Tensor, "batch channels height width"], shares: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """Make each view small by area average and large again bilinearly, with one matrix an axis.

    shares, from 0 to 1, say how small: 0 is LEAST of the view's side, 1 the side itself, which changes nothing.
    Every whole number of pixels between is as likely as another if shares are drawn uniformly.
    """
    height, width = view.shape[2:]
    with torch.autocast(device_type=view.device.type, enabled=False):
        exact = view.to(torch.promote_types(view.dtype, torch.float32))
        down = _there_and_back(height, shares).to(exact.dtype)
        across = down if width == height else _there_and_back(width, shares).to(exact.dtype)
        coarse: Tensor = down[:, None] @ exact @ across[:, None].mT
        return coarse.to(view.dtype)


class Blur(nn.Module):
    """Blurs in training and in the first epochs only, by sizes from a generator of its own.

    The generator is seeded after torch's own, from which nothing is drawn, and its state is in the state dict: a trial
    that is killed goes on with the same sizes. Under torch.compile the draw is a graph break.
    """

    def __init__(self, *, epochs_share: float) -> None:
        super().__init__()
        self.epochs_share = epochs_share
        self.active = False
        self.generator = torch.Generator().manual_seed(stream_seed("blur", torch.initial_seed()))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Blur if this epoch, counted from 0, is one of the first round(epochs_share * epochs)."""
        self.active = epoch < round(self.epochs_share * epochs)

    def forward(
        self, view: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The view, each example blurred by a size of its own or, outside those epochs, as it is."""
        if not (self.training and self.active):
            return view
        shares = torch.rand(len(view), generator=self.generator)
        return blurred(view, shares.to(view.device, non_blocking=True))

    def get_extra_state(self) -> dict[str, Any]:
        """The generator's state."""
        return {"generator": self.generator.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """What get_extra_state gave, wherever a checkpoint was loaded to."""
        self.generator.set_state(state["generator"].cpu())


def _there_and_back(pixels: int, shares: Float[Tensor, " batch"]) -> Float[Tensor, "batch pixels pixels"]:
    """Bilinear up (half-pixel centres, as the authors') times area average down, of one axis."""
    least = max(1, round(LEAST * pixels))
    sizes = (least + (shares * (pixels - least + 1)).floor()).clamp(max=pixels)[:, None, None]
    scale = pixels / sizes
    coarse = torch.arange(pixels, device=shares.device, dtype=shares.dtype)[:, None]  # a row each; beyond sizes unread
    fine = coarse.mT
    overlap = torch.minimum((coarse + 1) * scale, fine + 1) - torch.maximum(coarse * scale, fine)
    reads = ((fine.mT + 0.5) / scale - 0.5).clamp(min=0).minimum(sizes - 1)
    up = (1 - (reads - coarse.mT).abs()).clamp(min=0)
    return up @ (overlap.clamp(min=0) / scale)
