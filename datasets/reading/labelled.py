"""Images with one label each, and perhaps boxes and parts, as square views of one size."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...harness.errors import DataError
from .images import Box, cut
from .pictures import read_picture
from .records import Part, Record
from .splits import check_split
from .views import central_square, drawn_square, draws, is_mirrored, own_pixels, random_resized, stretched

Example = tuple[dict[str, Tensor], int]


@dataclass(frozen=True)
class View:
    """Which part of a picture is shown, at which size."""

    side: int
    """In pixels, of the square that is shown."""
    box: Callable[[int, int, list[float]], Box]
    """From the picture's width and height, and random numbers that a fixed view ignores. A module's function, so that
    it can be pickled."""
    seed: int | None = None
    """Of the random numbers and of mirroring; None for a view that is always the same."""


def recasens_view(config: Any, split: str) -> View:
    """The views of Recasens et al. 2018, by config's protocol, train_size, test_size and seed.

    Both protocols: in training a random part of the picture, mirrored or not, 800 x 800 (main.py; the paper gives the
    size alone). paper: else the central 512 x 512, taken as of the picture's own pixels. code: else the picture is
    stretched to a square, of which the central 700 of 800 px are shown.
    """
    if split == "train":
        return View(config.train_size, random_resized, seed=config.seed)
    if config.protocol == "paper":
        size = config.test_size or 512
        return View(size, partial(own_pixels, side=size))
    return View(config.test_size or 700, stretched)


def square_view(config: Any, split: str) -> View:
    """The squares that fine-grained sets are usually shown in, by config's train_size, test_size and seed.

    Anywhere and mirrored or not in training, else central.
    """
    if split == "train":
        return View(config.train_size, drawn_square, seed=config.seed)
    return View(config.test_size, central_square)


class LabelledImages(Dataset[Example]):
    """The pictures of one split among all records of a dataset, which lie below root.

    Examples ({"image": uint8 (3, side, side)}, label), and "boxes": float32 (boxes, 4) where the pictures have some.

    Boxes are x0, y0, x1, y1 in pixel edges of the view, clipped to it: one that lies outside has no area. There are
    "parts", float32 (parts, 3), where the pictures have some: x, y and 1, or three zeros for one that is not visible or
    not in the view. In a mirrored view, part k is what was part mirrored_parts[k]: a left wing becomes a right one.
    An example depends on (view, epoch, index) alone; only a view with a seed changes with the epoch. may_be_empty is of
    a validation split of which no example was asked for.

    Raises ValueError for an unknown split and DataError for one without a picture.
    """

    def __init__(
        self,
        dataset: str,
        records: Iterable[Record],
        root: str | None,
        view: View,
        *,
        split: str,
        orient: bool = True,
        mirrored_parts: Sequence[int] = (),
        may_be_empty: bool = False,
    ) -> None:
        check_split(split, dataset=dataset)
        self.pictures = [record for record in records if record.split == split]
        self.folder = Path(root or "")
        if not self.pictures and not (may_be_empty and split == "validation"):
            raise DataError(f"{dataset} in {self.folder} has no picture for the {split} split. Is it unpacked whole?")
        self.view = view
        self.split = split
        self.orient = orient
        self.mirrored_parts = mirrored_parts
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def set_epoch(self, epoch: int) -> None:
        """Draw new views from now on, where they are drawn."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)} in the {self.split} split")
        picture, view = self.pictures[index], self.view
        image = read_picture(self.folder, picture.path, index=index, orient=self.orient)
        drawn = [] if view.seed is None else draws(view.seed, epoch=self.epoch, index=index)
        seen = view.box(image.shape[1], image.shape[0], drawn)
        mirrored = bool(drawn) and is_mirrored(drawn)
        tensors = {"image": cut(image, seen, view.side, mirrored=mirrored)}
        if picture.boxes:
            boxes = [_inside(box, seen, view.side, mirrored=mirrored) for box in picture.boxes]
            tensors["boxes"] = torch.tensor(boxes, dtype=torch.float32).clamp(0, view.side)
        if picture.parts:
            parts = [picture.parts[at] for at in self.mirrored_parts] if mirrored else picture.parts
            tensors["parts"] = torch.tensor([_shown(part, seen, view.side, mirrored=mirrored) for part in parts])
        assert picture.label is not None
        return tensors, picture.label


def _inside(box: Box, seen: Box, side: int, *, mirrored: bool) -> Box:
    """A box of the picture in pixels of the view."""
    across, down = side / (seen[2] - seen[0]), side / (seen[3] - seen[1])
    x0, x1 = ((x - seen[0]) * across for x in (box[0], box[2]))
    y0, y1 = ((y - seen[1]) * down for y in (box[1], box[3]))
    return (side - x1, y0, side - x0, y1) if mirrored else (x0, y0, x1, y1)


def _shown(part: Part, seen: Box, side: int, *, mirrored: bool) -> tuple[float, float, float]:
    """A part of the picture in pixels of the view, or three zeros."""
    x, y, _, _ = _inside((part.x, part.y, part.x, part.y), seen, side, mirrored=mirrored)
    return (x, y, 1.0) if part.visible and 0 <= x <= side and 0 <= y <= side else (0.0, 0.0, 0.0)
