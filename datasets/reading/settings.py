"""Checks that the settings of several datasets share. No torch here: a Config is made where there is none."""

from typing import Any


def check_settings(config: Any, *at_least_one: str) -> None:
    """Raise ValueError for a setting of these that is below 1, and for a seed that is no seed; None is left alone."""
    for name in at_least_one:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1")
    if not 0 <= config.seed < 2**63:
        raise ValueError(f"seed is {config.seed}: it must be between 0 and 2**63 - 1")
