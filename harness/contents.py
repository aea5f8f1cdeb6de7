"""What a data set on this machine holds, told by its index files: the part of a trial's id that stands for the data."""

import json
from functools import cache
from typing import Any

from . import lookup
from .errors import ZoombenchError


def content(name: str, config: dict[str, Any], root: str | None) -> str | None:
    """The fingerprint of a data set under root; None for one that declares none, and where its index cannot be read.

    Read once in a process: a file that changes meanwhile is found by the next one.
    """
    return _content(name, json.dumps(config, sort_keys=True), root)


def is_told(name: str) -> bool:
    """Whether a data set is told by its content, which is then part of its trials' ids."""
    return lookup.declaration("dataset", name).content is not None


@cache
def _content(name: str, config: str, root: str | None) -> str | None:
    declared = lookup.declaration("dataset", name)
    if declared.content is None or root is None:
        return None
    try:
        return declared.content(declared.config(**json.loads(config)), root)
    except (OSError, ZoombenchError):
        return None
