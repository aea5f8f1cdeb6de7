"""The one door to a picture's pixels: from a cache if there is one, else from its file."""

from functools import cache
from pathlib import Path

from .cache import Store, find, folder_of
from .images import Pixels, load_rgb


def read_picture(root: Path, path: str, *, index: int | None = None, orient: bool = True) -> Pixels:
    """The picture in the file root/path, as load_rgb gives it; the array is read-only.

    A cache is looked for once a process, and only pictures that have not changed since are read from it.
    Raises BadFile with the path and the example's index, and DataError where a cache is damaged.
    """
    store = _opened(folder_of(root, path.split("/")[0]), root)
    held = None if store is None else store.read(path, orient=orient)
    return load_rgb(root / path, index=index, orient=orient) if held is None else held


@cache
def _opened(home: Path, root: Path) -> Store | None:
    return find(root, home.name)
