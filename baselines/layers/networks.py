"""The small networks that every baseline shares, so that only where they look differs.

Both start with a BatchNorm without parameters: it learns the data's mean and spread, which nobody then has to state.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

FirstLogits = Literal["non_negative", "any_sign"]
"""Last layer of a saliency network: weights above zero, no bias (ours), or a convolution's own start (the authors')."""


def convolution(channels: int, filters: int, *, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, BatchNorm, ReLU; the side stays (stride 1) or is halved, rounded up (stride 2)."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel_size=3, stride=stride, padding=1, bias=False),  # BatchNorm has the bias
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    )


class TaskNetwork(nn.Module):
    """Answers the task from the view that it is given, of any size from 4 x 4.

    Pooled globally by maximum and by mean: where the digit lies in the view does not matter, so a method gains by
    magnifying, not by centring. Numbers found by trial on cluttered digits: 1,000 steps of training suffice.
    """

    def __init__(self, outputs: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm2d(3, affine=False),
            convolution(3, 16),
            convolution(16, 32, stride=2),
            convolution(32, 48),
            nn.MaxPool2d(2),
            convolution(48, 64),
        )
        self.head = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, outputs))

    def forward(self, view: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch outputs"]:
        """One answer for each view."""
        features = self.features(view)
        pooled = torch.cat((features.amax(dim=(2, 3)), features.mean(dim=(2, 3))), dim=1)
        prediction: Tensor = self.head(pooled)
        return prediction


def small_trunk(width: int = 16) -> nn.Sequential:
    """Features of the overview at its own resolution, for networks that decide where to look; see backbones.trunk.

    No pooling: a digit is two pixels of the overview. Half the width fails on one seed in three.
    """
    return nn.Sequential(nn.BatchNorm2d(3, affine=False), convolution(3, width), convolution(width, width))


class SaliencyNetwork(nn.Module):
    """Logits of a saliency map: a trunk, whose features have `channels`, and a 1 x 1 convolution to one."""

    def __init__(
        self, trunk: nn.Module | None = None, *, channels: int = 16, first_logits: FirstLogits = "non_negative"
    ) -> None:
        super().__init__()
        self.trunk = small_trunk(channels) if trunk is None else trunk
        # The softmax that follows does not see a constant, so a bias does nothing: the authors have one, we do not.
        self.to_logits = nn.Conv2d(channels, 1, kernel_size=1, bias=first_logits == "any_sign")
        if first_logits == "non_negative":
            # Whatever stirs the features is salient at first. With weights of either sign the sampler may start by
            # avoiding what it is to find, and then never learns anything.
            with torch.no_grad():
                self.to_logits.weight.abs_()

    def forward(self, overview: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch 1 height width"]:
        """One logit for each place that the trunk knows."""
        logits: Tensor = self.to_logits(self.trunk(overview))
        return logits
