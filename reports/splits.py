"""Train and test examples that are drawn again for each seed: what the table must then say, and what it costs in error.

Such splits overlap, so seeds are not independent and a plain t test finds too much. Where every seed has the same
split, which is how zoombench's own data sets are, none of this applies.
"""

from dataclasses import dataclass
from math import sqrt

import pandas as pd

from ..harness.errors import TableError


@dataclass(frozen=True)
class Splits:
    """A split of its own for each seed. Raises TableError for a split without examples."""

    n_train: int
    n_test: int

    def __post_init__(self) -> None:
        if self.n_train < 1 or self.n_test < 1:
            raise TableError(
                f"found {self.n_train} training and {self.n_test} test examples, expected at least one of each."
            )

    @property
    def ratio(self) -> float:
        """Test examples for each training example."""
        return self.n_test / self.n_train

    def widening(self, n: int) -> float:
        """What the standard error of a mean over n seeds is multiplied with.

        Nadeau and Bengio 2003 put the variance of the mean at s^2 (1/n + n_test/n_train).
        """
        return sqrt(1 + n * self.ratio)


def redrawn(rows: pd.DataFrame, where: str) -> Splits | None:
    """The splits of the finished trials of a data set and budget; None where nothing says that they differ.

    rows have the columns method, status, seed, split_id, n_train and n_test. Of splits of several sizes the one with
    the most test examples for its training counts, which errs towards wide.

    Raises TableError where seeds share some splits and not others, where one seed has several, or where sizes lack.
    """
    done = rows[rows["status"] == "done"]
    named = done["split_id"].notna()
    if done.loc[named, "split_id"].nunique() < 2:
        return None
    if not named.all():
        one = done[~named].iloc[0]
        raise TableError(
            f"found several splits on {where} and none for {one['method']}, seed {one['seed']}; expected a "
            "split_id for every finished trial. Fill it in, or leave the column out if all seeds share one split."
        )
    pairs = done[["seed", "split_id"]].drop_duplicates()
    if pairs["seed"].duplicated().any():
        seed = pairs.loc[pairs["seed"].duplicated(), "seed"].iloc[0]
        listed = ", ".join(sorted(map(str, pairs.loc[pairs["seed"] == seed, "split_id"])))
        raise TableError(
            f"found the splits {listed} for seed {seed} on {where}, expected one that all methods share: equal seeds "
            "are pairs. Give each split a seed of its own, or say --unpaired."
        )
    if pairs["split_id"].duplicated().any():
        raise TableError(
            f"found {len(pairs)} seeds on {pairs['split_id'].nunique()} splits on {where}, expected one split for all "
            "seeds or one for each. Average the seeds of a split first."
        )
    sizes = done[["n_train", "n_test"]]
    if sizes.isna().any(axis=None):
        raise TableError(
            f"found several splits on {where} and not their sizes; expected n_train and n_test for every finished "
            "trial: the corrected resampled t test needs them."
        )
    pairs_of_sizes = {(int(train), int(test)) for train, test in sizes.itertuples(index=False)}
    return Splits(*max(pairs_of_sizes, key=lambda pair: (pair[1] / max(pair[0], 0.5), pair)))
