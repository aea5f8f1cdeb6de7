"""Cluttered digits: one or two small handwritten digits somewhere on a large black canvas, among fragments of others.

After deepmind/mnist-cluttered (Mnih et al. 2014), with the digits inside scikit-learn, so that nothing is downloaded.
Departures: digits and fragments are combined by maximum instead of added and clipped; two digits never share a column;
no digit image, not even as a fragment, is in two splits (the original cuts clutter from one file for all).
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset

from ..harness.tasks import Classification

INPUTS = ("image", "boxes")
SPLITS = {"train": (0, 1200), "validation": (1200, 1400), "test": (1400, 1797)}  # positions in load_digits

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class Config:
    """How hard the search is: a digit fills (digit / canvas)^2 of the image.

    What is left of a digit after uniform resizing to a task network of t pixels is r = digit * t / canvas pixels:
    at r = 2, the default with t = 16, a uniform view reads about 0.4 of the digits and a perfect crop 0.97.
    """

    canvas: int = 128  # px, side of the image
    digit: int = 16  # px, side of a digit; at 12 the 16-px overview no longer shows where to look
    digits: Literal[1, 2] = 1  # 1: ten classes; 2: the unordered pair, DeepMind's `combine`, 55 classes
    distractors: int = 4  # fragments of 8/28 of a digit's side; RAM's 60-px set has as many
    train_examples: int = 4096  # an epoch; the next epoch draws new ones
    validation_examples: int = 512
    test_examples: int = 2000
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be drawn."""
        if self.digit < 8:
            raise ValueError(f"digit is {self.digit} px: the source digits have 8, so at least 8 is needed")
        if self.digits * self.digit > self.canvas:
            raise ValueError(
                f"{self.digits} digit(s) of {self.digit} px do not fit side by side on a canvas of {self.canvas} px"
            )
        if self.distractors < 0:
            raise ValueError(f"distractors is {self.distractors}: it cannot be negative")
        for name in ("train_examples", "validation_examples", "test_examples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: every split needs at least one example")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}: it must be between 0 and 2**63 - 1")


def task(config: Config) -> Classification:
    """Which digit, or which unordered pair of digits."""
    return Classification(classes=10 if config.digits == 1 else 55)


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


class ClutteredDigits(Dataset[Example]):
    """Examples ({"image": uint8 (3, canvas, canvas), "boxes": float32 (digits, 4)}, class).

    Boxes are x0, y0, x1, y1 in pixel edges, so that x1 - x0 is the digit's side; from left to right.
    An example depends on (config, split, epoch, index) alone: any worker, process or platform draws the same one. Only
    the training split changes with the epoch. The three channels share one memory; copy the image before writing to it.
    """

    def __init__(self, config: Config, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"cluttered_digits has no split {split!r}; it has {', '.join(SPLITS)}.")
        self.config = config
        self.split = split
        self.epoch = 0
        self.fragment = round(config.digit * 8 / 28)
        self.first, end = SPLITS[split]
        sprites, labels = _sprites(config.digit)
        self.sprites, self.labels = sprites[self.first : end], labels[self.first : end]
        self.free = config.canvas - config.digits * config.digit
        count, side = len(self.sprites), config.digit
        digit_ranges = [r for k in range(config.digits) for r in (count - k, self.free + 1, config.canvas - side + 1)]
        inside, outside = side - self.fragment + 1, config.canvas - self.fragment + 1
        clutter_ranges = [count - config.digits, inside, inside, outside, outside] * config.distractors
        self._ranges = np.array(digit_ranges + clutter_ranges, dtype=np.uint64)

    def __len__(self) -> int:
        examples: int = getattr(self.config, f"{self.split}_examples")
        return examples

    def set_epoch(self, epoch: int) -> None:
        """Draw new training examples from now on; the other splits stay as they are."""
        self.epoch = epoch

    def sources(self, index: int) -> list[int]:
        """Positions in `load_digits` of every digit that an example shows, the whole ones first, then the fragments."""
        digits, clutter = self._plan(index)
        return [self.first + source for source, *_ in digits + clutter]

    def __getitem__(self, index: int) -> Example:
        digits, clutter = self._plan(index)
        side, part = self.config.digit, self.fragment
        canvas = np.zeros((self.config.canvas, self.config.canvas), dtype=np.uint8)
        for source, cut_x, cut_y, x, y in clutter:
            place = canvas[y : y + part, x : x + part]
            np.maximum(place, self.sprites[source, cut_y : cut_y + part, cut_x : cut_x + part], out=place)
        for source, x, y in digits:
            place = canvas[y : y + side, x : x + side]
            np.maximum(place, self.sprites[source], out=place)
        shown = [int(self.labels[source]) for source, *_ in digits]
        target = shown[0] if len(shown) == 1 else pair_class(*shown)
        image: UInt8[Tensor, "3 side side"] = torch.from_numpy(canvas).expand(3, -1, -1)
        boxes: Float32[Tensor, "digits 4"] = torch.tensor([[x, y, x + side, y + side] for _, x, y in digits]).float()
        return {"image": image, "boxes": boxes}, target

    def _plan(self, index: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """What is drawn where: digits (source, x, y) from left to right, clutter (source, cut_x, cut_y, x, y)."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in the {self.split} split")
        drawn = self._draw(index)
        digits: list[tuple[int, ...]] = []
        if self.config.digits == 1:
            digits.append((drawn[0], drawn[1], drawn[2]))
        else:
            # Two sorted places in what is left of the row when both digits are taken out: they never overlap in x.
            second = drawn[3] + (drawn[3] >= drawn[0])
            left, right = sorted((drawn[1], drawn[4]))
            digits += [(drawn[0], left, drawn[2]), (second, right + self.config.digit, drawn[5])]
        taken = sorted(source for source, *_ in digits)
        clutter: list[tuple[int, ...]] = []
        for at in range(3 * self.config.digits, len(drawn), 5):
            source = drawn[at]
            for other in taken:  # the fragments come from other digits
                source += source >= other
            clutter.append((source, *drawn[at + 1 : at + 5]))
        return digits, clutter

    def _draw(self, index: int) -> list[int]:
        """One integer below each range: the top 32 bits of Philox's raw output, scaled.

        Raw bits, because numpy keeps the streams of its bit generators for ever and may change those of Generator's
        methods. Key and counter keep seeds, splits, epochs and examples apart: no two ever share a stream.
        """
        epoch = self.epoch if self.split == "train" else 0
        key = np.array([self.config.seed, list(SPLITS).index(self.split)], dtype=np.uint64)
        counter = np.array([0, index, epoch, 0], dtype=np.uint64)
        raw = np.random.Philox(key=key, counter=counter).random_raw(len(self._ranges))
        drawn: list[int] = (((raw >> np.uint64(32)) * self._ranges) >> np.uint64(32)).tolist()
        return drawn


@cache
def _sprites(side: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The 1,797 digits, upsampled once by Pillow's integer bicubic filter, and what they are."""
    source = load_digits()
    small = (source.images * (255 / 16)).round().astype(np.uint8)
    size = (side, side)
    sprites = np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in small])
    return sprites, source.target.astype(np.int64)
