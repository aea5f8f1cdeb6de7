"""Which cells of a results table have no score, and why: a table that is not dense says where."""

from dataclasses import dataclass

import pandas as pd

ABSENT = "not in the table"


@dataclass(frozen=True)
class Gap:
    """Seeds of one method, data set, budget and metric that have no score, for one reason."""

    method: str
    dataset: str
    budget: str
    metric: str
    seeds: tuple[int, ...]
    why: str
    """failed, stopped, skipped, missing, or not in the table."""
    whole: bool
    """Whether no seed of this method has a score here: the method then has no place in an aggregate."""

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.seeds[:8])) + (f" and {len(self.seeds) - 8} more" if self.seeds[8:] else "")
        seeds = "every seed" if self.whole else f"{'seed' if len(self.seeds) == 1 else 'seeds'} {numbers}"
        return f"{self.method} on {self.dataset}, {self.budget}, {self.metric}: {seeds} {self.why}"


def absent(table: pd.DataFrame, *, paired: bool = True) -> tuple[Gap, ...]:
    """The gaps that no row speaks of. Unpaired seeds are a method's own: it has a gap only if it has no score."""
    return tuple(gap for gap in gaps(table) if gap.why == ABSENT and (paired or gap.whole))


def gaps(table: pd.DataFrame) -> tuple[Gap, ...]:
    """Every gap of a results table: none, if each method has a score for each seed that any method ran there.

    A row without a metric, of a trial that never got that far, counts for every metric of its data set.
    """
    methods = sorted(table["method"].unique())
    found = []
    for (dataset, budget), rows in table.groupby(["dataset", "budget"], sort=True):
        known = sorted(table.loc[table["dataset"] == dataset, "metric"].dropna().unique()) or ["score"]
        for metric in known:
            part = rows[rows["metric"].isna() | (rows["metric"] == metric)]
            status = part.drop_duplicates(["method", "seed"]).set_index(["method", "seed"])["status"].unstack("seed")
            status = status.reindex(index=methods, columns=sorted(rows["seed"].unique())).fillna(ABSENT)
            for method, line in status.iterrows():
                whole = not (line == "done").any()
                for why in sorted(set(line) - {"done"}):
                    seeds = tuple(int(seed) for seed in line.index[line == why])
                    found.append(Gap(str(method), str(dataset), str(budget), metric, seeds, why, whole))
    return tuple(found)
