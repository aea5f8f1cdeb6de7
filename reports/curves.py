"""Learning curves: the mean over seeds with its t band, over epochs and over hours of training."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .claims import Cell
from .figures import GREY
from .labels import spread
from .statistics import FloatArray
from .svg import Look, Plot, Scale, around, round_ticks

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
    own = panel.metric == cell.metric.name
    scale = cell.metric.scale if own else 1.0
    across = {c.method: c.hours if by_hours and c.hours is not None else c.epochs for c in shown}
    some = {c.method: list(c.seeds.values())[:: -(-len(c.seeds) // MOST_SEEDS)] for c in shown}
    seen = [part for c in shown for part in (c.low, c.high, c.mean, *(values for _, values in some[c.method]))]
    height = max(244.8, 79.2 + 13.7 * len(shown))
    x = Scale(*around(list(across.values())), 51.0, 293.1)
    y = Scale(*around([scale * part for part in seen]), height - 36, 21.6)
    plot = Plot(424.8, height, x=x, y=y)
    hours = "GPU-hours of one trial" if panel.gpu else "hours of training of one trial"
    ticks = round_ticks(x.low, x.high, 6)
    plot.x_axis(
        hours if by_hours else "epoch", ticks if by_hours else [one for one in ticks if one == round(one)], grid=False
    )
    plot.y_axis(cell.metric.axis if own else panel.metric, round_ticks(y.low, y.high, 6), grid=False)
    plot.text((x.start + x.end) / 2, 10, f"{panel.split} {panel.metric}", anchor="middle", size=10)
    for curve in sorted(shown, key=lambda one: styles[one.method].colour != GREY):  # what is grey lies below
        look, at = styles[curve.method], across[curve.method]
        gap = [np.nan]  # one path with gaps instead of a path a seed: half the bytes
        thin = [(np.interp(epochs, curve.epochs, at), scale * values) for epochs, values in some[curve.method]]
        line = [np.concatenate([part for one in thin for part in (one[axis], gap)]) for axis in (0, 1)]
        plot.line(line[0], line[1], look, width=0.6, opacity=0.35)
        for epochs, values in (curve.seeds[seed] for seed in curve.seeds if seed in curve.short):
            plot.cross(float(x(np.interp(epochs[-1], curve.epochs, at))), float(y(scale * values[-1])), look)
        plot.area(at, scale * curve.low, scale * curve.high, look, opacity=0.13)
        plot.line(at, scale * curve.mean, look, width=2)
    _label_ends(plot, {c.method: (float(across[c.method][-1]), scale * float(c.mean[-1])) for c in shown}, styles)
    return plot.svg(
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


def _label_ends(plot: Plot, ends: Mapping[str, tuple[float, float]], styles: Mapping[str, Look]) -> None:
    """The name of each curve at the right edge, and a thin line to its end."""
    heights = [float(plot.y(y)) for _, y in ends.values()]
    room = (plot.y.start - plot.y.end) * min(0.075, 1 / max(len(ends) - 1, 1))
    placed = spread(heights, room, low=plot.y.end, high=plot.y.start)
    for (name, (x, y)), at, down in zip(ends.items(), heights, placed, strict=True):
        look = styles[name]
        plot.path(f"M{float(plot.x(x)):.1f} {at:.1f}L{plot.x.end:.1f} {down:.1f}", look, width=0.8, opacity=0.7)
        plot.marker(x, y, look, size=5)
        plot.text(plot.x.end + 3, down, name if len(name) <= 22 else name[:21] + "…", look)
