"""Pyramid TIFFs: pictures too large to be decoded whole, in tiles and halved sizes, of which only what is seen is read.

Level 0 is the picture; each level after it halves both sides, every pixel the rounded mean of four. libvips does the
reading and the writing (`pip install 'zoombench[large]'`); it is imported where a pyramid is first opened, so in a
loader's own process. One way to the pixels for all levels: nothing here turns a picture or manages its colours, as
libvips' thumbnails would, so a pyramid that would need it is refused.
"""

import os
import struct
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ...harness.errors import BadFile, DataError
from .images import Box, Pixels, enclosing, stretch

TILE = 256
"""Pixels a side."""
SUBFILE_TYPE, TILE_WIDTH, REDUCED = 254, 322, 1
ENOUGH = 2
"""Pixels of a level for each one of a view along an axis, at least: the filter then still has what it averages."""


class Pyramid:
    """A pyramid TIFF that is open. Raises BadFile for one that is not upright 8-bit RGB, each level half of the last.

    Views are as of the whole picture: the same pixels at level 0 if it is stored without loss, and at a coarser level
    (where a view has at most half of its pixels) as close as rounded means of 2 x 2 are to what they stand for.
    """

    def __init__(self, path: Path, *, index: int | None = None) -> None:
        self.path = path
        self.index = index
        first = self._open(0)
        count = first.get("n-pages") if first.get_typeof("n-pages") else 1
        self.levels = [first, *(self._open(level) for level in range(1, count))]
        self.shape = (first.height, first.width, 3)
        turned = first.get("orientation") if first.get_typeof("orientation") else 1
        halves = [(first.width >> level, first.height >> level) for level in range(count)]
        if (first.format, first.bands, turned) != ("uchar", 3, 1) or halves != [
            (level.width, level.height) for level in self.levels
        ]:
            raise self._bad(
                f"it has {first.bands} bands of {first.format}, orientation {turned} and levels of "
                f"{', '.join(f'{level.width} x {level.height}' for level in self.levels)} px; expected upright 8-bit "
                "RGB, each level half of the last. datasets/reading/pyramid.py's write makes such a file"
            )

    def part(self, level: int, left: int, top: int, right: int, bottom: int) -> Pixels:
        """These pixels of a level; zeros outside. What halving left over at the far edges repeats the last pixel."""
        height, width = (-(-side // 2**level) for side in self.shape[:2])
        image = self.levels[level]
        out = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(right, width), min(bottom, height)
        if x0 >= x1 or y0 >= y1:
            return out
        from_x, from_y = min(x0, image.width - 1), min(y0, image.height - 1)
        wide, tall = max(1, min(x1, image.width) - from_x), max(1, min(y1, image.height) - from_y)
        try:
            content = _vips().Region.new(image).fetch(from_x, from_y, wide, tall)
        except _vips().Error as error:
            raise self._bad(error) from error
        read = np.frombuffer(content, dtype=np.uint8).reshape(tall, wide, 3)
        rows = (np.arange(y0, y1) - from_y).clip(max=tall - 1)
        columns = (np.arange(x0, x1) - from_x).clip(max=wide - 1)
        out[y0 - top : y1 - top, x0 - left : x1 - left] = (
            read if (len(rows), len(columns)) == (tall, wide) else read[rows][:, columns]
        )
        return out

    def cut(self, box: Box, side: int, *, mirrored: bool = False) -> UInt8[Tensor, "3 side side"]:
        """What a box of the picture holds, as images.cut gives it, from the coarsest level that has enough pixels."""
        level = self._level(min(box[2] - box[0], box[3] - box[1]) / side)
        scaled = tuple(edge / 2**level for edge in box)
        within = (scaled[0], scaled[1], scaled[2], scaled[3])
        return stretch(self.part(level, *enclosing(within)), within, side, mirrored=mirrored)

    def overview(self, longest: int) -> Pixels:
        """The picture with its longer side at most so many pixels, each the mean of its area.

        From a coarser level, and by Pillow's box filter, which counts a pixel on an edge wholly or not at all: along a
        sharp edge it may be off by a tenth of it.
        """
        height, width = self.shape[:2]
        shrunk = max(1.0, max(height, width) / longest)
        level = self._level(shrunk)
        rows, columns = height / 2**level, width / 2**level
        part = Image.fromarray(self.part(level, 0, 0, -int(-columns // 1), -int(-rows // 1)))
        size = (max(1, round(width / shrunk)), max(1, round(height / shrunk)))
        return np.asarray(part.resize(size, Image.Resampling.BOX, box=(0, 0, columns, rows)))

    def sample(self, grid: Float[np.ndarray, "height width 2"]) -> Float[np.ndarray, "3 height width"]:
        """The picture at every point of a sampling grid, in [0, 1]: resample of it, from the tiles that the grid reads.

        (x, y); -1 and 1 are the centres of the corner pixels; beyond them the border repeats.
        """
        rows, columns = self.shape[:2]
        x, y = (
            ((grid[..., axis] + grid.dtype.type(1)) * grid.dtype.type((side - 1) / 2)).clip(0, side - 1)
            for axis, side in ((0, columns), (1, rows))
        )
        left, top = (place.astype(np.int64).clip(0, max(0, side - 2)) for place, side in ((x, columns), (y, rows)))
        corners = np.empty((*left.shape, 2, 2, 3), dtype=grid.dtype)
        tiles = top // TILE * (columns // TILE + 1) + left // TILE
        for tile in np.unique(tiles):
            here = tiles == tile
            x0, y0 = int(left[here].min()), int(top[here].min())
            x1, y1 = min(columns, int(left[here].max()) + 2), min(rows, int(top[here].max()) + 2)
            pixels = self.part(0, x0, y0, x1, y1)
            for down in (0, 1):
                for across in (0, 1):
                    at_y, at_x = (top[here] - y0 + down).clip(max=y1 - y0 - 1), left[here] - x0 + across
                    corners[here, down, across] = pixels[at_y, at_x.clip(max=x1 - x0 - 1)]
        right, below = (x - left)[..., None], (y - top)[..., None]
        upper, lower = (corners[..., down, 0, :] * (1 - right) + corners[..., down, 1, :] * right for down in (0, 1))
        read: np.ndarray = (upper * (1 - below) + lower * below) / 255
        return read.transpose(2, 0, 1).astype(grid.dtype)

    def _level(self, shrunk: float) -> int:
        """The coarsest level at which ENOUGH pixels are left of a picture that shrinks so many times."""
        return max(level for level in range(len(self.levels)) if level == 0 or shrunk / 2**level >= ENOUGH)

    def _open(self, level: int) -> Any:
        try:
            return _vips().Image.new_from_file(str(self.path), page=level, access="random", fail_on="truncated")
        except _vips().Error as error:
            raise self._bad(error) from error

    def _bad(self, why: object) -> BadFile:
        example = "" if self.index is None else f", example {self.index}"
        return BadFile(f"{self.path}{example}: not readable as a pyramid TIFF: {str(why).strip()}.")


def is_pyramid(path: Path) -> bool:
    """Whether a file, by whatever name, is a TIFF in tiles whose second picture is a reduced first one."""
    try:
        with path.open("rb") as stream:
            return _is_pyramid(stream)
    except (OSError, struct.error):
        return False  # whoever reads it says what is wrong with it


def write(
    pixels: Pixels, path: Path, *, compression: Literal["none", "deflate", "jpeg"] = "deflate", quality: int = 90
) -> None:
    """A pyramid TIFF of a picture, such as load_rgb gives; the file appears when it is whole.

    jpeg is smaller and loses some; quality is its alone.
    """
    height, width = pixels.shape[:2]
    content = np.ascontiguousarray(pixels)
    image = _vips().Image.new_from_memory(content.data, width, height, 3, "uchar").copy(interpretation="srgb")
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.tiffsave(
            str(draft),
            tile=True,
            pyramid=True,
            tile_width=TILE,
            tile_height=TILE,
            region_shrink="mean",
            compression=compression,
            Q=quality,
            bigtiff=height * width * 4 > 2**31,
        )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _vips() -> Any:
    os.environ.setdefault("VIPS_CONCURRENCY", "1")  # a thread for each loader's process; read when libvips starts
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise DataError(
            f"a pyramid TIFF is read and written by libvips, which is not there ({error}). Install it with "
            "zoombench's extra: pip install 'zoombench[large]'."
        ) from error
    pyvips.cache_set_max(0)
    return pyvips


def _is_pyramid(stream: BinaryIO) -> bool:
    """TIFF 6.0, section 2, and BigTIFF, whose numbers are 8 bytes long."""
    order = {b"II": "<", b"MM": ">"}.get(stream.read(2))
    if order is None:
        return False
    version = struct.unpack(f"{order}H", stream.read(2))[0]
    if version == 43:
        stream.seek(8)
        offset, count, entry, number = "Q", "Q", 20, 8
    elif version == 42:
        offset, count, entry, number = "I", "H", 12, 4
    else:
        return False

    def tags() -> dict[int, int]:
        """Tag and the first two bytes of its value, of the picture that the stream stands before; then the next."""
        stream.seek(struct.unpack(f"{order}{offset}", stream.read(number))[0])
        entries = struct.unpack(f"{order}{count}", stream.read(struct.calcsize(count)))[0]
        content = stream.read(entries * entry)
        kinds = [struct.unpack_from(f"{order}HH", content, at) for at in range(0, len(content), entry)]
        return {
            tag: struct.unpack_from(order + ("H" if kind == 3 else "I"), content, at * entry + entry - number)[0]
            for at, (tag, kind) in enumerate(kinds)
        }

    if TILE_WIDTH not in tags():
        return False
    here = stream.tell()
    follows = struct.unpack(f"{order}{offset}", stream.read(number))[0]
    stream.seek(here)
    return follows != 0 and bool(tags().get(SUBFILE_TYPE, 0) & REDUCED)
