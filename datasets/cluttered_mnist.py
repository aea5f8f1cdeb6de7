"""Cluttered MNIST: one or two handwritten digits somewhere on a black canvas, perhaps among fragments of others.

Two sources. `idx`: MNIST's own files, from which examples are drawn by the recipe of deepmind/mnist-cluttered (Mnih et
al. 2014): fragments of 8 x 8 px from any digit, then the digits, each added at a place of its own and clipped, so that
all may overlap; digits are dealt from a shuffled pack. Digits and fragments of a split come from its own part of MNIST
(test: the test file; validation: the last sixth of the training file); the original leaves that to who gives the file.
`npz`: the finished pictures of Ramapuram et al. 2019, "Variational Saccading".

Their 2528-px pictures are the 100-px ones enlarged (`upsampled`), so that a uniform view of 100 px loses nothing.
`native` draws digits and fragments at that size instead: what a small view loses is lost.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .cluttered_digits import pair_class
from .reading.arrays import read_fractions, read_idx
from .reading.drawing import Drawn, Grey, channels
from .reading.folders import absent, digest, found, plain_or_packed
from .reading.settings import check_settings
from .reading.splits import SPLITS, check_split

INPUTS = ("image",)
CLASSES = {"digit": 10, "combine": 55, "sum": 19}
FOLDERS = {"digit": "MNIST/raw", "combine": "clutteredmnist2digits120k", "sum": "uncluttered_mnist_2sumdigits_120k"}
FOLDER = "MNIST/raw"
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
NPZ = ("train.npz", "test.npz")
SOURCE = (
    "https://github.com/pytorch/vision/blob/main/torchvision/datasets/mnist.py, which names copies of MNIST's four "
    "files (11 MB packed); packed or not, in MNIST/raw/, where torchvision puts them; CC BY-SA 3.0"
)
SOURCE_NPZ = (
    "https://github.com/jramapuram/variational_saccading, whose authors keep it in a bucket that is not public; "
    "source: idx draws the like from MNIST"
)
TERMS = {
    "access": "open",
    "homepage": "https://github.com/google-deepmind/mnist-cluttered",
    "terms": "MNIST: CC BY-SA 3.0. The npz files of Variational Saccading are not public.",
    "citation": "Mnih et al. 2014, Recurrent Models of Visual Attention, NeurIPS; of MNIST LeCun et al. 1998",
}
EXPECTED: dict[str, int] = {}
TREE = """MNIST/raw/
  train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte (each perhaps .gz)
or, with source: npz:
clutteredmnist2digits120k/train.npz test.npz          answer: combine
uncluttered_mnist_2sumdigits_120k/train.npz test.npz  answer: sum"""

DIGIT = 28  # px
FRAGMENT = 8  # px; DeepMind's

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class Config:
    """What is asked, and how it is drawn.

    The paper's two-digit identification is answer: combine, its sum without clutter answer: sum, both at 100 px, or
    with size: 2528. RAM's and DRAM's single digits are answer: digit at canvas 60 or 100.
    """

    source: Literal["idx", "npz"] = "idx"
    # One digit (10 classes), or of two: `combine`, the unordered pair (55), or `sum` (19).
    answer: Literal["digit", "combine", "sum"] = "combine"
    canvas: int = 100  # px; DeepMind's README
    distractors: int | None = None  # left out: 4 below 100 px (RAM's 60), else 8 (DeepMind's README); none for a sum
    size: int | None = None  # px of the image, if more than the canvas has; the paper: 2528
    scaling: Literal["upsampled", "native"] = "upsampled"  # the paper: upsampled
    train_examples: int = 60000  # an epoch; the next epoch draws new ones. Of an npz: all that validation leaves
    validation_examples: int = 5000  # of an npz: the last of train.npz, whose digits its other pictures show too
    test_examples: int = 10000  # of an npz: all of test.npz
    seed: int = 0  # of the examples; not the trial's seed, so every trial sees the same ones

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be drawn."""
        check_settings(self, "train_examples", "validation_examples", "test_examples")
        if self.canvas < DIGIT:
            raise ValueError(f"canvas is {self.canvas} px: a digit has {DIGIT}")
        if self.distractors is not None and self.distractors < 0:
            raise ValueError(f"distractors is {self.distractors}: it cannot be negative")
        if self.size is not None and self.size < self.canvas:
            raise ValueError(f"size is {self.size} px: it enlarges the canvas, which has {self.canvas}")
        if self.source == "npz" and (self.answer == "digit" or self.scaling == "native" or self.canvas != 100):
            raise ValueError(
                "the npz files hold finished pictures of two digits on 100 px: leave source out for others"
            )


