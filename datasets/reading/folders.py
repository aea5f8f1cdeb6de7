"""What lies under a data root, told without opening a picture: what is absent, and a digest of what the set holds.

No torch here: `missing` and `fingerprint` of a dataset's file may use this module, and are run where there is none.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ...harness.errors import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""Ends of the names that count as pictures, in small letters; anything else in a folder of pictures is stray."""


def absent(root: str | None, folder: str, files: Iterable[str], source: str) -> str | None:
    """Which of these files (or patterns such as */info.json) root/folder lacks, and where the set is to be had.

    None if nothing is absent.
    """
    if root is None:
        return f"no folder of datasets is named, the one that holds {folder}/. It comes from {source}."
    here = Path(root) / folder
    lacking = [name for name in files if not any(here.glob(name))]
    return f"{here} has no {', '.join(lacking)}. It comes from {source}." if lacking else None


def found(dataset: str, root: str | None, folder: str, files: Iterable[str], source: str) -> Path:
    """root/folder; raises DataError with what `absent` says."""
    lacking = absent(root, folder, files, source)
    if lacking or root is None:
        raise DataError(f"{dataset}: {lacking}")
    return Path(root) / folder


def picture_names(folder: Path) -> list[str]:
    """Every picture below a folder, sorted, with / between the parts; hidden files are not pictures."""
    return sorted(
        f"{Path(here).relative_to(folder).as_posix()}/{name}".removeprefix("./")
        for here, _, files in os.walk(folder, followlinks=True)
        for name in files
        if name.lower().endswith(PICTURES) and not name.startswith(".")
    )


def digest_of_files(folder: Path, names: Iterable[str]) -> str:
    """Sixteen hex digits of what these files are called and hold, in whatever order they are named."""
    content = hashlib.sha256()
    for name in sorted(names):
        held = (folder / name).read_bytes()
        content.update(f"{name}\0{len(held)}\0".encode() + held)
    return content.hexdigest()[:16]


def digest_of_names(folder: Path) -> str:
    """Sixteen hex digits of the names of the pictures below a folder: another picture, class or name changes them."""
    return hashlib.sha256("\n".join(picture_names(folder)).encode()).hexdigest()[:16]
