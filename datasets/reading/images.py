"""Read an image file as RGB bytes, or say which file cannot be read and why; take a square view of it.

What a file may be: anything that Pillow opens, in 8 or 16 bits a channel. Nothing is guessed: a file that is cut off,
empty, damaged where the decoder can see it, or larger than Pillow's limit is an error. Bytes that changed inside a
JPEG's scan decode to another picture without an error; only a checksum finds them.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageFile
from torch import Tensor

from ...harness.errors import BadFile

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixel edges."""
Pixels = UInt8[np.ndarray, "height width 3"]

_ORIENTATION = 0x0112
_TO_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}
DECODING = 1
"""Raised when an edit here changes what is decoded, so that caches of before are not used."""


def load_rgb(path: Path, *, index: int | None = None, orient: bool = True) -> Pixels:
    """The picture in a file, of any mode, as RGB; the array is read-only.

    orient turns it as its EXIF orientation says; False is for sets whose boxes are of the picture as stored. A TIFF is
    turned by Pillow on loading whatever orient is, so boxes of one must be of the upright picture.
    Transparency is laid on black. 16-bit grey is divided by 257 and rounded (Pillow's own conversion saturates);
    16-bit colour is its high byte, which is all that Pillow gives and at most one level away.

    Raises BadFile with the path, and the example's index where one is given. Pillow's limit on the number of pixels
    (Image.MAX_IMAGE_PIXELS) is one here, not a warning, and is held to the header: nothing large is decoded.
    """
    pixels, orientation = load_stored(path, index=index)
    return upright(pixels, orientation) if orient else pixels


def load_stored(path: Path, *, index: int | None = None) -> tuple[Pixels, int]:
    """The pixels as they are stored, as load_rgb gives them without orient, and the picture's EXIF orientation."""
    with _opened(path, index) as file:
        return np.asarray(_as_rgb(file)), _orientation(file)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as it is stored, of a TIFF upright; decodes nothing. Raises BadFile."""
    with _opened(path, None) as file:
        return file.height, file.width


def upright(pixels: Pixels, orientation: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """Stored pixels, turned as an EXIF orientation says; one that is unknown turns nothing."""
    turn = _TO_UPRIGHT.get(orientation)
    return pixels if turn is None else turn(pixels)


@contextlib.contextmanager
def _opened(path: Path, index: int | None) -> Iterator[Image.Image]:
    """A file whose header could be read; whatever is raised of it becomes BadFile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # remarks on metadata; what is not readable still raises
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _never_grey_at_the_end(), Image.open(path) as file:
                yield file
    except Exception as error:  # Pillow's decoders raise of many kinds
        example = "" if index is None else f", example {index}"
        raise BadFile(
            f"{path}{example}: not readable as an image: {type(error).__name__}: {error}. Fetch this file again, and "
            "compare its checksum with the distributor's if there is one."
        ) from error


def load_overview(path: Path, longest: int, *, orient: bool = True) -> Pixels:
    """The picture with its longer side at most `longest` pixels, each the mean of its area; raises BadFile.

    A JPEG is decoded at the smallest of its scales that has four pixels for each along a side: a fraction of the time,
    hardly any memory. Its blocks shrink in frequencies, not in pixels, which rings at edges: of two photographs the
    overviews were off by up to 25 levels there, 1 to 1.6 on average. So nothing that is trained on is read like this.
    """
    with _opened(path, None) as file:
        full = file.size
        shrunk = max(1.0, max(full) / longest)
        width, height = (max(1, round(side / shrunk)) for side in full)
        file.draft(None, (4 * width, 4 * height))
        halved = round(full[0] / file.width)  # its last blocks may reach beyond the picture
        box = (0, 0, full[0] / halved, full[1] / halved)
        low = np.asarray(_as_rgb(file).resize((width, height), Image.Resampling.BOX, box=box))
        return upright(low, _orientation(file)) if orient else low


@runtime_checkable
class InParts(Protocol):
    """A picture that is not decoded whole, such as a pyramid."""

    shape: tuple[int, int, int]

    def cut(self, box: Box, side: int, *, mirrored: bool = False) -> UInt8[Tensor, "3 side side"]:
        """As the function of that name."""


def cut(image: Pixels | InParts, box: Box, side: int, *, mirrored: bool = False) -> UInt8[Tensor, "3 side side"]:
    """What a box holds, stretched to a square by one antialiased bilinear filter; zeros where the image has ended."""
    if isinstance(image, InParts):
        return image.cut(box, side, mirrored=mirrored)
    left, top, right, bottom = enclosing(box)
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]  # of a cache no more is read
    part = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
    x, y = max(0, -left), max(0, -top)
    part[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return stretch(part, box, side, mirrored=mirrored)


def enclosing(box: Box) -> tuple[int, int, int, int]:
    """The smallest box of whole pixels around a box."""
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])


def stretch(part: Pixels, box: Box, side: int, *, mirrored: bool) -> UInt8[Tensor, "3 side side"]:
    """A box as a square, from the pixels that `enclosing` it are."""
    left, top = enclosing(box)[:2]
    within = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    view = Image.fromarray(part).resize((side, side), Image.Resampling.BILINEAR, box=within)
    if mirrored:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(view).transpose(2, 0, 1).copy())


@contextlib.contextmanager
def _never_grey_at_the_end() -> Iterator[None]:
    """Whatever another library has set, a file that is cut off is an error and not a picture with a grey rest."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _orientation(image: Image.Image) -> int:
    turned = image.getexif().get(_ORIENTATION, 1)  # metadata that cannot be read turns nothing
    return turned if turned in _TO_UPRIGHT else 1


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its mode is {image.mode}, expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