def task(config: Config) -> Classification:
    """Which digit, which unordered pair of digits, or what they add up to."""
    return Classification(classes=CLASSES[config.answer])


def missing(config: Config, root: str | None) -> str | None:
    """What of the source is not there under root, and where it is to be had; None if nothing is missing."""
    if config.source == "npz":
        return absent(root, FOLDERS[config.answer], NPZ, SOURCE_NPZ)
    return absent(root, FOLDER, [f"{name}*" for name in IDX], SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of what the files hold, packed or not."""
    if config.source == "npz":
        return digest(found("cluttered_mnist", root, FOLDERS[config.answer], NPZ, SOURCE_NPZ), files=NPZ)
    folder = found("cluttered_mnist", root, FOLDER, [f"{name}*" for name in IDX], SOURCE)
    return digest(folder, files=[plain_or_packed(folder, name) for name in IDX])


def build(config: Config, root: str | None, split: str, image_size: int) -> "Dataset[Example]":
    """The examples of a split, at the size of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the files are not there or not as they should be.
    """
    check_split(split, dataset="cluttered_mnist")
    if config.source == "npz":
        return Stored(config, found("cluttered_mnist", root, FOLDERS[config.answer], NPZ, SOURCE_NPZ), split)
    return ClutteredMnist(config, found("cluttered_mnist", root, FOLDER, [f"{name}*" for name in IDX], SOURCE), split)


class ClutteredMnist(Drawn):
    """Examples ({"image": uint8 (3, size, size)}, class), drawn from MNIST's files.

    The three channels share one memory; copy the image before writing to it.
    """

    def __init__(self, config: Config, folder: Path, split: str) -> None:
        super().__init__("cluttered_mnist", config, split)
        images, labels = IDX[2:] if split == "test" else IDX[:2]
        self.digits = read_idx(folder / plain_or_packed(folder, images), dimensions=3)
        self.labels = read_idx(folder / plain_or_packed(folder, labels), dimensions=1)
        if len(self.digits) != len(self.labels) or self.digits.shape[1:] != (DIGIT, DIGIT) or self.labels.max() > 9:
            raise DataError(
                f"{folder}: {images} holds {self.digits.shape} and {labels} {self.labels.shape}, up to "
                f"{self.labels.max()}: expected as many digits of {DIGIT} x {DIGIT} as labels, up to 9. Fetch both."
            )
        if split != "test":
            kept = len(self.digits) - len(self.digits) // 6  # 50,000 of 60,000
            part = slice(kept) if split == "train" else slice(kept, None)
            self.digits, self.labels = self.digits[part], self.labels[part]
        self.count = 1 if config.answer == "digit" else 2
        usual = 0 if config.answer == "sum" else 4 if config.canvas < 100 else 8
        distractors = usual if config.distractors is None else config.distractors
        # Everything is drawn on a canvas of so many pixels, of which the source's have so many.
        self.drawn_on = (config.size or config.canvas) if config.scaling == "native" else config.canvas
        self.digit, self.fragment = (round(px * self.drawn_on / config.canvas) for px in (DIGIT, FRAGMENT))
        inside = DIGIT - FRAGMENT + 1
        free, outside = self.drawn_on - self.digit + 1, self.drawn_on - self.fragment + 1
        clutter = [len(self.digits), inside, inside, outside, outside] * distractors
        self._ranges = np.array([free, free] * self.count + clutter, dtype=np.uint64)

    def plan(self, index: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """What is drawn where: digits (source, x, y) and clutter (source, cut_x, cut_y, x, y); sources in the split."""
        drawn = self.integers(index, self._ranges)
        epoch = self.epoch if self.split == "train" else 0
        first = (epoch * len(self) + index) * self.count  # of all digits that were ever dealt
        places, rest = drawn[: 2 * self.count], drawn[2 * self.count :]
        digits = [(self._dealt(first + k), *places[2 * k : 2 * k + 2]) for k in range(self.count)]
        return digits, [tuple(rest[at : at + 5]) for at in range(0, len(rest), 5)]

    def __getitem__(self, index: int) -> Example:
        digits, clutter = self.plan(index)
        canvas = np.zeros((self.drawn_on, self.drawn_on), dtype=np.uint8)
        for source, cut_x, cut_y, x, y in clutter:
            cut = self.digits[source, cut_y : cut_y + FRAGMENT, cut_x : cut_x + FRAGMENT]
            _add(canvas, cut, self.fragment, x, y)
        for source, x, y in digits:
            _add(canvas, self.digits[source], self.digit, x, y)
        size = self.config.size or self.drawn_on
        shown = [int(self.labels[source]) for source, *_ in digits]
        answer = self.config.answer
        target = shown[0] if answer == "digit" else sum(shown) if answer == "sum" else pair_class(*shown)
        return {"image": channels(upsampled(canvas, size))}, target

    def _dealt(self, nth: int) -> int:
        """The nth digit from packs that are shuffled anew whenever one is used up."""
        pack, at = divmod(nth, len(self.digits))
        return int(_shuffled(self.config.seed, SPLITS.index(self.split), pack, len(self.digits))[at])


class Stored(Dataset[Example]):
    """Examples ({"image": uint8 (3, size, size)}, class) from the files of Variational Saccading."""

    def __init__(self, config: Config, folder: Path, split: str) -> None:
        self.split = split
        path = folder / ("test.npz" if split == "test" else "train.npz")
        try:
            with path.open("rb") as file, np.load(file) as content:
                labels = np.asarray(content["labels"]).reshape(-1)
            kept = len(labels) - config.validation_examples
            part = {"train": slice(0, kept), "validation": slice(kept, None), "test": slice(None)}[split]
            if split != "test" and kept < 1:
                raise ValueError(f"{len(labels)} pictures are too few for {config.validation_examples} of validation")
            self.images = read_fractions(path, len(labels))[part]
            self.labels = labels[part].astype(np.int64)
            if not ((self.labels >= 0) & (self.labels < CLASSES[config.answer])).all():
                raise ValueError(f"a label is not between 0 and {CLASSES[config.answer] - 1}")
        except Exception as error:  # what numpy raises for a file that is cut off is of many kinds
            raise DataError(
                f"{path}: expected `data`, fractions (pictures, 1, 100, 100), and `labels`: {type(error).__name__}: "
                f"{error}. Take the file from its owners again, or leave source out to draw from MNIST."
            ) from error
        self.size = config.size or config.canvas

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in the {self.split} split")
        return {"image": channels(upsampled(self.images[index], self.size))}, int(self.labels[index])


def upsampled(grey: Grey, size: int) -> Grey:
    """Bilinear with the corners' centres kept, as `F.interpolate(align_corners=True)`, rounded.

    One multiplication and one addition a step, each rounded by itself, so that every platform gives the same.
    """
    side = len(grey)
    if size == side:
        return grey
    at = np.arange(size) * (side - 1) / (size - 1)
    low = np.minimum(at.astype(np.int64), side - 2)
    share = (at - low).astype(np.float32)
    source = grey.astype(np.float32)
    wide = source[:, low] + (source[:, low + 1] - source[:, low]) * share
    # Many rows lie between the same two: black ones need no arithmetic.
    lit = np.any(wide[:-1] + wide[1:], axis=1)[low]
    image = np.zeros((size, size), dtype=np.uint8)
    above, below = wide[low[lit]], wide[low[lit] + 1]
    image[lit] = above + (below - above) * share[lit, None] + np.float32(0.5)
    return image


def _add(canvas: Grey, sprite: Grey, side: int, x: int, y: int) -> None:
    """Add a sprite, enlarged to a side if need be, and clip."""
    if len(sprite) != side:
        sprite = np.asarray(Image.fromarray(sprite).resize((side, side), Image.Resampling.BICUBIC))
    place = canvas[y : y + side, x : x + side]
    place[:] = np.minimum(place.astype(np.uint16) + sprite, 255)


@lru_cache(maxsize=8)
def _shuffled(seed: int, split: int, pack: int, count: int) -> npt.NDArray[np.int64]:
    """A permutation, from words that no example is drawn from: their counter's last word is 0."""
    generator = np.random.Philox(key=np.array([seed, split], np.uint64), counter=np.array([0, pack, 0, 1], np.uint64))
    order: npt.NDArray[np.int64] = np.argsort(generator.random_raw(count), kind="stable")
    return order
