"""The one door to a picture's pixels: from a cache if there is one, else from its file."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .cache import OVERVIEW, Store, find
from .images import Pixels, load_overview, load_rgb
from .pyramid import Pyramid, is_pyramid


def read_picture(root: Path, path: str, *, index: int | None = None, orient: bool = True) -> Pixels | Pyramid:
    """The picture in the file root/path, as load_rgb gives it, read-only; of a pyramid TIFF nothing is decoded yet.

    A cache is looked for once a process, and only pictures that have not changed since are read from it.
    Raises BadFile with the path and the example's index, and DataError where a cache is damaged or libvips missing.
    """
    store = _store(root, path.split("/")[0])
    held = None if store is None else store.read(path, orient=orient)
    if held is not None:
        return held
    if is_pyramid(root / path):
        return Pyramid(root / path, index=index)
    return load_rgb(root / path, index=index, orient=orient)


def read_overview(root: Path, path: str, longest: int, *, orient: bool = True) -> Pixels:
    """The picture with its longer side at most so many pixels, from where that costs least; see load_overview."""
    store = _store(root, path.split("/")[0])
    held = None if store is None or longest > OVERVIEW else store.overview(path, orient=orient)
    if held is not None:
        shrunk = max(1, max(held.shape) / longest)
        size = (max(1, round(held.shape[1] / shrunk)), max(1, round(held.shape[0] / shrunk)))
        return np.asarray(Image.fromarray(held).resize(size, Image.Resampling.BOX))
    if is_pyramid(root / path):
        return Pyramid(root / path).overview(longest)
    return load_overview(root / path, longest, orient=orient)


@cache
def _store(root: Path, of: str) -> Store | None:
    return find(root, of)
