"""What a sweep tunes: the section `tuning` of its file, and the draws from its space. Imports no torch.

Draw i of a hyper-parameter depends on draw_seed, its name and i, and on nothing else (Gulrajani and Lopez-Paz 2021 draw
so too): another hyper-parameter, method or trial changes no draw, and two methods that share a hyper-parameter try the
same values of it. Draw 0 is what the sweep file says without the section.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

FIRST_SEED = 1000
"""Seeds of tuning trials are counted from here, so that no final trial repeats one."""
DIGITS = 4
"""Significant ones of a drawn number: short to read, and the same where logarithms differ in the last bit."""


class Distribution(BaseModel):
    """What the values of one hyper-parameter are drawn from: exactly one of these four."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    choices: list[Any] | None = None
    uniform: list[float] | None = None
    log_uniform: list[float] | None = None
    integer: list[int] | None = None
    """Both ends belong to it."""

    @model_validator(mode="after")
    def _is_one_range(self) -> "Distribution":
        given = [getattr(self, name) for name in Distribution.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(Distribution.model_fields)}")
        if self.choices is not None:
            if len(self.choices) < 2:
                raise ValueError("expected two choices or more")
        elif len(given[0]) != 2 or not given[0][0] < given[0][1]:
            raise ValueError("expected two numbers, the lower one first")
        elif self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError("the ends of log_uniform are above 0")
        return self

    def at(self, share: float) -> Any:
        """The value below which a share of the distribution lies, 0 <= share < 1."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.integer:
            least, most = self.integer
            return least + int(share * (most - least + 1))
        low, high = self.uniform or self.log_uniform or (0.0, 1.0)
        value = low + share * (high - low) if self.uniform else low * (high / low) ** share
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)

    def draw(self, name: str, number: int, draw_seed: int) -> Any:
        """Draw `number` (from 1 on) of the hyper-parameter of this name."""
        digest = hashlib.sha256(json.dumps([draw_seed, name, number]).encode()).digest()
        return self.at((int.from_bytes(digest[:8], "big") >> 11) / 2**53)


class Tuning(BaseModel):
    """How each method looks for its settings, on the validation split, before its final trials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(ge=2)
    """Configurations that every method tries on every dataset and budget; the first is the sweep file's own."""
    seeds: int = Field(default=1, ge=1)
    """Trials of each configuration; their mean decides."""
    draw_seed: int = Field(default=0, ge=0)
    """Another one draws other configurations."""
    space: dict[str, dict[str, Any]] = Field(min_length=1)
    """`training.X: DISTRIBUTION` for all methods, and by method label `{SETTING: DISTRIBUTION}` for one."""

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds of tuning trials."""
        return list(range(FIRST_SEED, FIRST_SEED + self.seeds))
