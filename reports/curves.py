"""Learning curves: the mean over seeds with its t band, over epochs and over hours of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .claims import Cell
from .figures import Look
from .labels import spread
from .statistics import FloatArray
from .svg import INK, new_figure, style, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 40
"""Points drawn of one curve; more cannot be told apart on the page and would make it large."""
MOST_SEEDS = 20
"""Seeds drawn of one curve, evenly chosen; the mean, its band and n are over all of them."""
KINDS = 2
"""Pairs of metric and split that are drawn: the cell's own metric first."""


@dataclass(frozen=True)
class Curve:
    """One method's mean score over its seeds after each epoch."""

    method: str
    epochs: FloatArray
    hours: FloatArray | None
    """Hours of one trial's training behind each epoch, mean over the seeds; None where training was not timed."""
    seeds: dict[int, tuple[FloatArray, FloatArray]]
    """Epochs and values of each seed."""
    n: FloatArray
    """Seeds that reached the epoch."""
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    """t interval of the mean; nan below three seeds."""
    short: frozenset[int]
    """Seeds that ended before the longest one did."""


@dataclass(frozen=True)
class Panel:
    """Every method's curve of one metric and split."""

    metric: str
    split: str
    curves: tuple[Curve, ...]
    gpu: bool
    """Whether the hours are GPU-hours; on a CPU they are hours of training."""


def panels(frame: pd.DataFrame, table: pd.DataFrame, cell: Cell) -> tuple[Panel, ...]:
    """The curves of a cell, methods in its order. Values that are not finite are left out.

    Hours are not recorded by epoch: a trial's hours of training are shared evenly among its epochs.
    """
    rows = frame[(frame["dataset"] == cell.dataset) & (frame["budget"] == cell.budget)]
    rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float, na_value=np.nan))]
    parts = {tuple(map(str, key)): part for key, part in rows.groupby(["metric", "split", "method"], sort=False)}
    kinds = sorted({key[:2] for key in parts}, key=lambda kind: (kind[0] != cell.metric.name, kind))[:KINDS]
    timed = table[(table["dataset"] == cell.dataset) & (table["budget"] == cell.budget)].set_index("trial_id")
    gpu = bool((timed["gpu_hours"].fillna(0) > 0).any())
    hours = timed["gpu_hours"] if gpu else timed["train_seconds"] / 3600
    by_trial = (hours / timed["epoch"].where(timed["epoch"] > 0)).groupby(level=0).first()
    an_epoch = dict(zip(by_trial.index, by_trial.to_numpy(dtype=float, na_value=np.nan).tolist(), strict=True))
    return tuple(
        Panel(
            metric,
            split,
            tuple(
                _curve(entry.method, part, an_epoch, cell.alpha)
                for entry in cell.entries
                if (part := parts.get((metric, split, entry.method))) is not None
            ),
            gpu,
        )
        for metric, split in kinds
    )


