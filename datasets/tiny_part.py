"""Tiny part: a large bird-like body in any pose, whose class is the one digit on its head.

Fine-grained recognition in miniature: the body fills a third of the frame, its pose, shape, stripes and shades say
nothing of the class, and all that does is a real handwritten digit a hundredth of the frame's area large.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..harness.tasks import Classification
from .reading.drawing import DIGITS, Drawn, Grey, channels, labels, sprite
from .reading.settings import check_settings

INPUTS = ("image", "boxes")
TERMS = {
    "access": "embedded",
    "homepage": "https://archive.ics.uci.edu/dataset/80",
    "terms": "CC BY 4.0: share and adapt, with the authors named. The digits come inside scikit-learn (BSD-3-Clause).",
    "citation": "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
}
BODIES = 64  # shapes of a body; mirrored and turned by a right angle each has eight poses
GROUND, DARK, LIGHT, HEAD = 0, 1, 2, 3  # what a pixel of a body's picture shows

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class Config:
    """How small the part is.

    What is left of it after uniform resizing to a task network of t pixels is r = digit * t / canvas pixels: 2 with the
    default and t = 16.
    """

    canvas: int = 128  # px, side of the image
    digit: int = 16  # px, side of the digit; the head around it is half as wide again, and 2 px
    train_examples: int = 4096  # an epoch; the next epoch draws new ones
    validation_examples: int = 512
    test_examples: int = 2000
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be drawn."""
        if self.digit < 8:
            raise ValueError(f"digit is {self.digit} px: the source digits have 8, so at least 8 is needed")
        if 4 * self.digit > self.canvas:
            raise ValueError(
                f"a body whose head carries a digit of {self.digit} px does not fit a canvas of {self.canvas} px: "
                "four digits a side are needed"
            )
        check_settings(self, "train_examples", "validation_examples", "test_examples")


def task(config: Config) -> Classification:
    """Which digit is on the head."""
    return Classification(classes=10)


def build(config: Config, root: object, split: str, image_size: int) -> "TinyPart":
    """The examples of a split, at the canvas' own resolution: root and image_size are not needed.

    Raises ValueError for an unknown split.
    """
    return TinyPart(config, split)


class TinyPart(Drawn):
    """Examples ({"image": uint8 (3, canvas, canvas), "boxes": float32 (1, 4)}, class).

    The box is the digit's, x0, y0, x1, y1 in pixel edges. The three channels share one memory; copy the image before
    writing to it.
    """

    def __init__(self, config: Config, split: str) -> None:
        super().__init__("tiny_part", config, split)
        self.first, end = DIGITS[split]
        # Source, body, three ways to turn it, place, shades of ground and body, what its stripes are
        # lighter by, and the head's shade. Starker stripes outshine the digit: no method then learns where to look.
        ranges = [end - self.first, BODIES, 2, 2, 2, 2**16, 2**16, 120, 60, 40, 40]
        self._ranges = np.array(ranges, dtype=np.uint64)

    def source(self, index: int) -> int:
        """Position in `load_digits` of the digit that an example shows."""
        return self.first + self.integers(index, self._ranges)[0]

    def __getitem__(self, index: int) -> Example:
        source, which, upside, aside, across, x, y, *shades = self.integers(index, self._ranges)
        side, digit = self.config.canvas, self.config.digit
        source += self.first
        picture, head_x, head_y = _body(which, canvas=side, digit=digit)
        ground, dark, stripes, head = shades[0] + 20, shades[1] + 60, shades[2] + 15, shades[3]
        shape = picture.shape
        body = np.frombuffer(
            picture.tobytes().translate(bytes((ground, dark, dark + stripes, head)) + bytes(252)), np.uint8
        )
        body = body.reshape(shape)
        if upside:
            body, head_y = body[::-1], shape[0] - 1 - head_y
        if aside:
            body, head_x = body[:, ::-1], shape[1] - 1 - head_x
        if across:
            body, head_x, head_y = body.T, head_y, head_x
        rows, columns = body.shape
        y, x = y * (side - rows + 1) >> 16, x * (side - columns + 1) >> 16
        canvas = np.full((side, side), ground, dtype=np.uint8)
        canvas[y : y + rows, x : x + columns] = body
        x, y = x + head_x - digit // 2, y + head_y - digit // 2
        place = canvas[y : y + digit, x : x + digit]
        np.maximum(place, sprite(source, digit), out=place)
        boxes: Float32[Tensor, "1 4"] = torch.from_numpy(np.array([(x, y, x + digit, y + digit)], dtype=np.float32))
        return {"image": channels(canvas), "boxes": boxes}, labels()[source]


class Body(NamedTuple):
    """A body with its head to the right, turned by up to an eighth of a circle; what each pixel is of."""

    picture: Grey
    head_x: int
    head_y: int


@lru_cache(maxsize=BODIES)
def _body(which: int, *, canvas: int, digit: int) -> Body:
    """One of the bodies, in whole half pixels throughout, so that no platform rounds it otherwise."""
    shape, turn = divmod(which, 8)
    # In half pixels, half the body's length and the head's radius, which the digit's corners do not reach.
    length, head = canvas * (24 + shape) // 50, 3 * digit // 2 + 2
    width = length * (40 + 5 * (3 * shape % 8)) // 100
    stripe = max(1, canvas * (3 + 5 * shape % 8) // 50)
    # Cosine and sine of up to an eighth of a circle, times 2**12, from the tangent of half the angle.
    tangent = 53 * (2 * turn + 1)
    squared = 2048**2 + tangent**2
    cosine, sine = (2048**2 - tangent**2 << 12) // squared, (2 * 2048 * tangent << 12) // squared
    head_x, head_y = length * cosine >> 12, length * sine >> 12
    middle = (length + head) // 2 + 2
    dx = 2 * np.arange(-middle, middle + 1)
    dy = dx[:, None]
    along, aside = (dx * cosine + dy * sine) >> 12, (dy * cosine - dx * sine) >> 12
    picture = np.where((along * width) ** 2 + (aside * length) ** 2 <= (length * width) ** 2, DARK, GROUND)
    picture[(picture == DARK) & (along // stripe % 2 == 1)] = LIGHT
    picture[(dx - head_x) ** 2 + (dy - head_y) ** 2 <= head**2] = HEAD
    rows, columns = (np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0))
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    return Body(cut, head_x // 2 + middle - int(columns[0]), head_y // 2 + middle - int(rows[0]))
