"""What a dataset on disk holds, picture by picture, before any is opened."""

from collections.abc import Iterable
from typing import NamedTuple

from .images import Box
from .splits import held_out


class Part(NamedTuple):
    """A place in the picture as it is stored; (0, 0) if it is not visible."""

    x: float
    y: float
    visible: bool


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
    parts: tuple[Part, ...] = ()
    """Where each part of what is shown is, all of them in one order for every picture."""


def carved(records: Iterable[Record], *, per_class: int, seed: int) -> list[Record]:
    """The same pictures in the same order, with a validation split held out of the training split."""
    pictures = list(records)
    labels = {record.key: record.label for record in pictures if record.split == "train" and record.label is not None}
    validation = held_out(labels, per_class=per_class, seed=seed)
    return [
        record._replace(split="validation") if record.split == "train" and record.key in validation else record
        for record in pictures
    ]
