"""What the source papers printed (published/*.csv), beside what this table holds of the same data set and method.

Columns of the files: paper, table, task, dataset, method, budget, metric, unit, value, higher_is_better, spread, note
as printed; our_method and our_dataset, the names under which a sweep has them, empty where it has none; distance, how
far the paper's protocol is from ours (near, far, none), and protocol, in words.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .claims import Cell

FOLDER = Path(__file__).parent / "published"
DISTANCES = ("near", "far", "none")


@dataclass(frozen=True)
class Number:
    """One number of a paper, as printed."""

    paper: str
    table: str
    task: str
    dataset: str
    method: str
    budget: str
    metric: str
    unit: str
    value: str
    higher_is_better: str
    spread: str
    note: str
    our_method: str
    our_dataset: str
    distance: str
    protocol: str

    @property
    def shown(self) -> str:
        """Value with spread and unit."""
        spread = f" ± {self.spread}" if self.spread else ""
        return f"{self.value}{spread}{'' if self.unit == '%' else ' '}{self.unit}"


@dataclass(frozen=True)
class Beside:
    """One table of a paper, each number with ours where this report has one."""

    title: str
    same_data: bool
    """Whether this report has the paper's data set; if not, only its methods."""
    rows: tuple[tuple[Number, str], ...]


@lru_cache(maxsize=1)
def numbers() -> tuple[Number, ...]:
    """Every published number, in the order of the files."""
    found: list[Number] = []
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            found += [Number(**row) for row in csv.DictReader(stream)]
    return tuple(found)


def beside(cells: Sequence[Cell]) -> tuple[Beside, ...]:
    """The papers' tables that share a data set with the cells, then those that share a method besides the reference."""
    tables: dict[tuple[str, str], list[Number]] = {}
    for number in numbers():
        tables.setdefault((number.paper, number.table), []).append(number)
    datasets = {cell.dataset for cell in cells}
    methods = {entry.method for cell in cells for entry in cell.entries} - {cell.reference for cell in cells}
    found = []
    for (paper, table), listed in tables.items():
        same = any(number.our_dataset in datasets for number in listed)
        if same or any(number.our_method in methods for number in listed):
            title = f"{paper}, {'text' if table == 'text' else f'table {table}'}"
            found.append(Beside(title, same, tuple((number, _ours(number, cells)) for number in listed)))
    return tuple(sorted(found, key=lambda one: not one.same_data))


def _ours(number: Number, cells: Sequence[Cell]) -> str:
    """Our mean of the same data set, method and metric, for each budget."""
    return "; ".join(
        f"{cell.metric.value(entry.summary.mean)} {cell.metric.values(entry.summary.interval)}, "
        f"n = {entry.summary.n} ({cell.budget})"
        for cell in cells
        for entry in cell.entries
        if (cell.dataset, entry.method, cell.metric.name) == (number.our_dataset, number.our_method, number.metric)
        and entry.summary.mean is not None
    )
