"""Splits of a dataset: their names, and a validation split for sets that come without one."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeVar

SPLITS = ("train", "validation", "test")

Key = TypeVar("Key", bound=Hashable)


def check_split(split: str, *, dataset: str) -> None:
    """Raise ValueError for a name that is no split."""
    if split not in SPLITS:
        raise ValueError(f"{dataset} has no split {split!r}; it has {', '.join(SPLITS)}.")


def held_out(labels: Mapping[Key, int], *, per_class: int, seed: int) -> set[Key]:
    """So many examples of each class, by the hash of seed and key; a class keeps one at least for training.

    It depends neither on the order of the examples nor on which other examples there are.
    """
    chosen: set[Key] = set()
    for keys in ranked(labels, seed=seed).values():
        chosen.update(keys[: min(per_class, len(keys) - 1)])
    return chosen


def ranked(labels: Mapping[Key, int], *, seed: int) -> dict[int, list[Key]]:
    """The examples of each class, in the order of the hash of seed and key."""
    classes: dict[int, list[Key]] = defaultdict(list)
    for key, label in labels.items():
        classes[label].append(key)
    for keys in classes.values():
        keys.sort(key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return classes
