"""Deformable convolution: the network sees the whole image, and its last convolutions choose where they sample it.

Dai, Qi, Xiong, Li, Zhang, Hu and Wei, "Deformable Convolutional Networks", ICCV 2017; as a baseline in Recasens et al.
2018: the top three convolutions of AlexNet, the three 3 x 3 of the last stage (res5) of a ResNet. They sample features,
not the image, so what the resizing lost stays lost.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..harness.budget import Budget
from ..harness.contract import Method, Output
from ..harness.tasks import Task
from .layers.deformable import Deformable
from .layers.resample import Images
from .uniform import Config as UniformConfig
from .uniform import Uniform


@dataclass(frozen=True)
class Config:
    """How samples are moved."""

    groups: int = 4  # of channels that move together; authors' code, num_deformable_group
    mask: bool = False  # v2, Zhu et al. 2019: each sample is also weighed, between 0 and 1; at the start by 0.5
    # The authors' res5, of ResNets only: stride 1 and dilation 2 instead of stride 2. Made for detection and
    # segmentation; off, because it quadruples the places of res5, which `uniform` would have to be given too.
    dilated: bool = False
    # Of what finds the offsets: 0.1 as in v2, v1 has 1. On cluttered digits, 8 epochs, one seed, at 24 px: 0.64 at 1,
    # 0.69 at 0.1, 0.66 at 0.01, and 0.66 for the same network undeformed. At 32 px: 0.77, 0.85, and 0.82.
    learning_rate_multiplier: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for settings that make no network."""
        for name in ("groups", "learning_rate_multiplier"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be positive")


def skip(task: Task, budget: Budget) -> str | None:
    """Why not: neither paper says which of Inception's many-sided convolutions would move."""
    if budget.task_network == "inception_v3":
        return "neither Dai et al. 2017 nor Recasens et al. 2018 say which convolutions of Inception V3 to deform"
    return None


def deform(network: nn.Module, config: Config) -> None:
    """Replace the last three 3 x 3 convolutions of a network, in place.

    That is AlexNet's top three, and res5's of ResNets: of ResNet-50 and -101 all that it has, of ResNet-18 three of
    four. With `dilated`, res5 keeps the resolution of the stage before it. Raises ValueError where there is no res5.
    """
    res5 = getattr(getattr(network, "model", None), "layer4", None)
    plain = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ][-3:]
    if config.dilated:
        if res5 is None:
            raise ValueError("dilated is true: only ResNets have the res5 that it is about")
        for module in res5.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
        for _, module in plain:
            module.dilation = module.padding = (2, 2)
    for name, module in plain:
        network.set_submodule(name, Deformable(module, groups=config.groups, mask=config.mask))


class DeformableConvolution(Method):
    """The method `uniform`, its network deformed."""

    takes_bytes = True

    def __init__(self, config: Config, *, task: Task, budget: Budget) -> None:
        super().__init__()
        self.uniform = Uniform(UniformConfig(), task=task, budget=budget)
        deform(self.uniform.task_network, config)
        self.learning_rate_multiplier = config.learning_rate_multiplier

    def forward(self, image: Images, target: Any = None) -> Output:
        """Answer a batch of images of any size; the grid is the identity."""
        output: Output = self.uniform(image, target)
        return output

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The network at the given rate, what finds the offsets at its multiple."""
        offsets = [
            parameter
            for module in self.modules()
            if isinstance(module, Deformable)
            for parameter in module.to_offset.parameters()
        ]
        known = set(map(id, offsets))
        return [
            {"params": [p for p in self.parameters() if id(p) not in known], "lr": learning_rate},
            {"params": offsets, "lr": learning_rate * self.learning_rate_multiplier},
        ]


def build(config: Config, task: Task, budget: Budget) -> DeformableConvolution:
    """The budget's task network on a view of budget.image_size pixels a side, deformed."""
    return DeformableConvolution(config, task=task, budget=budget)
