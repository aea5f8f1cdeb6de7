"""Cells in, inline SVG out: scores, paired differences, accuracy versus compute.

Every figure shows the raw seeds beside estimate and interval, labels its marks directly, and never tells methods
apart by colour alone.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .claims import Cell, Entry
from .labels import label_points
from .statistics import FloatArray
from .svg import INK, new_figure, style, to_svg
from .wording import level, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""The Okabe-Ito colours with a contrast of 3 or more on white and on the dark page; the rest fail on white."""
GREY = "#808080"
MOST_DOTS = 200
"""Seeds drawn of one method, evenly chosen; more dots only cover each other and make the page large."""
MARKERS = "osv^PXd<>*"


@dataclass(frozen=True)
class CostAxis:
    """One way to say what a method costs: an attribute of `claims.Cost`, its name in a sentence and on an axis."""

    key: str
    name: str
    label: str

    def of(self, entry: Entry) -> float | None:
        """What one image, one training step or one trial of this method costs; None where it was not measured."""
        cost: float | None = getattr(entry.cost, self.key)
        return cost


COST_AXES = (
    CostAxis("gflops", "GFLOPs", "GFLOPs of one image, forward"),
    CostAxis("latency_ms_p50", "latency", "latency of one image in ms, median, batch 1"),
    CostAxis("peak_memory_mib", "memory", "peak memory of a training step in MiB"),
    CostAxis("gpu_hours", "GPU-hours", "GPU-hours to train one trial"),
    CostAxis("train_seconds", "training time", "seconds to train one trial"),
)


@dataclass(frozen=True)
class Look:
    """How a method is drawn, the same in every figure of a page."""

    colour: str
    marker: str
    hollow: bool
    place: int
    """Number of the method on the page, by which its marks are found again."""

    @property
    def gid(self) -> str:
        """Id of every mark of the method in a figure; `to_svg` makes it the attribute data-m."""
        return f"method-{self.place}"

    @property
    def ink(self) -> dict[str, Any]:
        """Colour and id of a line or marker, as matplotlib takes them."""
        return {"color": self.colour, "gid": self.gid}

    @property
    def face(self) -> str:
        """Fill of the marker: none for an upper bound."""
        return "none" if self.hollow else self.colour


def looks(cells: Sequence[Cell]) -> dict[str, Look]:
    """A colour and a marker for every method, in the order of the cells' entries.

    Ink for the reference, grey and hollow for upper bounds; after four coloured methods the rest are grey and told
    apart by marker and label.
    """
    found: dict[str, Look] = {}
    coloured = 0
    entries = {entry.method: (entry.competes, cell.reference) for cell in cells for entry in cell.entries}
    for place, (name, (competes, reference)) in enumerate(entries.items()):
        if name == reference:
            found[name] = Look(INK, "D", hollow=False, place=place)
        elif not competes:
            found[name] = Look(GREY, "o", hollow=True, place=place)
        else:
            colour = COLOURS[coloured] if coloured < len(COLOURS) else GREY
            found[name] = Look(colour, MARKERS[coloured % len(MARKERS)], hollow=False, place=place)
            coloured += 1
    return found


