"""What every method promises: Method, Output, Zoom.

A spatial prediction is always in the coordinates of the original image (a gaze point in the task's centimetres): a
method that warps also unwarps before it answers, so neither the harness nor the report knows that anything was bent.

A file `baselines/<name>.py` exports
    Config                              a frozen dataclass of hyperparameters: literal defaults, the origin of each
    build(config, task, budget)         -> Method
and may export
    INPUTS = ("image", ...)             what forward needs from the dataset, besides the default ("image",)
    COMPETES = False                    for an upper bound that is shown but never ranked
    VERSION = 2                         raised when an edit changes the method's numbers: old trials then run again
    skip(task, budget) -> str | None    why this method cannot serve this task within this budget
    remark(config) -> str | None        a sentence that the report says of this method under these settings
A method that owns a torch.Generator keeps its state in get_extra_state, so that a trial that is killed goes on with
the same numbers; the global generators of torch, random and numpy are kept by the trial. So does one whose answers
depend on what start_epoch set: a trial that is killed after its last epoch is judged without another.
The declarations (all but build) are read without importing torch: see harness/lookup.py.
"""

import math
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

SMALL = 256 * 256
"""Pixels of an image at and below which every method is given floats: making them costs less there than reading bytes
saves."""


class Zoom(NamedTuple):
    """How one view was taken from the image."""

    resampled: Float[Tensor, "batch channels height width"]
    """What the task network saw."""
    grid: Float[Tensor, "batch height width 2"]
    """Where each output pixel reads: (x, y); -1 and 1 are the centres of the corner pixels."""
    saliency: Float[Tensor, "batch 1 rows columns"] | None = None
    """Non-negative, sums to one."""


class Output(NamedTuple):
    """What a method answers."""

    prediction: Any
    """Spatial answers are in the coordinates of the original image."""
    loss: Tensor | None = None
    """Scalar; present exactly when a target was given."""
    zooms: tuple[Zoom, ...] = ()
    """None for a method that does not resample, one for a warp, K for K glimpses."""


class Method(nn.Module):
    """The only base class: a network that answers a task from a full-resolution image."""

    inputs: ClassVar[tuple[str, ...]] = ("image",)
    """Names of forward's arguments, provided by the dataset. An image is (B, 3, H, W), float in [0, 1]."""
    takes_bytes: ClassVar[bool] = False
    """Whether an image may also be uint8, of which 255 is 1: a large one then stays so. True for a method that only
    hands its images to baselines/layers/resample.py, which takes both."""

    def forward(self, image: Tensor, target: Any = None) -> Output:
        """Answer a batch; with a target, also give the loss."""
        raise NotImplementedError(f"{type(self).__name__} has no forward: every method must answer.")

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The optimizer's groups, each with its own `lr`; one group of everything unless overridden."""
        return [{"params": list(self.parameters()), "lr": learning_rate}]

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each epoch (counted from 0), for schedules such as blur or freezing."""


def given(method: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs as a method is given them. What is uint8 is an image; only a large one stays so, where it may."""
    may = getattr(method, "takes_bytes", False)
    return {
        name: tensor if may and math.prod(tensor.shape[-2:]) > SMALL else as_floats(tensor)
        for name, tensor in inputs.items()
    }


def as_floats(image: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Bytes as floats in [0, 1]; anything else as it is."""
    return image.float().div_(255) if image.dtype == torch.uint8 else image
