"""Figure files for a paper with their captions: score against cost, paired differences, learning curves.

Drawn by matplotlib in a style of seaborn, at the size in which they are printed. Both are imported when a figure is
made and not before: they take seconds to load, and the page needs neither.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from . import paper_panels
from .claims import Cell
from .curves import panels
from .figures import CostAxis, compared, compared_heads, looks, named, priced, priced_axes
from .listing import escaped
from .paper_panels import LEGEND, LETTERS, ROW, curve_name
from .svg import Look, text_width
from .table import ordered, replace_file
from .trade_off_claims import trade_offs
from .wording import SCOPE, level, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("pdf", "png", "svg")
COLUMN, TEXT = 3.3, 6.9
"""Inches: one column of two, and the width of the text."""
TALLEST, PANEL = 8.0, 2.3
"""Inches: the tallest figure, beyond which the next one begins; and a panel with its axes."""
DIRECT = 6
"""Methods that are labelled beside their marks; labels of more would cover a panel, and a legend names them."""
STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same letters, and bytes, on every machine
    "axes.titlelocation": "left",
    "text.parse_math": False,  # a name with two $ is a name
    "pdf.fonttype": 42,  # letters stay letters: publishers refuse type 3
    "svg.fonttype": "none",
    "svg.hashsalt": "zoombench",
    "savefig.dpi": 300,
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **{f"{of}size": LETTERS for of in ("font.", "axes.label", "axes.title", "xtick.label", "ytick.label")},
}
UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
T = TypeVar("T")


@dataclass(frozen=True)
class Drawing:
    """One figure and what is said below it."""

    name: str
    figure: "Figure"
    caption: str


def write(
    table: pd.DataFrame, cells: Sequence[Cell], folder: Path, kind: str, *, curves: pd.DataFrame | None = None
) -> tuple[Path, tuple[str, ...]]:
    """Write every figure as a file of one of KINDS, and figures.tex, which has them with their captions.

    Returns the path of figures.tex, and what could not be drawn and why. The same input gives the same bytes, whatever
    a matplotlibrc says. Raises OSError if the folder cannot be written.
    """
    import seaborn
    from matplotlib import style

    folder.mkdir(parents=True, exist_ok=True)
    lines, reasons = [], []
    with style.context(["default", seaborn.axes_style("ticks"), STYLE]):
        for made in _every(ordered(table), cells, curves):
            if isinstance(made, str):
                reasons.append(" ".join(made.split()))
                continue
            if unknown := _legible(made.figure):
                reasons.append(f"letters of {made.name} that the font lacks, each a □ there: {unknown}")
            replace_file(folder / f"{made.name}.{kind}", lambda path, made=made: _save(made.figure, path, kind))
            kept = f"figure{'*' if made.figure.get_figwidth() > COLUMN else ''}"
            lines += [rf"\begin{{{kept}}}", r"\centering", rf"\includegraphics{{{made.name}}}"]
            lines += [rf"\caption{{{escaped(made.caption)}}}", rf"\label{{fig:{made.name}}}", rf"\end{{{kept}}}", ""]
    head = r"% Needs \usepackage{graphicx}, and \graphicspath with this folder. Sizes are final: do not scale."
    text = "\n".join([head, *(f"% Not drawn: {reason}" for reason in reasons), "", *lines])
    path = folder / "figures.tex"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
    return path, tuple(reasons)


def _save(figure: "Figure", path: Path, kind: str) -> None:
    figure.savefig(path, format=kind, metadata=UNDATED[kind])


def _legible(figure: "Figure") -> str:
    """Put □ for letters that the font has no shape of, control characters among them; return those letters."""
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    shapes, unknown = get_font(findfont("DejaVu Sans")).get_charmap(), set()
    for text in figure.findobj(Text):
        words = " ".join(text.get_text().split())
        if lacking := {letter for letter in words if ord(letter) not in shapes}:
            unknown |= lacking
            text.set_text("".join("□" if letter in lacking else letter for letter in words))
    return ", ".join(letter if letter.isprintable() else f"U+{ord(letter):04X}" for letter in sorted(unknown))


def _every(table: pd.DataFrame, cells: Sequence[Cell], curves: pd.DataFrame | None) -> Iterator[Drawing | str]:
    """Every figure, or the reason why there is none."""
    styles, axes = looks(cells), priced_axes(cells)
    if not axes:
        yield "score against cost: no method has both a score and a finite cost above zero"
    for axis in axes:
        yield from _trade_offs(table, cells, styles, axis)
    yield from _forests(cells, styles)
    if curves is not None and not curves.empty:
        yield from _learning(table, cells, styles, curves)


def _trade_offs(
    table: pd.DataFrame, cells: Sequence[Cell], styles: Mapping[str, Look], axis: CostAxis
) -> Iterator[Drawing | str]:
    """One panel a data set and metric, with every budget in it."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if priced(cell, axis):
            groups.setdefault((cell.dataset, cell.metric.name), []).append(cell)
        else:
            yield f"score against {axis.name} on {cell.title}: no method has both there"
    doubts = {
        (one.dataset, one.budget, one.metric): {point.method for point in one.front if point.undecided}
        for one in trade_offs(table, cells, axis.key)
    }
    for number, part in enumerate(_filled([(PANEL / 2, group) for group in groups.values()])):
        shown = [cell for group in part for cell in group]
        most = max(len({entry.method for cell in group for entry, _ in priced(cell, axis)}) for group in part)
        lines = 0 if most <= DIRECT else ceil(len({e.method for cell in shown for e in cell.entries}) / LEGEND)
        figure, frames = _panels(len(part), below=(LETTERS * 1.7 * lines + 8) / 72 if lines else 0.0)
        for frame, group in zip(frames, part, strict=True):
            # Redrawn seeds tell who is on the front of one budget; of several together they do not.
            doubtful = doubts[group[0].dataset, group[0].budget, group[0].metric.name] if len(group) == 1 else ()
            paper_panels.trade_off(frame, group, styles, axis, undecided=doubtful, direct=not lines)
        if lines:
            paper_panels.legend(figure, shown, styles)
        yield Drawing(_numbered(axis.key.replace("_", "-"), number), figure, _of_trade_offs(part, axis))


