"""Every method against every other on one data set and budget: mean differences, Holm over all pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .claims import Cell
from .statistics import ALPHA, Interval, holm


@dataclass(frozen=True)
class Pair:
    """Row method minus column method; positive where the row is better."""

    n: int
    """Complete pairs; of unpaired seeds, those of the smaller group."""
    difference: float | None
    """Mean difference in the metric's unit; None below three pairs."""
    interval: Interval | None
    p_holm: float | None
    """The cell's own t test, corrected by Holm for every pair of every cell; None where a seed failed,
    which neither can use."""
    failed: bool
    """Whether a seed failed for either: the difference is then given convergence."""
    alpha: float

    @property
    def decided(self) -> bool:
        """Whether the pair is told apart after the correction."""
        return self.p_holm is not None and self.p_holm < self.alpha


@dataclass(frozen=True)
class Matrix:
    """The pairs of one cell: pairs[i][j] is method i against method j, None on the diagonal."""

    methods: tuple[str, ...]
    pairs: tuple[tuple[Pair | None, ...], ...]

    @property
    def largest(self) -> float:
        """The largest absolute difference, the end of the colour scale."""
        found = [abs(pair.difference) for row in self.pairs for pair in row if pair and pair.difference is not None]
        return max(found, default=0.0)


def matrices(cells: Sequence[Cell]) -> tuple[Matrix, ...]:
    """One matrix a cell, methods in the cell's order, upper bounds left out.

    Exploratory: k(k - 1)/2 comparisons a cell that nobody planned, corrected together. Whoever else takes part changes
    no difference and no interval, only the correction.
    """
    drafts = [_differences(cell) for cell in cells]
    upper = [np.triu_indices(len(methods), 1) for methods, *_ in drafts]
    raw = [p[above] for (_, _, _, _, p, _), above in zip(drafts, upper, strict=True)]
    flat = [None if np.isnan(value) else float(value) for part in raw for value in part]
    adjusted = iter(holm(flat, max(len(flat), 1)))
    alpha = cells[0].alpha if cells else ALPHA
    made = []
    for (methods, n, mean, half, _, failed), (rows, columns) in zip(drafts, upper, strict=True):
        grid: list[list[Pair | None]] = [[None] * len(methods) for _ in methods]
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            p_holm = next(adjusted)
            for a, b, sign in ((i, j, 1.0), (j, i, -1.0)):
                middle = None if np.isnan(mean[i, j]) else sign * float(mean[i, j])
                reach = float(half[i, j])
                spread = None if middle is None or np.isnan(reach) else Interval(middle - reach, middle + reach)
                grid[a][b] = Pair(int(n[i, j]), middle, spread, p_holm, bool(failed[i, j]), alpha)
        made.append(Matrix(methods, tuple(tuple(row) for row in grid)))
    return tuple(made)


def _differences(cell: Cell) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Names, then (method, method) arrays: pairs, mean difference, half an interval, p, whether a seed failed."""
    from scipy.stats import t

    entries = [entry for entry in cell.entries if entry.competes]
    seeds = sorted({seed for entry in entries for seed in entry.summary.seeds})
    values = np.full((len(entries), len(seeds)), np.nan)
    for i, entry in enumerate(entries):
        values[i, np.searchsorted(seeds, entry.summary.seeds)] = entry.summary.values
    any_failed = np.array([bool(entry.summary.failures.k) for entry in entries], dtype=bool)
    failed = any_failed[:, None] | any_failed[None]
    n, mean, error, df = _paired(values, cell) if cell.paired else _unpaired(values, cell)
    half = t.isf(cell.alpha / 2, df) * error
    p = np.where((n >= 3) & np.isnan(error) & (mean == 0), 1.0, 2 * t.sf(np.abs(mean) / error, df))
    return tuple(e.method for e in entries), n, mean, half, np.where(failed, np.nan, p), failed


def _paired(values: np.ndarray, cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, mean, standard error (nan without spread) and degrees of freedom, each (method, method)."""
    differences = values[:, None] - values[None]
    if not cell.metric.higher_is_better:
        differences = -differences
    differences = rounded(differences, cell, values)
    n = np.isfinite(differences).sum(axis=2)
    enough = n >= 3
    safe = np.where(np.isfinite(differences), differences, 0.0)
    mean = np.where(enough, safe.sum(axis=2) / np.maximum(n, 1), np.nan)
    off = np.where(np.isfinite(differences), differences - mean[..., None], 0.0)
    spread = np.sqrt((off**2).sum(axis=2) / np.maximum(n - 1, 1))
    varies = enough & (spread > 1e-9 * np.abs(mean))
    wider = np.sqrt(1 + n * cell.splits.ratio) if cell.splits else 1.0
    return n, mean, np.where(varies, spread * wider / np.sqrt(np.maximum(n, 1)), np.nan), np.maximum(n - 1, 1)


def _unpaired(values: np.ndarray, cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same of Welch's t; n is that of the smaller group."""
    rows = [row[np.isfinite(row)] for row in rounded(values, cell, values)]
    sizes = np.array([len(row) for row in rows])
    n = np.minimum(sizes[:, None], sizes[None])
    sign = 1.0 if cell.metric.higher_is_better else -1.0
    means = np.array([sign * row.mean() if len(row) else np.nan for row in rows])
    parts = np.array([row.var(ddof=1) / len(row) if len(row) > 1 and np.ptp(row) > 0 else 0.0 for row in rows])
    total = parts[:, None] + parts[None]
    varies = (n >= 3) & (total > 0)
    safe, dofs = np.where(varies, total, 1.0), np.maximum(sizes - 1, 1)
    share = np.where(varies, parts[:, None] / safe, 0.5)  # of the row in the variance; the rest is the column's
    df = 1 / (share**2 / dofs[:, None] + (1 - share) ** 2 / dofs)
    return n, np.where(n >= 3, means[:, None] - means[None], np.nan), np.where(varies, np.sqrt(safe), np.nan), df


def rounded(differences: np.ndarray, cell: Cell, values: np.ndarray) -> np.ndarray:
    """Differences without float noise: accuracy to one test example, as in the comparisons with the reference."""
    step = resolution(cell) or float(np.nanmax(np.abs(values), initial=0.0)) * 1e-12
    return np.round(differences / step) * step + 0.0 if step > 0 else differences


def resolution(cell: Cell) -> float | None:
    """Smallest step of the cell's metric, where it is known."""
    return 1 / cell.n_test if cell.metric.name == "accuracy" and cell.n_test else None
