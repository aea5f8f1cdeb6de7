"""What a dataset on disk holds, picture by picture, before any is opened."""

from typing import NamedTuple

from .images import Box


class Record(NamedTuple):
    """One picture that a split uses."""

    split: str
    path: str
    """Below the data root, with / between the parts."""
    label: int | None = None
    """Counted from 0; None where the answer is no class."""
    size: tuple[int, int] | None = None
    """Width and height as the set's annotation says, where it does."""
    boxes: tuple[Box, ...] = ()
    """In pixels of the picture as it is stored."""
    key: str = ""
    """What the set itself calls the picture."""
