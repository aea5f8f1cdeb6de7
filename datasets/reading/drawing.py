"""What the drawn datasets share: a torch Dataset around random bits, and small handwritten digits.

All is whole numbers, so that no platform rounds otherwise: the bits are Philox's, the digits are enlarged by Pillow's
integer filter.
"""

import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from .splits import SPLITS, check_split

DIGITS = {"train": (0, 1200), "validation": (1200, 1400), "test": (1400, 1797)}
"""Positions in `load_digits`: no digit is in two splits."""

Grey = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Whole = npt.NDArray[np.int64]

_LOCAL = threading.local()


class Drawn(Dataset[tuple[dict[str, Tensor], Any]]):
    """Examples that are drawn when they are asked for, from (config, split, epoch, index) alone.

    Any worker, process or platform draws the same one. Only the training split changes with the epoch.
    """

    def __init__(self, name: str, config: Any, split: str) -> None:
        check_split(split, dataset=name)
        self.config = config
        self.split = split
        self.epoch = 0

    def __len__(self) -> int:
        examples: int = getattr(self.config, f"{self.split}_examples")
        return examples

    def set_epoch(self, epoch: int) -> None:
        """Draw new training examples from now on; the other splits stay as they are."""
        self.epoch = epoch

    def words(self, index: int, count: int) -> Words:
        """Sixty-four random bits, `count` times: Philox's raw output.

        Raw, because numpy keeps the streams of its bit generators for ever and may change those of Generator's
        methods. Key and counter keep seeds, splits, epochs and examples apart: no two ever share a stream.
        Raises IndexError for an example that the split does not have.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in the {self.split} split")
        try:
            state = _LOCAL.state
        except AttributeError:
            # One generator a thread, put back to a new one's state for each example: making one asks the system for
            # entropy, which takes longer than all the rest.
            _LOCAL.bits = np.random.Philox()
            state = _LOCAL.state = _LOCAL.bits.state
        epoch = self.epoch if self.split == "train" else 0
        state["state"]["key"][:] = self.config.seed, SPLITS.index(self.split)
        state["state"]["counter"][:] = 0, index, epoch, 0
        _LOCAL.bits.state = state
        raw: Words = _LOCAL.bits.random_raw(count)
        return raw

    def integers(self, index: int, ranges: Words) -> list[int]:
        """One integer below each range."""
        drawn: list[int] = self.rows([index], ranges)[0].tolist()
        return drawn

    def rows(self, indices: Sequence[int], ranges: Words) -> Whole:
        """The same of several examples, a row each: the top 32 bits of a word, scaled."""
        raw = np.array([self.words(index, len(ranges)) for index in indices])
        return (((raw >> np.uint64(32)) * ranges) >> np.uint64(32)).astype(np.int64)


@cache
def labels() -> tuple[int, ...]:
    """What the 1,797 digits are, in the order of `load_digits`."""
    return tuple(_source().target.tolist())


@cache
def _source() -> Any:
    from sklearn.datasets import load_digits  # takes a second, and faces have no digits

    return load_digits()


@cache
def _small() -> Grey:
    small: Grey = (_source().images * (255 / 16)).round().astype(np.uint8)
    return small


@lru_cache(maxsize=4096)
def sprite(source: int, side: int) -> Grey:
    """One digit of 8 x 8, upsampled by Pillow's integer bicubic filter; not to be written to."""
    enlarged: Grey = sprites(np.array([source]), side)[source]
    return enlarged


def sprites(sources: Whole, side: int) -> UInt8[np.ndarray, "digits side side"]:
    """The same of every digit, by its position in `load_digits`; black are those that nobody has asked for yet."""
    sheet, known = _sheet(side)
    for source in set(sources[~known[sources]].tolist()):
        sheet[source] = np.asarray(Image.fromarray(_small()[source]).resize((side, side), Image.Resampling.BICUBIC))
        known[source] = True  # last, as another thread may ask
    return sheet


@lru_cache(maxsize=16)
def _sheet(side: int) -> tuple[Grey, npt.NDArray[np.bool_]]:
    """Room for all digits at this size, which takes memory as it is filled, and which of them are drawn."""
    return np.zeros((len(_small()), side, side), dtype=np.uint8), np.zeros(len(_small()), dtype=np.bool_)


def squares(images: UInt8[np.ndarray, "batch rows columns"], side: int) -> UInt8[np.ndarray, "batch y x side side"]:
    """Every square of so many pixels a side, by its upper left corner: to be read, and to be written to."""
    return sliding_window_view(images, (side, side), axis=(1, 2), writeable=True)


def channels(grey: Grey) -> UInt8[Tensor, "*batch 3 rows columns"]:
    """The same grey three times, in one memory: copy it before writing to it."""
    return torch.from_numpy(grey).unsqueeze(-3).expand(*grey.shape[:-2], 3, -1, -1)