def scores(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Score of each method: a dot a seed, the mean, its t interval. None if nothing finished."""
    entries = cell.entries
    if not any(entry.summary.n for entry in entries):
        return None
    with style():
        figure = new_figure(8.6, 1.05 + 0.42 * len(entries))
        axes = figure.add_axes(_box(figure.get_figheight(), left=0.26, right=0.80))
        for row, entry in enumerate(entries):
            look, s = styles[entry.method], entry.summary
            scale = cell.metric.scale
            dots = scale * _thinned(s.values)
            axes.plot(dots, [row + 0.16] * len(dots), "o", alpha=0.75, ms=4, mew=0, **look.ink)
            for place in range(min(int(s.failures.k), 10)):  # a failed seed has no score: a cross at the edge
                x = 0.015 + 0.025 * place
                axes.plot(x, row + 0.16, "x", ms=5, transform=axes.get_yaxis_transform(), **look.ink)
            if s.mean is None:
                continue
            if s.interval is not None:
                axes.plot([scale * s.interval.low, scale * s.interval.high], [row - 0.1] * 2, lw=1.8, **look.ink)
            if s.n > 2:
                axes.plot(scale * s.mean, row - 0.1, look.marker, mfc=look.face, ms=7, **look.ink)
        for row, entry in enumerate(entries):
            gid = styles[entry.method].gid
            axes.text(1.02, row, _score_text(cell, entry), transform=axes.get_yaxis_transform(), va="center", gid=gid)
        _rows(axes, [_name(entry) for entry in entries])
        axes.set_xlabel(cell.metric.axis)
        best = _best(cell)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{cell.metric.name} of each method on {cell.title}",
            description=f"Best mean of a competing method: {best}. Bars are {level(cell.alpha)} t intervals.",
        )


def forest(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Difference of every method from the reference. None if there is none."""
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
            dots = scale * _thinned(c.differences)
            axes.plot(dots, [row + 0.16] * len(dots), "o", alpha=0.75, ms=4, mew=0, **look.ink)
            if c.interval is not None:
                axes.plot([scale * c.interval.low, scale * c.interval.high], [row - 0.1] * 2, lw=1.8, **look.ink)
            if c.effect is not None and c.complete > 2:
                axes.plot(scale * c.effect, row - 0.1, look.marker, mfc=look.face, ms=7, **look.ink)
            shown = c.effect if c.complete > 2 else None
            texts = (
                f"{metric.difference(shown)} {metric.differences(c.interval)}" if shown is not None else "–",
                p_value(claim.p_holm),
                (f"{c.complete}" if c.groups is None else f"{c.groups.method} / {c.groups.reference}")
                + (f" (+{c.failed} failed)" if c.failed else ""),
            )
            for x, text in zip((1.03, 1.80, 2.00), texts, strict=True):
                axes.text(x, row, text, transform=axes.get_yaxis_transform(), va="center", gid=look.gid)
        for x, text in zip(
            (1.03, 1.80, 2.00),
            (
                f"effect [{level(cell.alpha)} {'t' if cell.paired else 'Welch'} interval]",
                "Holm p",
                "pairs" if cell.paired else "seeds",
            ),
            strict=True,
        ):
            axes.text(x, -0.75, text, transform=axes.get_yaxis_transform(), va="center", weight="bold")
        _rows(axes, [_clip(claim.method) + ("" if claim.competes else " (bound)") for claim in claims])
        axes.set_xlabel(
            f"{metric.name}: difference from {_clip(cell.reference)} ({metric.difference_unit}, + is better)"
        )
        axes.margins(x=0.08)
        decided = [
            f"{c.method} {c.verdict.word}"
            + (f" by {metric.difference(abs(c.comparison.effect), signed=False)}" if c.comparison.effect else "")
            for c in claims
            if c.verdict.decided
        ]
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{'Paired differences' if cell.paired else 'Differences'} from {cell.reference} on {cell.title}",
            description=("; ".join(decided) or "No method is shown to differ from the reference")
            + (". Dots are seeds." if cell.paired else ". Seeds are not paired; bars are Welch's t intervals."),
        )


def trade_off(
    cell: Cell, styles: Mapping[str, Look], axis: CostAxis, *, prefix: str, undecided: Collection[str] = ()
) -> str | None:
    """Score against one cost on a log axis, with a stepped front of the competing methods. None if no cost is known.

    Methods that are undecided, which may or may not be on the front, are drawn hollow.
    """
    if not priced(cell, axis):
        return None
    with style():
        figure = new_figure(5.0, 3.9)
        axes = figure.add_axes((0.15, 0.15, 0.82, 0.81))
        _panel(axes, cell, styles, axis, undecided)
        axes.set_xlabel(axis.label)
        axes.set_ylabel(cell.metric.axis)
        _labels(axes, cell, axis)
        best = cell.front(axis.key)
        return to_svg(
            figure,
            prefix=prefix,
            title=f"{cell.metric.name} against {axis.name} on {cell.title}",
            description=(
                f"On the front of the means, cheapest first: {', '.join(best)}." if best else "No method is on a front."
            ),
        )


