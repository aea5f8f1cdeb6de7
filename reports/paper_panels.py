"""Cells in, panels of matplotlib out: score against cost, differences from the reference, learning curves.

What the page draws as SVG, for print: sizes are in points, colours and markers are those of `figures.looks`.
"""

from collections.abc import Collection, Mapping, Sequence
from math import ceil, floor, log2
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .claims import Cell
from .curves import MOST_SEEDS, Panel
from .figures import CostAxis, clip, compared, compared_heads, difference_axis, log_ticks, named, priced, thinned
from .labels import Box, label_points, spread
from .statistics import FloatArray, pareto
from .svg import INK, Look, Scale, around, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTERS = 7.0
"""Size of letters in points."""
ROW = 15.0
"""Points between two methods that are drawn below each other."""
LEGEND = 4
"""Methods in a line of a legend."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def trade_off(
    frame: "Axes",
    group: Sequence[Cell],
    styles: Mapping[str, Look],
    axis: CostAxis,
    *,
    undecided: Collection[str],
    direct: bool,
) -> None:
    """Score against one cost on a log2 axis for every budget of one data set and metric, with a stepped front.

    Methods that are undecided are drawn hollow; direct puts a label beside each, which a legend does otherwise.
    Something in the group must be priced.
    """
    metric, scale = group[0].metric, group[0].metric.scale
    marks = sorted((pair for cell in group for pair in priced(cell, axis)), key=lambda pair: pair[1])
    costs, means = np.array([cost for _, cost in marks]), np.array([scale * (e.summary.mean or 0) for e, _ in marks])
    wide, tall = [e.cost.intervals.get(axis.key) for e, _ in marks], [e.summary.interval for e, _ in marks]
    ends = np.log([*costs, *(end for one in wide if one for end in (one.low, one.high))])
    reach = max(np.ptp(ends) * 0.55 + np.log(1.25), np.log(2.0))
    low, high = np.exp((ends.min() + ends.max()) / 2 + np.array([-reach, reach])).tolist()
    heights = [
        (*e.summary.values, *((one.low, one.high) if one else ())) for (e, _), one in zip(marks, tall, strict=True)
    ]
    bottom, top = around([scale * np.array(one) for one in heights], margin=0.18)
    frame.set_xscale("log", base=2)
    frame.set(xlim=(low, high), ylim=(bottom, top), xlabel=axis.label, ylabel=metric.axis)
    frame.set_title(clip(group[0].title if len(group) == 1 else group[0].dataset, 44))
    frame.set_xticks(*_cost_ticks(low, high))
    frame.set_xticks([], minor=True)
    width, height = _size(frame)
    x, y = Scale(low, high, 0.0, width, log=True), Scale(bottom, top, height, 0.0)
    taken: list[Box] = [(a - 4, b - 4, a + 4, b + 4) for a, b in zip(x(costs).tolist(), y(means).tolist(), strict=True)]

    def line(across: npt.ArrayLike, up: npt.ArrayLike, look: Look | None = None, **how: Any) -> None:
        frame.plot(across, up, color=_colour(look), **how)
        taken.extend(_covered(x(across), y(up)))

    rivals = [place for place, (e, _) in enumerate(marks) if e.competes]
    sign = 1.0 if metric.higher_is_better else -1.0
    front = [place for place, on in zip(rivals, pareto(costs[rivals], sign * means[rivals]), strict=True) if on]
    if front:
        steps = [*costs[front], high], [*means[front], means[front[-1]]]
        line(np.repeat(steps[0], 2)[1:], np.repeat(steps[1], 2)[:-1], ls=(0, (4, 2)), lw=0.8, alpha=0.6)
    last = {e.method: place for place, (e, _) in enumerate(marks)}
    for name in last:
        mine = [place for place, (e, _) in enumerate(marks) if e.method == name]
        line(costs[mine], means[mine], styles[name], lw=0.5, alpha=0.6)
    for (entry, cost), mean, up, across in zip(marks, means.tolist(), tall, wide, strict=True):
        look, seeds = styles[entry.method], scale * thinned(entry.summary.values)
        _dots(frame, np.full(len(seeds), cost), seeds, look)
        if up is not None:
            line([cost, cost], [scale * up.low, scale * up.high], look, lw=1.1)
        if across is not None:
            line([across.low, across.high], [mean, mean], look, lw=1.1)
        _mark(frame, cost, mean, look, hollow=entry.method in undecided)
    if not direct:
        return
    texts = [_called(name, group) for name in last]  # one label a method, at its most costly budget
    points = [(float(x(costs[place])), float(y(means[place]))) for place in last.values()]
    sizes = [(text_width(text, LETTERS), LETTERS + 1.5) for text in texts]
    labels = label_points(points, sizes, frame=(0.0, 0.0, width, height), obstacles=taken)
    for (name, place), (a, b), text, label in zip(last.items(), points, texts, labels, strict=True):
        offset = label.box[0] + 2 - a, b - (label.box[1] + label.box[3]) / 2
        _label(frame, text, (costs[place], means[place]), offset, styles[name], line=label.leader is not None)


def legend(figure: "Figure", cells: Sequence[Cell], styles: Mapping[str, Look]) -> None:
    """The marks of every method of these cells below the panels, four in a line."""
    from matplotlib.lines import Line2D

    handles, names = [], list(dict.fromkeys(entry.method for cell in cells for entry in cell.entries))
    for name in names:
        look = styles[name]
        face = "white" if look.hollow else _colour(look)
        handles.append(Line2D([], [], color=_colour(look), marker=look.marker, mfc=face, ms=4.5, lw=0))
    labels = [_called(name, cells) for name in names]
    figure.legend(handles, labels, loc="lower center", ncols=LEGEND, frameon=False, handletextpad=0.1)


def forest(frame: "Axes", cell: Cell, styles: Mapping[str, Look], columns: Sequence[float]) -> None:
    """Every method's difference from the reference, and the same as text in columns at these points from the left."""
    scale, margin, shown = cell.metric.scale, cell.metric.scale * (cell.margin or 0.0), []
    for c in (claim.comparison for claim in cell.claims):
        ends = (c.interval.low, c.interval.high) if c.interval else ()
        shown.append(scale * np.array([*c.differences, *ends, *((c.effect,) if c.effect is not None else ())]))
    rows = len(cell.claims)
    frame.set(xlim=around([*shown, [0.0, -margin, margin]], margin=0.08), ylim=(rows - 0.5, -0.5))
    frame.set_xlabel(difference_axis(cell))
    frame.set_yticks([])
    if margin:
        frame.axvspan(-margin, margin, color="#808080", alpha=0.2, lw=0)
    frame.axvline(0, color=_colour(None), lw=0.6, alpha=0.7)

    def text(words: str, left: float, row: float, **how: Any) -> None:
        frame.annotate(
            words,
            (0, row),
            xytext=(left, 0),
            xycoords=frame.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            **how,
        )

    frame.set_title(cell.title, pad=13)
    for left, words in zip(columns, compared_heads(cell), strict=True):
        text(words, left, -1.0, weight="bold")
    for row, claim in enumerate(cell.claims):
        c, look = claim.comparison, styles[claim.method]
        _dots(frame, scale * thinned(c.differences), np.full(len(thinned(c.differences)), row + 0.2), look)
        if c.interval is not None:
            frame.plot([scale * c.interval.low, scale * c.interval.high], [row - 0.1] * 2, color=_colour(look), lw=1.1)
        if c.effect is not None and c.complete > 2:
            _mark(frame, scale * c.effect, row - 0.1, look)
        text(named(claim), -4, row, ha="right")  # not a tick's label, which matplotlib writes anew when it draws
        for left, words in zip(columns, compared(cell, claim), strict=True):
            text(words, left, row, color=_colour(look))


