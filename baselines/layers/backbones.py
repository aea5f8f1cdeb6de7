"""torchvision's networks: as task networks, as trunks of saliency networks, and the weights that they start from."""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from ...harness.budget import Budget
from ...harness.errors import WeightsError
from ...harness.task_networks import Trunk, names_a_file
from .networks import TaskNetwork, small_trunk

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # Inception V3 came from TensorFlow, which scales to [-1, 1]

_HEADS = {"alexnet": ("classifier.6.",), "inception_v3": ("fc.", "AuxLogits.fc.")}
TRUNK_CHANNELS = {"small": 16, "resnet18_6": 64, "resnet18_10": 128, "resnet18_14": 256}


class WithAuxiliary(NamedTuple):
    """What a network with an auxiliary head gives in training."""

    numbers: Tensor
    auxiliary: Tensor


class Normalise(nn.Module):
    """From [0, 1] to mean zero and deviation one of the images that torchvision's weights were trained on."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET) -> None:
        super().__init__()
        for name, values in zip(("mean", "deviation"), statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, view: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """The same image around zero."""
        return (view - self.mean) / self.deviation


class Backbone(nn.Module):
    """One of torchvision's networks with a head of `outputs` numbers. Takes images in [0, 1] of any size it can."""

    def __init__(self, name: str, outputs: int, *, weights: str | None = None) -> None:
        super().__init__()
        # Inception's own initialisation draws from a truncated normal; without weights it is part of the network.
        settings: dict[str, Any] = {"init_weights": weights is None} if name == "inception_v3" else {}
        self.normalise = Normalise(HALVES if name == "inception_v3" else IMAGENET)
        self.model = models.get_model(name, weights=None, num_classes=outputs, **settings)
        if weights is not None:
            load(self.model, weights, network=name, heads=_HEADS.get(name, ("fc.",)))

    def forward(self, view: Float[Tensor, "batch 3 height width"]) -> Tensor | WithAuxiliary:
        """The head's numbers (batch, outputs); in training with those of the auxiliary head, where there is one."""
        answer = self.model(self.normalise(view))
        if isinstance(answer, Tensor):
            return answer
        return WithAuxiliary(*answer)


def task_network(outputs: int, budget: Budget) -> nn.Module:
    """The network that the budget names; raises WeightsError for weights that are not there or do not fit."""
    if budget.task_network != "small":
        return Backbone(budget.task_network, outputs, weights=budget.task_weights)
    network = TaskNetwork(outputs)
    if budget.task_weights is not None:
        load(network, budget.task_weights, network="small", heads=("head.3.",))
    return network


def trunk(name: Trunk, *, weights: str | None = None) -> nn.Sequential:
    """Features of the overview, TRUNK_CHANNELS of them: of networks that decide where to look.

    small: at the overview's own resolution. The others: the first 6, 10 or 14 layers of a ResNet-18, counting the 1 x 1
    convolution that the caller adds, at a quarter, an eighth and a sixteenth of the overview's side (Recasens et al.
    2018, table 3: a block of four convolutions more each time). What follows is not kept. All end in a ReLU.
    """
    if name == "small":
        return small_trunk()
    whole = models.resnet18(weights=None)
    if weights is not None:
        load(whole, weights, network="resnet18", heads=("fc.",))
    blocks = [f"layer{number}" for number in range(1, {"resnet18_6": 1, "resnet18_10": 2, "resnet18_14": 3}[name] + 1)]
    kept = [(part, getattr(whole, part)) for part in ("conv1", "bn1", "relu", "maxpool", *blocks)]
    return nn.Sequential(OrderedDict([("normalise", Normalise()), *kept]))


def load(model: nn.Module, weights: str, *, network: str, heads: tuple[str, ...]) -> None:
    """Fill a network with weights: torchvision's by name, or a checkpoint by path.

    Layers whose names start with one of `heads` keep their random start if the checkpoint's have another shape, as the
    number of classes differs. BatchNorm's counts of batches, which checkpoints from before torch 0.4.1 lack, may be
    absent: nothing here reads them. Raises WeightsError for anything else that is missing, unexpected or of another
    shape.
    """
    state = _read(weights) if names_a_file(weights) else _from_torchvision(weights, network)
    own = model.state_dict()
    head = {key for key in own if key.startswith(heads)}
    if any(key not in state or state[key].shape != own[key].shape for key in head):
        state = {key: value for key, value in state.items() if not key.startswith(heads)}
        own = {key: value for key, value in own.items() if key not in head}
    faults = [
        *[f"{key} is missing" for key in own if key not in state and not key.endswith(".num_batches_tracked")],
        *[f"{key} is unknown" for key in state if key not in own],
        *[
            f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"weights {weights} do not fit {network}: {', '.join(faults[:3])}{more}.")
    model.load_state_dict(state, strict=False)


_WRAPPERS = ("module.", "_orig_mod.", "task_network.", "model.")
"""What comes before a network's own names: DDP, torch.compile, a method of this benchmark, Backbone."""


def _read(path: str) -> dict[str, Tensor]:
    """A checkpoint's state dict: bare, or under `model` or `state_dict`; of a trial's weights.pt its task network."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch says of a pickled network is long, and advises what cannot be done here
        raise WeightsError(
            f"weights {path} cannot be read ({type(error).__name__}); expected a state dict, written by "
            "torch.save(network.state_dict(), path)."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    content = content if isinstance(content, dict) else {"": content}
    state = {key: value for key, value in content.items() if not str(key).endswith("_extra_state")}
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"weights {path} hold no state dict: expected names to tensors, alone or under `model`.")
    for wrapper in _WRAPPERS:
        inside = {key.removeprefix(wrapper): value for key, value in state.items() if key.startswith(wrapper)}
        state = inside or state
    return state


def _from_torchvision(name: str, network: str) -> dict[str, Tensor]:
    chosen = models.get_model_weights(network)[name]
    try:
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # a file that is cut off raises of many kinds
        raise WeightsError(
            f"weights {name} of {network} are not whole in {torch.hub.get_dir()}/checkpoints and cannot be "
            f"downloaded ({type(error).__name__}: {error}). Put {chosen.url.rsplit('/', 1)[1]} there, from "
            f"{chosen.url}, or name a checkpoint's path."
        ) from error
    return state
