"""Cells in, inline SVG out: scores, paired differences, accuracy versus compute.

Every figure shows the raw seeds beside estimate and interval, labels its marks directly, and never tells methods
apart by colour alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .claims import COST_NAMES, TRAINING, Cell, Claim, Entry
from .labels import Box, label_points
from .statistics import FloatArray
from .svg import INK, Look, Plot, Scale, around, round_ticks, text_width
from .wording import level, p_value

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""The Okabe-Ito colours with a contrast of 3 or more on white and on the dark page; the rest fail on white."""
GREY = "#808080"
MOST_DOTS = 200
"""Seeds drawn of one method, evenly chosen; more dots only cover each other and make the page large."""
MARKERS = "osv^PXd<>*"
ROW = 30.24
"""Pixels between two methods that are drawn below each other."""


@dataclass(frozen=True)
class CostAxis:
    """One way to say what a method costs: an attribute of `claims.Cost`, and its name on an axis."""

    key: str
    label: str

    @property
    def name(self) -> str:
        """Its name in a sentence."""
        return COST_NAMES[self.key]

    def of(self, entry: Entry) -> float | None:
        """What one image, one training step or one trial of this method costs; None where it was not measured."""
        cost: float | None = getattr(entry.cost, self.key)
        return cost


COST_AXES = (
    CostAxis("gflops", "GFLOPs of one image, forward"),
    CostAxis("latency_ms_p50", "latency of one image in ms, median, batch 1"),
    CostAxis("peak_memory_mib", "peak memory of a training step in MiB"),
    CostAxis("energy_j", "energy of one image in joules"),
    CostAxis("gpu_hours", "GPU-hours to train one trial"),
    CostAxis("train_seconds", "seconds to train one trial"),
)


def looks(cells: Sequence[Cell]) -> dict[str, Look]:
    """A colour and a marker for every method, in the order of the cells' entries.

    Ink for the reference, grey and hollow for upper bounds. The four methods of the best mean rank over the cells get
    the colours, in the order of the page; the rest are grey and told apart by marker and label.
    """
    entries = {entry.method: entry.competes for cell in cells for entry in cell.entries}
    references = {cell.reference for cell in cells}
    rivals = [name for name, competes in entries.items() if competes and name not in references]
    ranks = _mean_ranks(cells, rivals)
    best = sorted(rivals, key=lambda name: (ranks[name], rivals.index(name)))[: len(COLOURS)]
    colours = dict(zip((name for name in rivals if name in best), COLOURS, strict=False))
    found: dict[str, Look] = {}
    for place, name in enumerate(entries):
        if name in references:
            found[name] = Look(INK, "D", hollow=False, place=place)
        elif not entries[name]:
            found[name] = Look(GREY, "o", hollow=True, place=place)
        else:
            marker = MARKERS[rivals.index(name) % len(MARKERS)]
            found[name] = Look(colours.get(name, GREY), marker, hollow=False, place=place)
    return found


def _mean_ranks(cells: Sequence[Cell], methods: Sequence[str]) -> dict[str, float]:
    """Mean over the cells of each method's rank by mean score, 1 is best; ties share, who has no score is last."""
    ranks: dict[str, list[float]] = {name: [] for name in methods}
    for cell in cells:
        sign = 1.0 if cell.metric.higher_is_better else -1.0
        known = {e.method: sign * e.summary.mean for e in cell.entries if e.summary.mean is not None}
        scores = np.array([known.get(name, -np.inf) for name in methods])
        for name, score in zip(methods, scores, strict=True):
            ranks[name].append(float((scores > score).sum() + ((scores == score).sum() + 1) / 2))
    return {name: float(np.mean(places)) for name, places in ranks.items()}


