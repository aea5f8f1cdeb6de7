"""Results of several machines or people become one table: the same trial twice is compared, nobody wins by chance."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from .table import KEY, check, ordered, outcomes

COMPARED = ("trial_id", "status", "error_class", "value", "unit", "higher_is_better", "n_test", "competes")
"""What two records of one trial must agree on. Costs, devices, commits and times may differ between machines."""


@dataclass(frozen=True)
class Conflict:
    """One score that two tables tell differently."""

    key: tuple[str, ...]
    """Method, data set, budget, seed, metric and purpose, and of a tuning trial the draw."""
    column: str
    found: tuple[tuple[str, str], ...]
    """What each table says, with its name."""

    def __str__(self) -> str:
        method, dataset, budget, seed, metric, purpose, draw = self.key
        seed += f", draw {draw}" if purpose == "tuning" else ""
        told = ", ".join(f"{cell} in {source}" for source, cell in self.found)
        return f"{method} on {dataset}, {budget}, seed {seed}, {metric}: {self.column} is {told}"


def merge(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, tuple[Conflict, ...]]:
    """Every score once, in the same order whichever table comes first; and the conflicts, whose scores are left out.

    A trial that is missing, was stopped or ended for reasons outside the method in one table gives way to its result in
    another. Two results that agree are kept once, the one that started first. Raises TableError where the tables break
    a rule of the results table, together or alone.
    """
    parts = []
    for source, part in tables.items():
        check(part)
        parts.append(part.assign(source=source))
    if not parts:
        raise ValueError("merge needs a table")
    rows = pd.concat(parts, ignore_index=True)
    twice = rows.duplicated(list(KEY), keep=False)
    kept, conflicts = [rows[~twice]], []
    for key, group in rows[twice].groupby(list(KEY), sort=True, dropna=False):
        best, conflict = _resolved(tuple(map(str, key)), group)
        conflicts += [conflict] if conflict else []
        kept += [best] if best is not None else []
    table = ordered(
        pd.concat(kept, ignore_index=True).drop(columns="source").astype(dict(parts[0].dtypes.drop("source")))
    )
    check(table)
    return table, tuple(conflicts)


def _resolved(key: tuple[str, ...], group: pd.DataFrame) -> tuple[pd.DataFrame | None, Conflict | None]:
    weight = [_weight(status, result) for status, result in zip(group["status"], outcomes(group), strict=True)]
    told = group[[one == max(weight) for one in weight]]
    for column in COMPARED:
        rows = group if column == "trial_id" else told  # one name for two trials is wrong whatever became of them
        if len({_shown(cell) for cell in rows[column]}) > 1:
            found = tuple(
                sorted((str(source), _shown(cell)) for source, cell in zip(rows["source"], rows[column], strict=True))
            )
            return None, Conflict(key, column, found)
    order = [column for column in told.columns if column != "source"]
    texts = told[order].map(_shown).assign(first=told["started"].map(_shown))
    return told.loc[[texts.sort_values(["first", *order], kind="stable").index[0]]], None


def _weight(status: str, outcome: bool) -> int:
    """How much a record says of its method: nothing, that it was lost or stopped, or a result."""
    if status == "missing":
        return 0
    lost = status == "failed" and not outcome
    return 1 if lost or status == "stopped" else 2


def _shown(cell: object) -> str:
    return "nothing" if pd.isna(cell) else repr(float(cell)) if isinstance(cell, float) else str(cell)  # type: ignore[call-overload]