def _of_trade_offs(groups: Sequence[Sequence[Cell]], axis: CostAxis) -> str:
    cells = [cell for group in groups for cell in group]
    shown = {id(cell): [entry for entry, _ in priced(cell, axis)] for cell in cells}
    seeds = [entry.summary.n for entries in shown.values() for entry in entries]
    measured = any(axis.key in entry.cost.intervals for entries in shown.values() for entry in entries)
    absent = [f"{e.method} on {cell.title}" for cell in cells for e in cell.entries if e not in shown[id(cell)]]
    several = any(len(group) > 1 for group in groups)
    names = "; ".join(dict.fromkeys(f"{cell.metric.name} on {cell.dataset}" for cell in cells))
    return (
        f"Score against {axis.name}: {names}. A mark is the mean over seeds with its {level(cells[0].alpha)} t interval"
        + (f" and, across, that of the mean log {axis.name}" if measured else "")
        + f"; a faint dot is a seed ({_n(seeds, 'seed')} a mark). "
        + ("A thin line joins the budgets of a method. " if several else "")
        + "The dashed steps join the tested, competing methods that no other beats on both means; upper bounds do not "
        "compete. "
        + ("Of one budget alone, a" if several else "A")
        + " hollow mark may or may not be on the front: redrawn seeds put it there in 5 to 95% of the draws. "
        + (f"Without a score or a finite cost above zero, and not shown: {', '.join(absent)}. " if absent else "")
        + f"Intervals are pointwise, unadjusted. Scope: {SCOPE}; measured costs hold for the hardware at hand."
    )


def _forests(cells: Sequence[Cell], styles: Mapping[str, Look]) -> Iterator[Drawing | str]:
    """One panel a cell, below each other."""
    some = [cell for cell in cells if any(claim.comparison.complete for claim in cell.claims)]
    for cell in cells:
        if cell not in some:
            yield f"differences from {cell.reference} on {cell.title}: no method finished beside it"
    if not some:
        return
    rows = [("", *compared_heads(cell)) for cell in some]
    rows += [(named(claim), *compared(cell, claim)) for cell in some for claim in cell.claims]
    names, *texts = [
        max(text_width(word, LETTERS) for word in column) / 72 + 0.12 for column in zip(*rows, strict=True)
    ]
    width = max(TEXT - names - sum(texts) - 0.1, 1.0)
    columns = [72 * (width + 0.1 + sum(texts[:place])) for place in range(3)]
    heights = [(ROW * len(cell.claims) + 62) / 72 for cell in some]
    for number, part in enumerate(_filled([(tall, (tall, cell)) for tall, cell in zip(heights, some, strict=True)])):
        figure, above = _figure(TEXT, sum(tall for tall, _ in part)), 0.0
        for tall, cell in part:
            frame = _axes(figure, names, above + 26 / 72, width, ROW * len(cell.claims) / 72)
            paper_panels.forest(frame, cell, styles, columns)
            above += tall
        yield Drawing(_numbered("differences", number), figure, _of_forests([cell for _, cell in part]))