def learning(frame: "Axes", cell: Cell, panel: Panel, styles: Mapping[str, Look]) -> None:
    """The cell's own metric after each epoch: seeds, their mean, its t band."""
    scale, shown = cell.metric.scale, []
    for curve in panel.curves:
        look, seeds = styles[curve.method], list(curve.seeds.items())
        for seed, (epochs, values) in seeds[:: -(-len(seeds) // MOST_SEEDS)]:
            frame.plot(epochs, scale * values, color=_colour(look), lw=0.4, alpha=0.4)
            shown.append(scale * values)
            if seed in curve.short:
                frame.plot(epochs[-1:], scale * values[-1:], "x", color=_colour(look), ms=3, mew=0.7)
        low, high = scale * curve.low, scale * curve.high
        frame.fill_between(curve.epochs, low, high, color=_colour(look), alpha=0.15, lw=0)
        frame.plot(curve.epochs, scale * curve.mean, color=_colour(look), lw=1.3)
        shown += [low, high]
    epochs = np.concatenate([curve.epochs for curve in panel.curves])
    bottom, top = around(shown)
    frame.set(xlabel="epoch", ylabel=cell.metric.axis, ylim=(bottom, top), xlim=around([epochs]))
    frame.set_title(clip(f"{cell.title}, {panel.split}", 44))
    width, height = _size(frame)
    x, y = Scale(*around([epochs]), 0.0, width), Scale(bottom, top, 0.0, height)
    tips = [(float(curve.epochs[-1]), scale * float(curve.mean[-1])) for curve in panel.curves]
    placed = spread([float(y(up)) for _, up in tips], LETTERS + 1, low=0.0, high=height)
    for curve, tip, up in zip(panel.curves, tips, placed, strict=True):
        offset = width + 8 - float(x(tip[0])), up - float(y(tip[1]))
        _label(frame, curve_name(curve.method), tip, offset, styles[curve.method], line=True)
        _mark(frame, *tip, styles[curve.method])


def _called(method: str, cells: Sequence[Cell]) -> str:
    """A method and how many of its seeds failed."""
    entries = [entry for cell in cells for entry in cell.entries if entry.method == method]
    failed = sum(entry.summary.failures.k for entry in entries)
    return named(entries[0], 22) + (f", {failed:g} failed" if failed else "")


def curve_name(method: str) -> str:
    """What stands right of a curve."""
    return clip(method, 18)


def _size(frame: "Axes") -> tuple[float, float]:
    """Width and height in points."""
    pixels, an_inch = frame.get_window_extent(), frame.figure.dpi
    return 72 * pixels.width / an_inch, 72 * pixels.height / an_inch


def _covered(x: FloatArray, y: FloatArray) -> list[Box]:
    """Where a line runs, for labels to stay clear of it."""
    at, fine = np.arange(len(x)), np.linspace(0, len(x) - 1, 24 * (len(x) - 1) + 1)
    near = zip(np.interp(fine, at, x).tolist(), np.interp(fine, at, y).tolist(), strict=True)
    return [(a - 1, b - 1, a + 1, b + 1) for a, b in near]


def _colour(look: Look | None) -> str:
    return "black" if look is None or look.colour == INK else look.colour


def _dots(frame: "Axes", x: FloatArray, y: FloatArray, look: Look) -> None:
    frame.plot(x, y, "o", color=_colour(look), ms=2.2, mew=0, alpha=0.4)


def _mark(frame: "Axes", x: float, y: float, look: Look, *, hollow: bool = False) -> None:
    face = "white" if hollow or look.hollow else _colour(look)
    frame.plot([x], [y], look.marker, color=_colour(look), mfc=face, ms=4.5, mew=0.9, zorder=3)


def _label(
    frame: "Axes", text: str, point: tuple[float, float], offset: tuple[float, float], look: Look, *, line: bool
) -> None:
    """A text whose left end is so many points away from its mark, with a thin line to it if asked for."""
    arrow = {"arrowstyle": "-", "lw": 0.4, "color": _colour(look), "shrinkB": 0} if line else None
    how: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False, "arrowprops": arrow}
    frame.annotate(text, point, xytext=offset, va="center", color=_colour(look), **how)


def _cost_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Powers of two, or round numbers where fewer than three of those are in the range."""
    first, last = ceil(log2(low)), floor(log2(high))
    if last - first < 2:
        ticks = log_ticks(low, high)
        return ticks, [f"{tick:g}" for tick in ticks]
    powers = range(first, last + 1, ceil((last - first + 1) / 7))
    plain = first >= -3 and last <= 16
    words = [f"{2.0**power:g}" if plain else f"2{str(power).translate(SUPERSCRIPTS)}" for power in powers]
    return [2.0**power for power in powers], words