def _panel(axes: "Axes", cell: Cell, styles: Mapping[str, Look], axis: CostAxis, undecided: Collection[str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    scale = cell.metric.scale
    axes.set_xscale("log")
    for entry, cost in priced(cell, axis):
        look, s = styles[entry.method], entry.summary
        mean = scale * (s.mean or 0.0)
        if s.interval is not None:
            axes.plot([cost] * 2, [scale * s.interval.low, scale * s.interval.high], lw=1.6, **look.ink)
        spread_of = entry.cost.latency_interval if axis.key == "latency_ms_p50" else None
        if spread_of is not None:
            axes.plot([spread_of.low, spread_of.high], [mean] * 2, lw=1.6, **look.ink)
        face = "none" if entry.method in undecided else look.face
        axes.plot(cost, mean, look.marker, mfc=face, ms=8, mew=1.6, zorder=4, **look.ink)
    low, high = axes.get_xlim()
    middle, reach = np.sqrt(low * high), max(np.sqrt(high / low) * 1.25, 2.0)
    axes.set_xlim(middle / reach, middle * reach)
    axes.margins(y=0.18)
    x, y = _front(cell, axis, middle * reach)
    axes.step(x, y, where="post", color=INK, lw=1, alpha=0.55, ls=(0, (4, 2)), zorder=1)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(middle / reach, middle * reach)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.18, color=INK, lw=0.6)


def _thinned(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)[:: max(1, -(-len(values) // MOST_DOTS))]


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers on a log axis."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0,)):
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= 6:
            return found
    return found[:: -(-len(found) // 6)]


def _labels(axes: "Axes", cell: Cell, axis: CostAxis) -> None:
    from matplotlib.transforms import Bbox

    shown = priced(cell, axis)
    scale = cell.metric.scale
    points = [(cost, scale * (entry.summary.mean or 0.0)) for entry, cost in shown]
    bars = []
    for entry, cost in shown:
        if entry.summary.interval is not None:
            ends = [(cost, scale * entry.summary.interval.low), (cost, scale * entry.summary.interval.high)]
            (x0, y0), (x1, y1) = axes.transData.transform(ends)
            bars.append(Bbox.from_extents(x0 - 2, min(y0, y1), x1 + 2, max(y0, y1)))
        if axis.key == "latency_ms_p50" and entry.cost.latency_interval is not None:
            width = entry.cost.latency_interval
            y = scale * (entry.summary.mean or 0.0)
            (x0, y0), (x1, y1) = axes.transData.transform([(width.low, y), (width.high, y)])
            bars.append(Bbox.from_extents(x0, y0 - 2, x1, y1 + 2))
    xs, ys = _front(cell, axis, axes.get_xlim()[1])
    for place in range(len(xs) - 1):
        corners = [(xs[place], ys[place]), (xs[place + 1], ys[place]), (xs[place + 1], ys[place + 1])]
        for (x0, y0), (x1, y1) in itertools.pairwise(axes.transData.transform(corners)):
            bars.append(Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    texts = [_clip(entry.method, 22) + ("" if entry.competes else " (bound)") for entry, _ in shown]
    label_points(axes, points, texts, obstacles=bars, ink=INK)


def _front(cell: Cell, axis: CostAxis, edge: float) -> tuple[list[float], list[float]]:
    members = [cell.entry(name) for name in cell.front(axis.key)]
    costs = {entry.method: cost for entry, cost in priced(cell, axis)}
    points = [(costs[e.method], cell.metric.scale * (e.summary.mean or 0.0)) for e in members if e.method in costs]
    points += [(edge, points[-1][1])] if points else []
    return [x for x, _ in points], [y for _, y in points]


def priced(cell: Cell, axis: CostAxis) -> list[tuple[Entry, float]]:
    """Every method with a score and with a cost that a log axis can show, and that cost."""
    costs = [(entry, axis.of(entry)) for entry in cell.entries if entry.summary.mean is not None]
    return [(entry, cost) for entry, cost in costs if cost is not None and 0 < cost < np.inf]


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
