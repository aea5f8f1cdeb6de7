"""Counting: how many of the small handwritten digits that are strewn over a black canvas are zeros.

The digits that are none are the distractors. There are always equally many things, so that neither the light of the
whole image nor the number of boxes gives the answer away. Not a set where zooming wins: what is to be counted lies all
over the image, and a network that magnifies one thing makes the others smaller.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from jaxtyping import Float32, Int16, Int64
from torch import Tensor

from ..harness.tasks import Classification
from .reading.drawing import DIGITS, Drawn, channels, labels, sprite
from .reading.settings import check_settings

INPUTS = ("image", "boxes", "counted", "instances")
TERMS = {
    "access": "embedded",
    "homepage": "https://archive.ics.uci.edu/dataset/80",
    "terms": "CC BY 4.0: share and adapt, with the authors named. The digits come inside scikit-learn (BSD-3-Clause).",
    "citation": "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
}
COUNTED = 0  # the digit

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class Config:
    """How many things, and how small they are."""

    canvas: int = 128  # px, side of the image
    digit: int = 16  # px, side of a thing
    things: int = 6  # zeros and others; the classes are 0 to 6 zeros, drawn equally often
    train_examples: int = 4096  # an epoch; the next epoch draws new ones
    validation_examples: int = 512
    test_examples: int = 2000
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be drawn."""
        if self.digit < 8:
            raise ValueError(f"digit is {self.digit} px: the source digits have 8, so at least 8 is needed")
        if not 1 <= self.things <= 32767:
            raise ValueError(f"things is {self.things}: it lies between 1 and 32767")
        cells = isqrt(2 * self.things - 1) + 1
        if cells * self.digit > self.canvas:
            raise ValueError(
                f"{self.things} digits of {self.digit} px, in {cells} x {cells} cells, do not fit a canvas of "
                f"{self.canvas} px"
            )
        check_settings(self, "train_examples", "validation_examples", "test_examples")


def task(config: Config) -> Classification:
    """How many: each number is a class."""
    return Classification(classes=config.things + 1)


def build(config: Config, root: object, split: str, image_size: int) -> "Counting":
    """The examples of a split, at the canvas' own resolution: root and image_size are not needed.

    Raises ValueError for an unknown split.
    """
    return Counting(config, split)


class Counting(Drawn):
    """Examples ({"image": uint8 (3, canvas, canvas), "boxes", "counted", "instances"}, number).

    Boxes (things, 4) are those of all things, x0, y0, x1, y1 in pixel edges, from left to right; no two overlap.
    "counted" (things,) is 1 for a zero, else 0: detection's labels, in the order of the boxes. "instances" (canvas,
    canvas) says of each pixel whose ink it is: 1 is the first box's, and 0 nobody's. All examples hold equally many
    things, so they collate without padding. The three channels of the image
    share one memory; copy it before writing to it.
    """

    def __init__(self, config: Config, split: str) -> None:
        super().__init__("counting", config, split)
        first, end = DIGITS[split]
        self.zeros = [at for at in range(first, end) if labels()[at] == COUNTED]
        self.others = [at for at in range(first, end) if labels()[at] != COUNTED]
        # Cells of a square, of which at most every second one is taken.
        self.cells = isqrt(2 * config.things - 1) + 1
        self.cell = config.canvas // self.cells
        room = self.cell - config.digit + 1
        ranges = [config.things + 1]
        for taken in range(config.things):
            ranges += [self.cells**2 - taken, room, room, len(self.zeros), len(self.others)]
        self._ranges = np.array(ranges, dtype=np.uint64)

    def sources(self, index: int) -> list[int]:
        """Positions in `load_digits` of the things, from left to right."""
        return [source for _, _, source, _ in self._plan(index)]

    def __getitem__(self, index: int) -> Example:
        plan = self._plan(index)
        side, digit = self.config.canvas, self.config.digit
        canvas = np.zeros((side, side), dtype=np.uint8)
        ink_of = np.zeros((side, side), dtype=np.int16)
        for number, (x, y, source, _) in enumerate(plan, start=1):
            ink = sprite(source, digit)
            canvas[y : y + digit, x : x + digit] = ink
            ink_of[y : y + digit, x : x + digit][ink > 0] = number
        boxes: Float32[Tensor, "things 4"] = torch.from_numpy(
            np.array([(x, y, x + digit, y + digit) for x, y, *_ in plan], dtype=np.float32)
        )
        counted: Int64[Tensor, " things"] = torch.tensor([zero for *_, zero in plan])
        instances: Int16[Tensor, "side side"] = torch.from_numpy(ink_of)
        tensors = {"image": channels(canvas), "boxes": boxes, "counted": counted, "instances": instances}
        return tensors, sum(zero for *_, zero in plan)

    def _plan(self, index: int) -> list[tuple[int, int, int, int]]:
        """The things (x, y, source, whether it counts), from left to right."""
        count, *drawn = self.integers(index, self._ranges)
        free = list(range(self.cells**2))
        plan = []
        for at in range(0, len(drawn), 5):
            cell, x, y, zero, other = drawn[at : at + 5]
            row, column = divmod(free.pop(cell), self.cells)
            counts = int(at < 5 * count)
            source = self.zeros[zero] if counts else self.others[other]
            plan.append((column * self.cell + x, row * self.cell + y, source, counts))
        return sorted(plan)
