"""The networks that a budget or a method may name, with what can be known of them without torch.

baselines/layers/backbones.py builds them; a test holds this table to torchvision's own.
"""

from typing import Literal, NamedTuple

Trunk = Literal["small", "resnet18_6", "resnet18_10", "resnet18_14"]
"""What turns the overview into features: a small one of ours, or so many of the first layers of a ResNet-18."""


class TaskNetworkFacts(NamedTuple):
    """What a sweep file is checked against."""

    least_size: int
    """Smallest side in pixels of the image that it takes."""
    weights: tuple[str, ...] = ()
    """torchvision's names of its weights."""


TASK_NETWORKS = {
    "small": TaskNetworkFacts(least_size=4),
    "alexnet": TaskNetworkFacts(least_size=63, weights=("IMAGENET1K_V1",)),
    "resnet18": TaskNetworkFacts(least_size=4, weights=("IMAGENET1K_V1",)),
    "resnet50": TaskNetworkFacts(least_size=4, weights=("IMAGENET1K_V1", "IMAGENET1K_V2")),
    "resnet101": TaskNetworkFacts(least_size=4, weights=("IMAGENET1K_V1", "IMAGENET1K_V2")),
    # Its auxiliary head needs a 17 x 17 feature map.
    "inception_v3": TaskNetworkFacts(least_size=299, weights=("IMAGENET1K_V1",)),
}


def names_a_file(weights: str) -> bool:
    """Whether weights are a checkpoint file and not one of torchvision's names."""
    return "/" in weights or weights.endswith((".pt", ".pth"))


def complaint_about(weights: str, network: str) -> str | None:
    """Why these weights cannot be asked of a network; None where they can, which says nothing of a file's content."""
    known = TASK_NETWORKS[network].weights
    if names_a_file(weights) or weights in known:
        return None
    offered = f"torchvision's {' or '.join(known)}, or " if known else ""
    return f"{network} has no such weights: expected {offered}the path of a checkpoint (.pt, .pth)"


def complaint_about_trunk(weights: str | None, trunk: str) -> str | None:
    """The same of a trunk; the small one always starts at random, which is what None asks for."""
    if weights is None:
        return None
    if trunk == "small":
        return "the small trunk starts at random: leave them out, or take the trunk of a resnet18"
    return complaint_about(weights, trunk.split("_")[0])
