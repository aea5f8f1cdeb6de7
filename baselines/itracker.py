"""iTracker: four networks for four inputs, the face, both eyes, and where the face is; their features are joined.

Krafka, Khosla, Kellnhofer, Kannan, Bhandarkar, Matusik and Torralba, "Eye Tracking for Everyone", CVPR 2016: the method
that Recasens et al. 2018 compare the sampler with on GazeCapture. It looks for nothing: its crops come with the data.
Both eyes pass through the same weights, in places left as they are: one is not mirrored.
Departures: answers pass through the task (a sigmoid, where it has a screen), and the mean images are learned; see
MeanImage.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from ..harness.budget import Budget
from ..harness.contract import Method, Output
from ..harness.errors import ShapeError
from ..harness.tasks import Task
from .layers.networks import convolution
from .layers.resample import overview
from .layers.warp import conclude

INPUTS = ("face", "eye_left", "eye_right", "face_grid")
GRID = 25  # cells a side of the face grid
PAPER_SIZE = 224  # px; side of every crop, in the paper and in the released code


@dataclass(frozen=True)
class Config:
    """Which trunk reads the crops."""

    # `paper`: four convolutions after AlexNet's, crops of 224 px whatever the budget, trained by its authors' PyTorch
    # code with SGD at 0.0001, batch 100 a GPU, 25 epochs. `small`: three of ours, crops of the budget's image_size.
    network: Literal["paper", "small"] = "small"


def remark(config: Config) -> str:
    """That it was told where to look, and what it was shown."""
    shown = f"{PAPER_SIZE} px" if config.network == "paper" else "the budget's image size"
    return f"is given crops of the face and of both eyes, which the others have to find, each at {shown}."


class MeanImage(nn.Module):
    """Subtracts the mean of all images that it was trained on so far, pixel by pixel.

    The authors subtract a mean image computed over the training split beforehand; this one is that of the examples
    seen, each as often as it was seen, so it moves in the first epoch and settles on the same. It lies in the
    state_dict with the number of examples: a trial that is killed goes on with the same numbers.
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, size, size))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
        """The images around zero; in training they count towards the mean first."""
        if self.training:
            with torch.no_grad():
                self.seen += image.shape[0]
                self.mean += (image.to(self.mean.dtype) - self.mean).sum(dim=0) / self.seen
        return image - self.mean


class ITracker(Method):
    """Four streams, joined by fully connected layers; the numbers of neurons are the paper's for both trunks."""

    inputs = INPUTS
    takes_bytes = True

    def __init__(self, config: Config, *, task: Task, budget: Budget) -> None:
        super().__init__()
        self.task = task
        self.size = PAPER_SIZE if config.network == "paper" else budget.image_size
        trunk = paper_trunk if config.network == "paper" else small_trunk
        self.mean_images = nn.ModuleDict({name: MeanImage(self.size) for name in INPUTS[:3]})
        self.eye_trunk, self.face_trunk = trunk(), trunk()
        with torch.no_grad():
            features = self.eye_trunk.eval()(torch.zeros(1, 3, self.size, self.size)).shape[1]
        self.eye_trunk.train()
        self.eyes = fully_connected(2 * features, 128)
        self.face = fully_connected(features, 128, 64)
        self.grid = fully_connected(GRID**2, 256, 128)
        self.head = nn.Sequential(fully_connected(128 + 64 + 128, 128), nn.Linear(128, task.outputs))

    def forward(  # type: ignore[override]  # the harness passes each of `inputs` by name
        self,
        face: Real[Tensor, "batch 3 face_rows face_columns"],
        eye_left: Real[Tensor, "batch 3 left_rows left_columns"],
        eye_right: Real[Tensor, "batch 3 right_rows right_columns"],
        face_grid: Float[Tensor, "batch cells_down cells_across"],
        target: Any = None,
    ) -> Output:
        """Answer a batch of crops of any size; the face grid is 1 where the face is, else 0, and left is the subject's.

        Raises ShapeError for a face grid that is not 25 x 25.
        """
        if face_grid.shape[1:] != (GRID, GRID):
            raise ShapeError(f"face_grid is {tuple(face_grid.shape[1:])}; expected ({GRID}, {GRID}) for each example.")
        crops = {"face": face, "eye_left": eye_left, "eye_right": eye_right}
        seen = {name: self.mean_images[name](overview(crop, self.size)) for name, crop in crops.items()}
        left, right = self.eye_trunk(torch.cat((seen["eye_left"], seen["eye_right"]))).chunk(2)
        eyes = self.eyes(torch.cat((left, right), dim=1))
        joined = torch.cat((eyes, self.face(self.face_trunk(seen["face"])), self.grid(face_grid.flatten(1))), dim=1)
        prediction, loss = conclude(self.head(joined), task=self.task, target=target)
        return Output(prediction, loss)


def build(config: Config, task: Task, budget: Budget) -> ITracker:
    """The four-input network; the budget's task network has no part in it."""
    return ITracker(config, task=task, budget=budget)


def paper_trunk() -> nn.Sequential:
    """The paper's: 224 px to 64 x 12 x 12 features."""
    return nn.Sequential(
        nn.Conv2d(3, 96, kernel_size=11, stride=4),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
        nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
        nn.Conv2d(256, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 64, kernel_size=1),
        nn.ReLU(),
        nn.Flatten(),
    )


def small_trunk() -> nn.Sequential:
    """For the CPU: any size from 4 px to 16 maps of a quarter of the side, whose places are kept, as in the paper."""
    return nn.Sequential(
        convolution(3, 16),
        convolution(16, 32, stride=2),
        nn.MaxPool2d(2),
        convolution(32, 48),
        nn.Conv2d(48, 16, kernel_size=1),
        nn.ReLU(),
        nn.Flatten(),
    )


def fully_connected(*widths: int) -> nn.Sequential:
    """A linear layer and a ReLU from each width to the next."""
    return nn.Sequential(*[layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())])
