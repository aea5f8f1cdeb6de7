"""Cells in, inline SVG out: scores, paired differences, accuracy versus compute, learning curves.

Every figure shows the raw seeds beside estimate and 95% interval, labels its marks directly, and never tells methods
apart by colour alone.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .claims import Cell, Entry
from .labels import label_points, spread
from .svg import INK, new_figure, style, to_svg
from .wording import p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""The Okabe-Ito colours with a contrast of 3 or more on white and on the dark page; the rest fail on white."""
GREY = "#808080"
MARKERS = "osv^PXd<>*"
COST_AXES = (("gflops", "GFLOPs of one image, forward"), ("latency_ms_p50", "latency of one image in ms, median"))


@dataclass(frozen=True)
class Look:
    """How a method is drawn, the same in every figure of a page."""

    colour: str
    marker: str
    hollow: bool

    @property
    def face(self) -> str:
        """Fill of the marker: none for an upper bound."""
        return "none" if self.hollow else self.colour


def looks(cells: Sequence[Cell]) -> dict[str, Look]:
    """A colour and a marker for every method: ink for the reference, grey and hollow for upper bounds."""
    found: dict[str, Look] = {}
    coloured = 0
    entries = {entry.method: (entry.competes, cell.reference) for cell in cells for entry in cell.entries}
    for name in sorted(entries):
        competes, reference = entries[name]
        if name == reference:
            found[name] = Look(INK, "D", hollow=False)
        elif not competes:
            found[name] = Look(GREY, "o", hollow=True)
        else:
            colour = COLOURS[coloured] if coloured < len(COLOURS) else GREY
            found[name] = Look(colour, MARKERS[coloured % len(MARKERS)], hollow=False)
            coloured += 1
    return found


