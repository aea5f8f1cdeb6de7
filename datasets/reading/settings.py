"""Checks that the settings of several datasets share. No torch here: a Config is made where there is none."""

from collections.abc import Iterable
from typing import Any


def check_settings(config: Any, *at_least_one: str, at_least_zero: Iterable[str] = ()) -> None:
    """Raise ValueError for a setting of these below 1 or 0, and for a seed that is no seed; None is left alone."""
    for least, names in ((1, at_least_one), (0, at_least_zero)):
        for name in names:
            value = getattr(config, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}")
    if not 0 <= config.seed < 2**63:
        raise ValueError(f"seed is {config.seed}: it must be between 0 and 2**63 - 1")