def _of_forests(cells: Sequence[Cell]) -> str:
    first, claims = cells[0], [claim.comparison for cell in cells for claim in cell.claims]
    kind = "Mean paired differences over seeds" if first.paired else "Differences of the means of unpaired seeds"
    t = " or ".join(dict.fromkeys("Welch t" if cell.t == "Welch" else cell.t for cell in cells))
    margins = {cell.metric.name: cell.metric.difference(cell.margin, signed=False) for cell in cells if cell.margin}
    declared = ", ".join(f"±{margin} of {name}" for name, margin in margins.items())
    return (
        f"{kind} from {first.reference}, positive is better, with unadjusted {level(first.alpha)} {t} intervals "
        f"({_n([c.complete for c in claims], 'seed')} a method){'; a faint dot is a pair' if first.paired else ''}; "
        f"Holm p over m = {first.m} planned {plural(first.m, 'comparison')}. "
        + (f"The grey band is the declared margin of {declared}. " if declared else "No margin was declared. ")
        + ("Where seeds failed, the finished ones are shown. " if any(c.failed for c in claims) else "")
        + f"Scope: {SCOPE}."
    )


def _learning(
    table: pd.DataFrame, cells: Sequence[Cell], styles: Mapping[str, Look], curves: pd.DataFrame
) -> Iterator[Drawing | str]:
    """One panel a cell, of its own metric."""
    some = []
    for cell in cells:
        own = [panel for panel in panels(curves, table, cell) if panel.metric == cell.metric.name and panel.curves]
        some += [(cell, panel) for panel in own[:1]]
        if not own:
            yield f"learning curves on {cell.title}: {cell.metric.name} was not recorded by epoch"
    for number, part in enumerate(_filled([(PANEL / 2, one) for one in some])):
        names = {curve.method for _, panel in part for curve in panel.curves}
        figure, frames = _panels(
            len(part), right=max(text_width(curve_name(name), LETTERS) for name in names) / 72 + 0.2
        )
        for frame, (cell, panel) in zip(frames, part, strict=True):
            paper_panels.learning(frame, cell, panel, styles)
        seeds = [len(curve.seeds) for _, panel in part for curve in panel.curves]
        yield Drawing(
            _numbered("learning-curves", number),
            figure,
            "Learning curves. Thick: mean over the seeds that reached the epoch, with its pointwise "
            f"{level(part[0][0].alpha)} t band. Thin: a seed ({_n(seeds, 'seed')} a method); a cross where a seed "
            f"ended early. Scope: {SCOPE}.",
        )


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _axes(figure: "Figure", left: float, above: float, width: float, height: float) -> "Axes":
    """A panel at these inches from the left and from above."""
    import seaborn

    across, down = figure.get_size_inches().tolist()
    frame = figure.add_axes((left / across, 1 - (above + height) / down, width / across, height / down))
    seaborn.despine(ax=frame)
    return frame


def _panels(n: int, *, right: float = 0.06, below: float = 0.0) -> tuple["Figure", list["Axes"]]:
    """Panels as wide as a column, two beside each other, or one alone, with room below."""
    figure = _figure(COLUMN if n == 1 else TEXT, PANEL * ceil(n / 2) + below)
    places = [((i % 2) * (TEXT - COLUMN) + 0.5, (i // 2) * PANEL + 0.22) for i in range(n)]
    return figure, [_axes(figure, *place, COLUMN - 0.5 - right, PANEL - 0.66) for place in places]


def _filled(items: Sequence[tuple[float, T]]) -> Iterator[list[T]]:
    """Items of these inches in their order, as many together as a figure may be tall."""
    part: list[T] = []
    used = 0.0
    for inches, item in items:
        if part and used + inches > TALLEST:
            yield part
            part, used = [], 0.0
        part.append(item)
        used += inches
    if part:
        yield part


def _n(numbers: Sequence[int], word: str) -> str:
    """How many, as a caption says it: the smallest and the largest where they differ."""
    least, most = min(numbers), max(numbers)
    return f"n = {most} {plural(most, word)}" if least == most else f"n = {least} to {most} {word}s"


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number + 1}" if number else name
