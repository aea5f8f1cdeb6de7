"""Weights that a trial starts from: checkpoint files by path, told by their content.

A setting that holds weights is called `weights` or ends in `_weights`; its value is one of torchvision's names, the
path of a checkpoint, or None.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from .task_networks import names_a_file


def holds(setting: str, value: Any) -> bool:
    """Whether a setting holds the path of a checkpoint."""
    named = setting == "weights" or setting.endswith("_weights")
    return named and isinstance(value, str) and names_a_file(value)


def content_hash(path: str) -> str:
    """`sha256:` and the hash of a file's content; read again only where size or time of change differ."""
    status = Path(path).stat()
    return _content_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _content_hash(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
