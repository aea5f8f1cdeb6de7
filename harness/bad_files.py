"""Going on without pictures that cannot be read: `data.on_bad_file: skip`.

In training the next example that can be read takes such a one's place. A score is of the examples that could be read:
the others are left out of it, and `n_test` is what is left. Which these are lies in the files alone, so it is the same
for every method and every seed, and predictions still pair by their number. Each one is counted and named, and above
LIMIT of a split the trial is refused, as its numbers would be of another data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from .errors import BadFile, DataError

LIMIT = 0.001
"""Share of a split's examples."""


class Skipping(Dataset[Any]):
    """Examples of a split with whether each is the one that was asked for: (tensors, target, is the one)."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Any, Any, bool]:
        count = len(self)
        found: list[BadFile] = []
        while len(found) <= max(1, LIMIT * count):
            try:
                tensors, target = self.examples[(index + len(found)) % count]
            except BadFile as error:
                found.append(error)
            else:
                return tensors, target, not found
        raise found[0]  # more in a row than may be bad of all


@dataclass
class Skipped:
    """The examples of each split that could not be read, and why."""

    reasons: dict[str, dict[int, str]] = field(default_factory=dict)

    def note(self, split: str, index: int, examples: Any) -> None:
        """Count an example once. Raises DataError where there are too many of its split."""
        bad = self.reasons.setdefault(split, {})
        if index in bad:
            return
        try:
            examples[index]
            bad[index] = f"example {index} of {split}: not readable at first, readable now"
        except BadFile as error:
            bad[index] = str(error)
        self.check(split, examples)

    def check(self, split: str, examples: Any) -> None:
        """Raise DataError where there are too many of a split."""
        bad = self.reasons.get(split, {})
        if len(bad) > LIMIT * len(examples):
            raise DataError(
                f"{len(bad)} of {len(examples)} {split} examples cannot be read, above {LIMIT:.1%}, the most that "
                "data.on_bad_file: skip leaves out, as scores would be of another data set. `zoombench data check "
                f"--decode` lists all such files. The first: {next(iter(bad.values()))}"
            )

    @classmethod
    def joined(cls, parts: Sequence["Skipped"]) -> "Skipped":
        """What several processes of a trial found, each in its share."""
        reasons: dict[str, dict[int, str]] = {}
        for part in parts:
            for split, bad in part.reasons.items():
                reasons.setdefault(split, {}).update(bad)
        return cls(reasons)

    @property
    def count(self) -> int:
        """Examples of all splits."""
        return sum(len(bad) for bad in self.reasons.values())

    @property
    def named(self) -> list[str]:
        """Why, of each, split by split."""
        return [why for bad in self.reasons.values() for _, why in sorted(bad.items())]
