"""Weights that a trial starts from: checkpoint files by path, told by their content.

A setting that holds weights is called `weights` or ends in `_weights`; its value is one of torchvision's names, the
path of a checkpoint, or None.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import lookup
from .errors import UsageError, WeightsError
from .task_networks import names_a_file

if TYPE_CHECKING:
    from .spec import TrialSpec


def holds(setting: str, value: Any) -> bool:
    """Whether a setting holds the path of a checkpoint."""
    return names_weights(setting, value) and names_a_file(value)


def names_weights(setting: str, value: Any) -> bool:
    """Whether a setting holds weights, by name or by path."""
    return (setting == "weights" or setting.endswith("_weights")) and isinstance(value, str)


def content_hash(path: str) -> str:
    """`sha256:` and the hash of a file's content; read again only where size or time of change differ."""
    status = Path(path).stat()
    return _content_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _content_hash(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def refuse_unfit(trials: Iterable["TrialSpec"]) -> None:
    """Build every method once, so that settings and weights that cannot work are said before a start.

    Weights of torchvision's are downloaded by torchvision here, if they are not there. Raises UsageError for what a
    user can mend; a method that fails otherwise ends its own trials, and not the sweep.
    """
    different = {(trial.method.label, trial.dataset.label, trial.budget_label): trial for trial in trials}
    for trial in different.values():
        try:
            module = lookup.load("method", trial.method.name)
            module.build(module.Config(**trial.method.config), trial.task, trial.budget)
        except (WeightsError, ValueError) as error:
            raise UsageError(f"{trial.method.label}, {trial.dataset.label}, {trial.budget_label}: {error}") from error
        except Exception:  # noqa: BLE001 - it becomes the error of each of its trials
            continue