def scores(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Score of each method: a dot a seed, the mean, its 95% t interval. None if nothing finished."""
    entries = cell.entries
    if not any(entry.summary.n for entry in entries):
        return None
    with style():
        figure = new_figure(8.6, 1.05 + 0.42 * len(entries))
        axes = figure.add_axes(_box(figure.get_figheight(), left=0.26, right=0.80))
        for row, entry in enumerate(entries):
            look, s = styles[entry.method], entry.summary
            scale = cell.metric.scale
            axes.plot(scale * np.array(s.values), [row + 0.16] * s.n, "o", color=look.colour, alpha=0.75, ms=4, mew=0)
            for place in range(int(s.failures.k)):  # a failed seed has no score: a cross at the edge
                axes.plot(
                    0.015 + 0.025 * place,
                    row + 0.16,
                    "x",
                    color=look.colour,
                    ms=5,
                    transform=axes.get_yaxis_transform(),
                )
            if s.mean is None:
                continue
            if s.interval is not None:
                axes.plot([scale * s.interval.low, scale * s.interval.high], [row - 0.1] * 2, color=look.colour, lw=1.8)
            if s.n > 2:
                axes.plot(scale * s.mean, row - 0.1, look.marker, color=look.colour, mfc=look.face, ms=7)
        for row, entry in enumerate(entries):
            axes.text(1.02, row, _score_text(cell, entry), transform=axes.get_yaxis_transform(), va="center")
        _rows(axes, [_name(entry) for entry in entries])
        axes.set_xlabel(cell.metric.axis)
        best = _best(cell)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{cell.metric.name} of each method on {cell.title}",
            description=f"Best mean of a competing method: {best}. Dots are seeds, bars 95% t intervals over seeds.",
        )


def forest(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Paired difference of every method against the reference. None if no pair is complete."""
    claims = cell.claims
    if not any(claim.comparison.complete for claim in claims):
        return None
    scale, metric = cell.metric.scale, cell.metric
    with style():
        figure = new_figure(10.2, 1.35 + 0.42 * len(claims))
        axes = figure.add_axes(_box(figure.get_figheight(), left=0.22, right=0.57, top=0.35))
        if cell.margin is not None:
            axes.axvspan(-scale * cell.margin, scale * cell.margin, color=GREY, alpha=0.18, lw=0)
        axes.axvline(0, color=INK, lw=1, alpha=0.7)
        for row, claim in enumerate(claims):
            c, look = claim.comparison, styles[claim.method]
            dots = scale * np.array(c.differences)
            axes.plot(dots, [row + 0.16] * c.complete, "o", color=look.colour, alpha=0.75, ms=4, mew=0)
            if c.interval is not None:
                axes.plot([scale * c.interval.low, scale * c.interval.high], [row - 0.1] * 2, color=look.colour, lw=1.8)
            if c.effect is not None and c.complete > 2:
                axes.plot(scale * c.effect, row - 0.1, look.marker, color=look.colour, mfc=look.face, ms=7)
            shown = c.effect if c.complete > 2 else None
            texts = (
                f"{metric.difference(shown)} {metric.differences(c.interval)}" if shown is not None else "–",
                p_value(claim.p_holm),
                f"{c.complete}" + (f" (+{c.failed} failed)" if c.failed else ""),
            )
            for x, text in zip((1.03, 1.80, 2.00), texts, strict=True):
                axes.text(x, row, text, transform=axes.get_yaxis_transform(), va="center")
        for x, text in zip((1.03, 1.80, 2.00), ("effect [95% t interval]", "Holm p", "pairs"), strict=True):
            axes.text(x, -0.75, text, transform=axes.get_yaxis_transform(), va="center", weight="bold")
        _rows(axes, [_clip(claim.method) + ("" if claim.competes else " (bound)") for claim in claims])
        axes.set_xlabel(
            f"{metric.name}: difference from {_clip(cell.reference)} ({metric.difference_unit}, + is better)"
        )
        axes.margins(x=0.08)
        decided = [f"{c.method} {c.verdict.word}" for c in claims if c.verdict.decided]
        return to_svg(
            figure,
            prefix=prefix,
            title=f"Paired differences from {cell.reference} on {cell.title}",
            description=("; ".join(decided) or "No method is shown to differ from the reference") + ". Dots are seeds.",
        )


def trade_off(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Score against cost on a log axis, with a stepped front of the competing methods. None if no cost is known."""
    panels = [(axis, label) for axis, label in COST_AXES if _priced(cell, axis)]
    if not panels:
        return None
    with style():
        figure = new_figure(5.1 * len(panels) + 0.2, 4.2)
        first: Axes | None = None
        for place, (axis, label) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1, sharey=first)
            first = first or axes
            _panel(axes, cell, styles, axis)
            axes.set_xlabel(label)
        assert first is not None
        first.set_ylabel(cell.metric.axis)
        figure.tight_layout()
        for axes, (axis, _) in zip(figure.axes, panels, strict=True):
            _labels(axes, cell, axis)
        fronts = "; ".join(f"by {axis}: {', '.join(cell.front(axis)) or 'nobody'}" for axis, _ in panels)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{cell.metric.name} against compute on {cell.title}",
            description=f"Competing methods on the front of means, {fronts}. Hollow marks do not compete.",
        )


def curves(frame: pd.DataFrame, cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Learning curves: the mean of each method, its seeds thin. None if the frame has nothing on this cell."""
    rows = frame[(frame["dataset"] == cell.dataset) & (frame["budget"] == cell.budget)].dropna(subset=["value"])
    rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float)) & rows["method"].isin(list(styles))]
    kinds = sorted(
        {(str(metric), str(split)) for metric, split in zip(rows["metric"], rows["split"], strict=True)},
        key=lambda kind: (kind[0] != cell.metric.name, kind),
    )[:2]
    if not kinds:
        return None
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    with style():
        figure = new_figure(5.4 * len(kinds) + 0.2, max(3.6, 1.1 + 0.19 * rows["method"].nunique()))
        panels = []
        for place, (metric, split) in enumerate(kinds):
            axes = figure.add_subplot(1, len(kinds), place + 1)
            part = rows[(rows["metric"] == metric) & (rows["split"] == split)].astype({"method": object})
            scale = cell.metric.scale if metric == cell.metric.name else 1.0
            part = part.assign(value=scale * part["value"].astype(float), epoch=part["epoch"].astype(int))
            part = part.sort_values(["method", "seed", "epoch"])
            palette = {name: styles[name].colour for name in part["method"].unique()}
            draw = {"data": part, "x": "epoch", "y": "value", "hue": "method", "palette": palette, "ax": axes}
            sns.lineplot(**draw, units="seed", estimator=None, lw=0.7, alpha=0.4, legend=False)
            sns.lineplot(**draw, estimator="mean", errorbar=None, lw=2, legend=False)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel(cell.metric.axis if metric == cell.metric.name else metric)
            axes.set_title(f"{split} {metric}")
            panels.append((axes, part))
        figure.tight_layout(
            w_pad=16.5, rect=(0, 0, 1 - 1.75 / figure.get_figwidth(), 1)
        )  # room for labels on the right
        for axes, part in panels:
            _curve_ends(axes, part, styles)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"Learning curves on {cell.title}",
            description="Thick lines are means over the seeds that reached the epoch, thin lines are seeds.",
        )


def _panel(axes: "Axes", cell: Cell, styles: Mapping[str, Look], axis: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    scale = cell.metric.scale
    axes.set_xscale("log")
    for entry, cost in _priced(cell, axis):
        look, s = styles[entry.method], entry.summary
        mean = scale * (s.mean or 0.0)
        if s.interval is not None:
            axes.plot([cost] * 2, [scale * s.interval.low, scale * s.interval.high], color=look.colour, lw=1.6)
        spread_of = entry.cost.latency_interval if axis == "latency_ms_p50" else None
        if spread_of is not None:
            axes.plot([spread_of.low, spread_of.high], [mean] * 2, color=look.colour, lw=1.6)
        axes.plot(cost, mean, look.marker, color=look.colour, mfc=look.face, ms=8, mew=1.6, zorder=4)
    low, high = axes.get_xlim()
    middle, reach = np.sqrt(low * high), max(np.sqrt(high / low) * 1.25, 2.0)
    axes.set_xlim(middle / reach, middle * reach)
    axes.margins(y=0.18)
    x, y = _front(cell, axis, middle * reach)
    axes.step(x, y, where="post", color=INK, lw=1, alpha=0.55, ls=(0, (4, 2)), zorder=1)
    subs = (1, 2, 5) if reach < 30 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.18, color=INK, lw=0.6)