def scores(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Score of each method: a dot a seed, the mean, its t interval. None if nothing finished."""
    entries, scale = cell.entries, cell.metric.scale
    if not any(entry.summary.n for entry in entries):
        return None
    shown = [
        scale * np.array([*s.values, *((s.interval.low, s.interval.high) if s.interval else ())])
        for s in (entry.summary for entry in entries)
    ]
    plot = _rows([named(entry) for entry in entries], around(shown), width=619.2, left=161.0, right=495.4, top=7.2)
    plot.x_axis(cell.metric.axis, round_ticks(plot.x.low, plot.x.high, 7))
    for row, entry in enumerate(entries):
        look, s = styles[entry.method], entry.summary
        plot.dots(scale * thinned(s.values), row + 0.16, look)
        for place in range(min(int(s.failures.k), 10)):  # a failed seed has no score: a cross at the edge
            plot.cross(plot.x.start + 5 + 8 * place, float(plot.y(row + 0.16)), look)
        if s.mean is not None:
            if s.interval is not None:
                plot.line([scale * s.interval.low, scale * s.interval.high], [row - 0.1] * 2, look, width=1.8)
            if s.n > 2:
                plot.marker(scale * s.mean, row - 0.1, look, size=7)
        plot.text(plot.x.end + 7, float(plot.y(row)), _score_text(cell, entry), look)
    best = _best(cell)
    return plot.svg(
        prefix=prefix,
        title=f"{cell.metric.name} of each method on {cell.title}",
        description=f"Best mean of a competing method: {best}. Bars are {level(cell.alpha)} t intervals.",
    )


def forest(cell: Cell, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """Difference of every method from the reference. None if there is none."""
    claims, scale, metric = cell.claims, cell.metric.scale, cell.metric
    if not any(claim.comparison.complete for claim in claims):
        return None
    margin = scale * (cell.margin or 0.0)
    shown: list[FloatArray] = [np.array([0.0, -margin, margin])]
    for c in (claim.comparison for claim in claims):
        ends = (c.interval.low, c.interval.high) if c.interval else ()
        shown.append(scale * np.array([*c.differences, *ends, *((c.effect,) if c.effect is not None else ())]))
    names = [named(claim) for claim in claims]
    plot = _rows(names, around(shown, margin=0.08), width=734.4, left=161.6, right=418.6, top=25.2)
    if margin:
        plot.area([-margin, margin], np.full(2, plot.y.low), np.full(2, plot.y.high), None, opacity=0.18)
    plot.x_axis(difference_axis(cell), round_ticks(plot.x.low, plot.x.high, 6))
    plot.line([0, 0], [plot.y.low, plot.y.high], opacity=0.7)
    across = (plot.x.end + 8, plot.x.end + 206, plot.x.end + 257)
    for x, text in zip(across, compared_heads(cell), strict=True):
        plot.text(x, plot.y.end - 11, text, bold=True)
    for row, claim in enumerate(claims):
        c, look = claim.comparison, styles[claim.method]
        plot.dots(scale * thinned(c.differences), row + 0.16, look)
        if c.interval is not None:
            plot.line([scale * c.interval.low, scale * c.interval.high], [row - 0.1] * 2, look, width=1.8)
        if c.effect is not None and c.complete > 2:
            plot.marker(scale * c.effect, row - 0.1, look, size=7)
        for x, text in zip(across, compared(cell, claim), strict=True):
            plot.text(x, float(plot.y(row)), text, look)
    decided = [
        f"{c.method} {c.verdict.word}"
        + (f" by {metric.difference(abs(c.comparison.effect), signed=False)}" if c.comparison.effect else "")
        for c in claims
        if c.verdict.decided
    ]
    return plot.svg(
        prefix=prefix,
        title=f"{'Paired differences' if cell.paired else 'Differences'} from {cell.reference} on {cell.title}",
        description=("; ".join(decided) or "No method is shown to differ from the reference")
        + (". Dots are seeds." if cell.paired else ". Seeds are not paired; bars are Welch's t intervals."),
    )


def difference_axis(cell: Cell) -> str:
    """What an axis of differences from the reference is called."""
    unit = f"{cell.metric.difference_unit}, " if cell.metric.unit else ""
    return f"{cell.metric.name}: difference from {clip(cell.reference)} ({unit}+ is better)"


def compared_heads(cell: Cell) -> tuple[str, str, str]:
    """The heads of `compared`."""
    interval = f"effect [{level(cell.alpha)} {cell.t}{'' if cell.splits else ' interval'}]"
    return interval, "Holm p", "pairs" if cell.paired else "seeds"


def compared(cell: Cell, claim: Claim) -> tuple[str, str, str]:
    """A difference from the reference as text beside its plot; no effect is stated of fewer than three."""
    c = claim.comparison
    effect = c.effect if c.complete > 2 else None
    return (
        f"{cell.metric.difference(effect)} {cell.metric.differences(c.interval)}" if effect is not None else "–",
        p_value(claim.p_holm),
        (f"{c.complete}" if c.groups is None else f"{c.groups.method} / {c.groups.reference}")
        + (f" (+{c.failed} failed)" if c.failed else ""),
    )


def trade_off(
    cell: Cell, styles: Mapping[str, Look], axis: CostAxis, *, prefix: str, undecided: Collection[str] = ()
) -> str | None:
    """Score against one cost on a log axis, with a stepped front of the competing methods. None if no cost is known.

    Methods that are undecided, which may or may not be on the front, are drawn hollow.
    """
    shown = priced(cell, axis)
    if not shown:
        return None
    scale = cell.metric.scale
    widths = {entry.method: entry.cost.intervals.get(axis.key) for entry, _ in shown}
    means = {entry.method: scale * (entry.summary.mean or 0.0) for entry, _ in shown}
    heights = {entry.method: s.interval for entry, _ in shown if (s := entry.summary)}
    costs = np.log(
        [c for e, cost in shown for w in (widths[e.method],) for c in (cost, *((w.low, w.high) if w else ()))]
    )
    reach = max((np.ptp(costs) * 1.1) / 2 + np.log(1.25), np.log(2.0))
    low, high = np.exp((costs.min() + costs.max()) / 2 + np.array([-reach, reach])).tolist()
    spans = [scale * np.array([i.low, i.high]) for i in heights.values() if i]
    x = Scale(low, high, 54.0, 349.2, log=True)
    y = Scale(*around([*means.values(), *spans], margin=0.18), 238.7, 11.2)
    plot = Plot(360.0, 280.8, x=x, y=y)
    plot.x_axis(axis.label, log_ticks(low, high))
    plot.y_axis(cell.metric.axis, round_ticks(y.low, y.high, 7))
    bars: list[Box] = []
    front = _front(cell, axis)
    if front:
        pixels = [(float(x(cost)), float(y(scale * mean))) for cost, mean in front]
        steps = "".join(f"H{a:.1f}V{b:.1f}" for a, b in pixels[1:]) + f"H{x.end:.1f}"
        plot.path(f"M{pixels[0][0]:.1f} {pixels[0][1]:.1f}{steps}", opacity=0.55, dashed=True)
        for (a, b), (c, d) in zip(pixels, [*pixels[1:], (x.end, pixels[-1][1])], strict=True):
            bars += [(a - 1, b - 1, c + 1, b + 1), (c - 1, min(b, d) - 1, c + 1, max(b, d) + 1)]
    for entry, cost in shown:
        look, mean, tall, wide = styles[entry.method], means[entry.method], heights[entry.method], widths[entry.method]
        if tall is not None:
            plot.line([cost] * 2, [scale * tall.low, scale * tall.high], look, width=1.6)
            down, up = y([scale * tall.low, scale * tall.high]).tolist()
            bars.append((float(x(cost)) - 2, up, float(x(cost)) + 2, down))
        if wide is not None:
            plot.line([wide.low, wide.high], [mean] * 2, look, width=1.6)
            left, right = x([wide.low, wide.high]).tolist()
            bars.append((left, float(y(mean)) - 2, right, float(y(mean)) + 2))
    points = [(float(x(cost)), float(y(means[entry.method]))) for entry, cost in shown]
    texts = [named(entry, 22) for entry, _ in shown]
    sizes = [(text_width(text, 9), 11.0) for text in texts]
    labels = label_points(points, sizes, frame=(x.start, y.end, x.end, y.start), obstacles=bars)
    for (a, b), label, (entry, _) in zip(points, labels, shown, strict=True):
        if label.leader is not None:
            c, d = label.leader
            plot.path(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}", styles[entry.method], width=0.6, opacity=0.6)
    for label, text, (entry, cost) in zip(labels, texts, shown, strict=True):
        look = styles[entry.method]
        plot.marker(cost, means[entry.method], look, size=8, edge=1.6, hollow=entry.method in undecided)
        plot.text(label.box[0] + 2, (label.box[1] + label.box[3]) / 2, text, look, size=9)
    best = cell.front(axis.key)
    return plot.svg(
        prefix=prefix,
        title=f"{cell.metric.name} against {axis.name} on {cell.title}",
        description=(
            f"On the front of the means, cheapest first: {', '.join(best)}." if best else "No method is on a front."
        ),
    )


def priced_axes(cells: Sequence[Cell]) -> list[CostAxis]:
    """The costs that any of these cells can be drawn against."""
    found = [axis for axis in COST_AXES if any(priced(cell, axis) for cell in cells)]
    return found[:-1] if sum(axis.key in TRAINING for axis in found) > 1 else found  # hours say what seconds say


def thinned(values: Sequence[float]) -> FloatArray:
    """At most MOST_DOTS of these values, evenly chosen."""
    return np.array(values, dtype=np.float64)[:: max(1, -(-len(values) // MOST_DOTS))]


def log_ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers on a log axis."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0,)):
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= 6:
            return found
    return found[:: -(-len(found) // 6)]


def _front(cell: Cell, axis: CostAxis) -> list[tuple[float, float]]:
    """Cost and mean of the methods on the front, cheapest first."""
    costs = {entry.method: cost for entry, cost in priced(cell, axis)}
    return [(costs[name], cell.entry(name).summary.mean or 0.0) for name in cell.front(axis.key) if name in costs]


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


def _rows(
    names: Sequence[str], across: tuple[float, float], *, width: float, left: float, right: float, top: float
) -> Plot:
    """An empty plot with a name at the left of each row."""
    bottom = top + ROW * len(names) + 28.8
    x, y = Scale(*across, left, right), Scale(len(names) - 0.5, -0.5, bottom, top)
    plot = Plot(width, bottom + 39.6, x=x, y=y)
    for row, name in enumerate(names):
        plot.text(left - 4, float(y(row)), name, anchor="end")
    return plot


def named(entry: Entry | Claim, longest: int = 26) -> str:
    """A method as a figure calls it."""
    return clip(entry.method, longest) + ("" if entry.competes else " (bound)")


def clip(name: str, longest: int = 26) -> str:
    """A name with its end left out where it is too long for a figure."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
