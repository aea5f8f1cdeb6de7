"""Class activation maps: which places of its view a network takes for the class that it sees there most.

Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from ...harness.budget import Budget
from .backbones import Backbone, WithAuxiliary, task_network
from .networks import TaskNetwork

_SAME_IMAGE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])
"""Neighbours of a place in a stack of maps: the eight around it, none in other maps."""


class Activated(NamedTuple):
    """What a network says of a view, and its last features, of which that is a mean."""

    numbers: Tensor | WithAuxiliary
    features: Float[Tensor, "batch channels rows columns"]


class ClassActivationNetwork(nn.Module):
    """The budget's task network in the form that the maps need: features, their mean over places, one linear layer.

    ResNets and Inception V3 have that form. AlexNet is given Zhou et al.'s: from pool5 on it is a 3 x 3 convolution to
    1024 channels, mean and linear layer (their released one differs: pool5 stays, and two convolutions of 512 follow).
    The small network keeps its features and loses maximum pooling and hidden layer, so it is weaker than `uniform`'s.
    """

    def __init__(self, outputs: int, budget: Budget) -> None:
        super().__init__()
        whole = task_network(outputs, budget)
        self.dropout: nn.Module = nn.Identity()
        if isinstance(whole, TaskNetwork):
            self.trunk = whole.features
            pooled_twice = whole.head[0]
            assert isinstance(pooled_twice, nn.Linear)
            self.head = nn.Linear(pooled_twice.in_features // 2, outputs)
            return
        assert isinstance(whole, Backbone)
        model = whole.model
        if hasattr(model, "fc"):
            parts = OrderedDict(model.named_children())  # torchvision calls them in this order
            self.head = parts.pop("fc")
            self.dropout = parts.pop("dropout", self.dropout)
            del parts["avgpool"]
        else:
            parts = OrderedDict(list(model.features.named_children())[:-1])
            parts["wider"] = nn.Sequential(nn.Conv2d(256, 1024, kernel_size=3, padding=1), nn.ReLU())
            self.head = nn.Linear(1024, outputs)
            self.dropout = nn.Dropout(0.5)  # released network; the paper does not speak of it
        self.trunk = nn.Sequential(OrderedDict([("normalise", whole.normalise), *parts.items()]))

    def forward(self, view: Float[Tensor, "batch 3 height width"]) -> Activated:
        """Numbers and features; in training also the numbers of Inception's auxiliary head."""
        features, auxiliary = view, None
        for name, part in self.trunk.named_children():
            if name != "AuxLogits":
                features = part(features)
            elif self.training:
                auxiliary = part(features)
        numbers = self.head(self.dropout(features.mean(dim=(2, 3))))
        return Activated(numbers if auxiliary is None else WithAuxiliary(numbers, auxiliary), features)

    @torch.no_grad()
    def strongest_map(self, features: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch rows cols"]:
        """The map of the class whose map has the largest maximum, which need not be the class of the largest number.

        M_c(x, y) = sum_k w_ck f_k(x, y) (Zhou et al., eq. 2; no bias). The choice of class is Recasens et al. 2018's.
        No gradient comes through it.
        """
        with torch.autocast(device_type=features.device.type, enabled=False):
            maps = functional.conv2d(features.to(self.head.weight.dtype), self.head.weight[:, :, None, None])
        chosen = maps.amax(dim=(2, 3)).argmax(dim=1)
        return maps[torch.arange(len(maps), device=maps.device), chosen]


def as_saliency(maps: Float[Tensor, "batch rows cols"]) -> Float[Tensor, "batch 1 rows cols"]:
    """A map's positive part as a saliency map, which sums to one; of a map without one, the same everywhere."""
    positive = maps.clamp(min=0)
    positive = torch.where(positive.sum(dim=(1, 2), keepdim=True) > 0, positive, torch.ones_like(positive))
    return (positive / positive.sum(dim=(1, 2), keepdim=True))[:, None]


def boxes_around(maps: Float[Tensor, "batch rows cols"], *, threshold: float) -> Float[Tensor, "batch 4"]:
    """The box around the largest connected part of each map that lies above `threshold` of the map's maximum.

    Boxes are x0, y0, x1, y1 as shares of the map's width and height. Largest in places, the first of equals; places
    that touch at a corner are connected. A map whose maximum is not positive points nowhere: its box is the whole.
    Zhou et al. 2016, section 3.2: 20%. Their released tool differs: it thresholds a grey picture of the map, 0 to 255,
    at 20, 100 and 110, merges the boxes of all parts and puts the largest box first.
    The parts are found on the CPU, so the host waits for the device.
    """
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    above = ((maps > threshold * peaks) & (peaks > 0)).cpu().numpy()
    parts, _ = ndimage.label(above, structure=_SAME_IMAGE)
    sizes = np.bincount(parts.ravel())
    rows, columns = maps.shape[1:]
    boxes = np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (len(maps), 1))
    largest = np.zeros(len(maps), dtype=int)
    for part, (of_map, down, across) in enumerate(ndimage.find_objects(parts), start=1):
        if sizes[part] > largest[of_map.start]:
            largest[of_map.start] = sizes[part]
            boxes[of_map.start] = [across.start / columns, down.start / rows, across.stop / columns, down.stop / rows]
    return torch.as_tensor(boxes, dtype=maps.dtype).to(maps.device)


def at_least(boxes: Float[Tensor, "batch 4"], side: float) -> Float[Tensor, "batch 4"]:
    """Boxes no narrower and no lower than `side`, a share, about the same centres as far as the image reaches."""
    low, high = boxes[:, :2], boxes[:, 2:]
    extent = (high - low).clamp(min=side)
    low = ((low + high - extent) / 2).clamp(min=0).minimum(1 - extent)
    return torch.cat((low, low + extent), dim=1)