def draw(panel: Panel, cell: Cell, styles: Mapping[str, Look], *, by_hours: bool, prefix: str) -> str | None:
    """One panel over epochs or over hours; None if there is nothing to draw it from."""
    shown = [curve for curve in panel.curves if not by_hours or curve.hours is not None]
    if not shown:
        return None
    from matplotlib.ticker import MaxNLocator

    scale = cell.metric.scale if panel.metric == cell.metric.name else 1.0
    with style():
        figure = new_figure(5.9, max(3.4, 1.1 + 0.19 * len(shown)))
        height = figure.get_figheight()
        axes = figure.add_axes((0.12, 0.5 / height, 0.57, 1 - 0.8 / height))  # room for labels on the right
        ends = []
        for curve in shown:
            look = styles[curve.method]
            x = curve.hours if by_hours and curve.hours is not None else curve.epochs
            gap = [np.nan]  # one path with gaps instead of a path a seed: half the bytes
            some = list(curve.seeds.values())[:: -(-len(curve.seeds) // MOST_SEEDS)]
            thin = [(np.interp(epochs, curve.epochs, x), scale * values) for epochs, values in some]
            line = [np.concatenate([part for one in thin for part in (one[axis], gap)]) for axis in (0, 1)]
            axes.plot(*line, lw=0.6, alpha=0.35, **look.ink)
            for epochs, values in (curve.seeds[seed] for seed in curve.seeds if seed in curve.short):
                axes.plot(np.interp(epochs[-1], curve.epochs, x), scale * values[-1], "x", ms=5, **look.ink)
            axes.fill_between(x, scale * curve.low, scale * curve.high, alpha=0.13, lw=0, **look.ink)
            axes.plot(x, scale * curve.mean, lw=2, **look.ink)
            ends.append((curve.method, float(x[-1]), scale * float(curve.mean[-1])))
        hours = "GPU-hours of one trial" if panel.gpu else "hours of training of one trial"
        axes.set_xlabel(hours if by_hours else "epoch")
        if not by_hours:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(cell.metric.axis if panel.metric == cell.metric.name else panel.metric)
        axes.set_title(f"{panel.split} {panel.metric}")
        _label_ends(axes, ends, styles)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{panel.split} {panel.metric} on {cell.title}, over {'hours' if by_hours else 'epochs'} of training",
            description=_finding(panel, cell),
        )


def _finding(panel: Panel, cell: Cell) -> str:
    lower = not cell.metric.higher_is_better if panel.metric == cell.metric.name else "loss" in panel.metric
    last = {curve.method: float(curve.mean[-1]) for curve in panel.curves}
    best = (min if lower else max)(last, key=lambda name: last[name])
    shown = cell.metric.value(last[best]) if panel.metric == cell.metric.name else f"{last[best]:.3g}"
    short = sum(len(curve.short) for curve in panel.curves)
    stopped = f" {short} seeds end early, at a cross." if short else ""
    word = "lowest" if lower else "highest"
    return f"After its last epoch {best} is {word}, {shown} (mean over its seeds).{stopped}"


def _curve(method: str, rows: pd.DataFrame, an_epoch: Mapping[str, float], alpha: float) -> Curve:
    from scipy.special import stdtrit

    epochs, row = np.unique(rows["epoch"].to_numpy(dtype=np.int64), return_inverse=True)
    seeds, column = np.unique(rows["seed"].to_numpy(dtype=np.int64), return_inverse=True)
    values = np.full((len(epochs), len(seeds)), np.nan)
    values[row, column] = rows["value"].to_numpy(dtype=float)
    ends = [int(epochs[np.isfinite(line)][-1]) for line in values.T]
    shown = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_POINTS)).round().astype(int))
    epochs, values = epochs[shown].astype(float), values[shown]
    there = np.isfinite(values)
    n = there.sum(axis=1).astype(float)
    mean = np.where(there, values, 0.0).sum(axis=1) / n
    off = np.where(there, values - mean[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt((off**2).sum(axis=1) / (n - 1) / n)
    half = np.where(n >= 3, -stdtrit(np.maximum(n - 1, 1), alpha / 2) * error, np.nan)
    hours = np.array([an_epoch.get(trial, np.nan) for trial in rows["trial_id"].unique()])
    an_hour = float(hours[np.isfinite(hours)].mean()) if np.isfinite(hours).any() else 0.0
    return Curve(
        method=method,
        epochs=epochs,
        hours=epochs * an_hour if an_hour > 0 else None,
        seeds={seed: (epochs[there[:, i]], values[there[:, i], i]) for i, seed in enumerate(seeds.tolist())},
        n=n,
        mean=mean,
        low=mean - half,
        high=mean + half,
        short=frozenset(seed for seed, end in zip(seeds.tolist(), ends, strict=True) if end < max(ends)),
    )


def _label_ends(axes: "Axes", ends: list[tuple[str, float, float]], styles: Mapping[str, Look]) -> None:
    low, high = axes.get_ylim()
    gap = (high - low) * min(0.075, 1 / max(len(ends) - 1, 1))
    edge = axes.get_xlim()[1]
    for (name, x, y), height in zip(ends, spread([end[2] for end in ends], gap, low=low, high=high), strict=True):
        look = styles[name]
        axes.plot([x, edge], [y, height], lw=0.8, alpha=0.7, clip_on=False, **look.ink)
        axes.plot(x, y, look.marker, mfc=look.face, ms=5, **look.ink)
        text = name if len(name) <= 22 else name[:21] + "…"
        axes.text(edge, height, " " + text, va="center", color=INK, gid=look.gid)
    axes.set_xlim(right=edge)
    axes.set_ylim(low, high)
