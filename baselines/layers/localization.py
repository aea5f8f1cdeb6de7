"""Localization network: from the overview to the few numbers of a transformation, in the spatial transformer's words.

Jaderberg et al. 2015. Features keep their places (flattened, not pooled), because a mean over places forgets where
things are.
"""

import torch
from torch import Tensor, nn

from ...harness.task_networks import Trunk
from .backbones import TRUNK_CHANNELS, trunk


def localization_network(
    *, cells: int, hidden: int, network: Trunk = "small", weights: str | None = None
) -> nn.Sequential:
    """Overview to `hidden` features; the trunk's are max-pooled to `cells` a side before they are flattened."""
    return nn.Sequential(
        trunk(network, weights=weights),
        nn.AdaptiveMaxPool2d(cells),
        nn.Flatten(),
        nn.Linear(TRUNK_CHANNELS[network] * cells**2, hidden),
        nn.ReLU(),
    )


def starting_from(numbers: Tensor, *, hidden: int) -> nn.Linear:
    """The layer after it, which at the start gives these numbers, flattened, whatever the overview shows."""
    layer = nn.Linear(hidden, numbers.numel())
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(numbers.flatten())
    return layer
