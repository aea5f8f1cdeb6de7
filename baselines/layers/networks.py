"""The small networks that every baseline shares, so that only where they look differs.

Both start with a BatchNorm without parameters: it learns the data's mean and spread, which nobody then has to state.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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


def trunk(width: int = 16) -> nn.Sequential:
    """Features of the overview at its own resolution, for networks that decide where to look.

    No pooling: a digit is two pixels of the overview. Half the width fails on one seed in three.
    """
    return nn.Sequential(nn.BatchNorm2d(3, affine=False), convolution(3, width), convolution(width, width))


class SaliencyNetwork(nn.Module):
    """Logits of a saliency map at the overview's resolution."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.trunk = trunk(width)
        # No bias: the softmax that follows does not see a constant.
        self.to_logits = nn.Conv2d(width, 1, kernel_size=1, bias=False)
        # Whatever stirs the features is salient at first. With weights of either sign the sampler may start by avoiding
        # what it is to find, and then never learns anything; the authors start from a network pretrained on ImageNet.
        with torch.no_grad():
            self.to_logits.weight.abs_()

    def forward(self, overview: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
        """One logit for each pixel of the overview."""
        logits: Tensor = self.to_logits(self.trunk(overview))
        return logits
