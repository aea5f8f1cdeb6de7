"""Pictures and labels as torchvision's own readers list them. Nothing is downloaded, and no picture is opened here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...harness.errors import DataError
from .records import Record

THEIRS = {"train": "train", "validation": "val", "test": "test"}
"""Ours to torchvision's."""


def listed(
    reader: Callable[..., Any], root: Path, splits: Sequence[str], *, classes: int, **options: Any
) -> list[Record]:
    """Every picture of these splits in the reader's order; a record's key is its path.

    The reader decodes by `str`, so that its examples are paths and labels. Raises DataError for whatever it raises, and
    where it does not find so many classes: some of them number the classes that they happen to see.
    """
    records = []
    for split in splits:
        try:
            pictures = reader(str(root), split=THEIRS[split], loader=str, download=False, **options)
            examples = [(Path(path).relative_to(root).as_posix(), int(label)) for path, label in pictures]
        except Exception as error:  # what they raise for a file that is cut off or missing is of many kinds
            raise DataError(
                f"{root}: torchvision's {reader.__name__} does not read its {THEIRS[split]} split: "
                f"{type(error).__name__}: {error}. Unpack the set again."
            ) from error
        wrong = [label for _, label in examples if not 0 <= label < classes]
        if len(pictures.classes) != classes or wrong:
            raise DataError(
                f"{root}: torchvision's {reader.__name__} finds {len(pictures.classes)} classes in the {THEIRS[split]} "
                f"split, expected {classes}{f', and labels such as {wrong[0]}' if wrong else ''}. Unpack the set again."
            )
        records += [Record(split, path, label, key=path) for path, label in examples]
    return records