def _labels(axes: "Axes", cell: Cell, axis: str) -> None:
    from matplotlib.transforms import Bbox

    priced = _priced(cell, axis)
    scale = cell.metric.scale
    points = [(cost, scale * (entry.summary.mean or 0.0)) for entry, cost in priced]
    bars = []
    for entry, cost in priced:
        if entry.summary.interval is not None:
            ends = [(cost, scale * entry.summary.interval.low), (cost, scale * entry.summary.interval.high)]
            (x0, y0), (x1, y1) = axes.transData.transform(ends)
            bars.append(Bbox.from_extents(x0 - 2, min(y0, y1), x1 + 2, max(y0, y1)))
        if axis == "latency_ms_p50" and entry.cost.latency_interval is not None:
            width = entry.cost.latency_interval
            y = scale * (entry.summary.mean or 0.0)
            (x0, y0), (x1, y1) = axes.transData.transform([(width.low, y), (width.high, y)])
            bars.append(Bbox.from_extents(x0, y0 - 2, x1, y1 + 2))
    xs, ys = _front(cell, axis, axes.get_xlim()[1])
    for place in range(len(xs) - 1):
        corners = [(xs[place], ys[place]), (xs[place + 1], ys[place]), (xs[place + 1], ys[place + 1])]
        for (x0, y0), (x1, y1) in itertools.pairwise(axes.transData.transform(corners)):
            bars.append(Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    texts = [_clip(entry.method, 22) + ("" if entry.competes else " (bound)") for entry, _ in priced]
    label_points(axes, points, texts, obstacles=bars, ink=INK)


def _front(cell: Cell, axis: str, edge: float) -> tuple[list[float], list[float]]:
    points = [(getattr(cell.entry(name).cost, axis), cell.entry(name).summary.mean) for name in cell.front(axis)]
    points = [(cost, cell.metric.scale * mean) for cost, mean in points if cost > 0 and mean is not None]
    points += [(edge, points[-1][1])] if points else []
    return [x for x, _ in points], [y for _, y in points]


def _curve_ends(axes: "Axes", part: pd.DataFrame, styles: Mapping[str, Look]) -> None:
    ends = []
    for name, rows in part.groupby("method"):
        last = rows["epoch"].max()
        ends.append((str(name), float(last), float(rows.loc[rows["epoch"] == last, "value"].mean())))
    low, high = axes.get_ylim()
    gap = (high - low) * min(0.075, 1 / max(len(ends) - 1, 1))
    edge = axes.get_xlim()[1]
    for (name, x, y), height in zip(ends, spread([end[2] for end in ends], gap, low=low, high=high), strict=True):
        axes.plot([x, edge], [y, height], color=styles[name].colour, lw=0.8, alpha=0.7, clip_on=False)
        axes.plot(x, y, styles[name].marker, color=styles[name].colour, mfc=styles[name].face, ms=5)
        axes.text(edge, height, " " + _clip(name, 22), va="center", color=INK)
    axes.set_xlim(right=edge)
    axes.set_ylim(low, high)


def _priced(cell: Cell, axis: str) -> list[tuple[Entry, float]]:
    costs = [(entry, getattr(entry.cost, axis)) for entry in cell.entries if entry.summary.mean is not None]
    return [(entry, cost) for entry, cost in costs if cost is not None and cost > 0]


def _score_text(cell: Cell, entry: Entry) -> str:
    s = entry.summary
    failed = f", {s.failures.k:g} failed" if s.failures.k else ""
    return f"{cell.metric.value(s.mean) if s.n > 2 else '–'}  n = {s.n}{failed}"


def _best(cell: Cell) -> str:
    ranked = [entry for entry in cell.entries if entry.competes and entry.summary.mean is not None]
    if not ranked:
        return "none"
    sign = 1 if cell.metric.higher_is_better else -1
    best = max(ranked, key=lambda entry: sign * (entry.summary.mean or 0.0))
    return f"{best.method}, {cell.metric.value(best.summary.mean)}, n = {best.summary.n}"


def _rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.18, color=INK, lw=0.6)
    axes.spines["left"].set_visible(False)


def _box(height: float, *, left: float, right: float, top: float = 0.1) -> tuple[float, float, float, float]:
    bottom = 0.55 / height
    return left, bottom, right - left, 1 - bottom - top / height


def _name(entry: Entry) -> str:
    return _clip(entry.method) + ("" if entry.competes else " (bound)")


def _clip(name: str, longest: int = 26) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
