"""Cluttered digits: one or two small handwritten digits somewhere on a large black canvas, among fragments of others.

After deepmind/mnist-cluttered (Mnih et al. 2014), with the digits inside scikit-learn, so that nothing is downloaded.
Departures: digits and fragments are combined by maximum instead of added and clipped; two digits never share a column;
no digit image, not even as a fragment, is in two splits (the original cuts clutter from one file for all).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..harness.tasks import Classification
from .reading.drawing import DIGITS, Drawn, Whole, channels, labels, sprites, squares
from .reading.settings import check_settings

INPUTS = ("image", "boxes")
CLASSES = {1: 10, 2: 55, "ordered": 100, "sum": 19}
TERMS = {
    "access": "embedded",
    "homepage": "https://archive.ics.uci.edu/dataset/80",
    "terms": "CC BY 4.0: share and adapt, with the authors named. The digits come inside scikit-learn (BSD-3-Clause).",
    "citation": "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
}

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class Config:
    """How hard the search is: a digit fills (digit / canvas)^2 of the image.

    What is left of a digit after uniform resizing to a task network of t pixels is r = digit * t / canvas pixels:
    at r = 2, the default with t = 16, a uniform view reads about 0.4 of the digits and a perfect crop 0.97.
    """

    canvas: int = 128  # px, side of the image
    digit: int = 16  # px, side of a digit; at 12 the 16-px overview no longer shows where to look
    # 1: which digit. Two digits are asked for as `combine`, the unordered pair (DeepMind's word), `ordered`, the pair
    # from left to right, or `sum`. 2 is `combine` too, and what a trial's id holds for it.
    digits: Literal[1, 2, "combine", "ordered", "sum"] = 1
    distractors: int = 4  # fragments of 8/28 of a digit's side; RAM's 60-px set has as many
    train_examples: int = 4096  # an epoch; the next epoch draws new ones
    validation_examples: int = 512
    test_examples: int = 2000
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Spell `combine` as 2; raise ValueError for settings that cannot be drawn."""
        if self.digits == "combine":
            object.__setattr__(self, "digits", 2)
        count = 1 if self.digits == 1 else 2
        if self.digit < 8:
            raise ValueError(f"digit is {self.digit} px: the source digits have 8, so at least 8 is needed")
        if count * self.digit > self.canvas:
            raise ValueError(
                f"{count} digit(s) of {self.digit} px do not fit side by side on a canvas of {self.canvas} px"
            )
        if self.distractors < 0:
            raise ValueError(f"distractors is {self.distractors}: it cannot be negative")
        check_settings(self, "train_examples", "validation_examples", "test_examples")


def task(config: Config) -> Classification:
    """Which digit, which pair of digits, or what they add up to."""
    return Classification(classes=CLASSES[config.digits])


def build(config: Config, root: object, split: str, image_size: int) -> "ClutteredDigits":
    """The examples of a split, at the canvas' own resolution: root and image_size are not needed.

    Raises ValueError for an unknown split.
    """
    return ClutteredDigits(config, split)


def pair_class(first: int, second: int) -> int:
    """Class of the unordered pair of two digits: the upper triangle of a 10 x 10 table, row after row.

    >>> pair_class(0, 0), pair_class(1, 0), pair_class(9, 9)
    (0, 1, 54)
    """
    low, high = min(first, second), max(first, second)
    return low * 10 - low * (low - 1) // 2 + high - low


class ClutteredDigits(Drawn):
    """Examples ({"image": uint8 (3, canvas, canvas), "boxes": float32 (digits, 4)}, class).

    Boxes are x0, y0, x1, y1 in pixel edges, so that x1 - x0 is the digit's side; from left to right. The three channels
    share one memory; copy the image before writing to it.
    """

    def __init__(self, config: Config, split: str) -> None:
        super().__init__("cluttered_digits", config, split)
        self.digits = 1 if config.digits == 1 else 2
        self.fragment = round(config.digit * 8 / 28)
        self.first, end = DIGITS[split]
        count, side = end - self.first, config.digit
        free = config.canvas - self.digits * side
        digit_ranges = [r for k in range(self.digits) for r in (count - k, free + 1, config.canvas - side + 1)]
        inside, outside = side - self.fragment + 1, config.canvas - self.fragment + 1
        clutter_ranges = [count - self.digits, inside, inside, outside, outside] * config.distractors
        self._ranges = np.array(digit_ranges + clutter_ranges, dtype=np.uint64)

    def sources(self, index: int) -> list[int]:
        """Positions in `load_digits` of every digit that an example shows, the whole ones first, then the fragments."""
        digits, fragments = self._plan([index])
        return [*digits[0, :, 0].tolist(), *fragments[0, :, 0].tolist()]

    def __getitem__(self, index: int) -> Example:
        tensors, targets = self.batch([index], INPUTS)
        return {name: tensor[0] for name, tensor in tensors.items()}, int(targets[0])

    def batch(self, indices: Sequence[int], inputs: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """These examples at once, which takes a third of the time: (inputs, classes)."""
        digits, fragments = self._plan(indices)
        side, part, each = self.config.digit, self.fragment, np.arange(len(indices))
        sheet = sprites(np.concatenate([digits[..., 0], fragments[..., 0]], axis=1).ravel(), side)
        canvases = np.zeros((len(indices), self.config.canvas, self.config.canvas), dtype=np.uint8)
        places = squares(canvases, side)
        for source, x, y in digits.transpose(1, 2, 0):
            places[each, y, x] = sheet[source]
        places, cuts = squares(canvases, part), squares(sheet, part)
        for source, cut_x, cut_y, x, y in fragments.transpose(1, 2, 0):
            places[each, y, x] = np.maximum(places[each, y, x], cuts[source, cut_y, cut_x])
        corners = digits[..., 1:].astype(np.float32)
        tensors = {"image": channels(canvases)}
        if "boxes" in inputs:
            tensors["boxes"] = torch.from_numpy(np.concatenate([corners, corners + side], axis=-1))
        shown = [[labels()[source] for source in row] for row in digits[..., 0].tolist()]
        return {name: tensors[name] for name in inputs}, torch.tensor([self._target(one) for one in shown])

    def _target(self, shown: list[int]) -> int:
        """The class of the digits from left to right."""
        if self.config.digits == 1:
            return shown[0]
        first, second = shown
        if self.config.digits == "ordered":
            return 10 * first + second
        return first + second if self.config.digits == "sum" else pair_class(first, second)

    def _plan(self, indices: Sequence[int]) -> tuple[Whole, Whole]:
        """What is drawn where, of each example: digits (source, x, y) from left to right, and fragments of others
        (source, cut_x, cut_y, x, y)."""
        drawn = self.rows(indices, self._ranges)
        digits = drawn[:, : 3 * self.digits].reshape(len(drawn), self.digits, 3)
        fragments = drawn[:, 3 * self.digits :].reshape(len(drawn), self.config.distractors, 5)
        if self.digits == 2:
            # Two sorted places in what is left of the row when both digits are taken out: they never overlap in x.
            digits[:, 1, 0] += digits[:, 1, 0] >= digits[:, 0, 0]
            digits[..., 1].sort(axis=1)
            digits[:, 1, 1] += self.config.digit
        for taken in np.sort(digits[..., 0], axis=1).T:  # the fragments come from other digits
            fragments[..., 0] += fragments[..., 0] >= taken[:, None]
        digits[..., 0] += self.first
        fragments[..., 0] += self.first
        return digits, fragments
