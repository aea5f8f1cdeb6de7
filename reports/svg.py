"""A matplotlib figure as inline SVG: the same bytes each time, unique ids, colours that follow the theme."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Drawn in this, shown in the page's own text colour: near-black on light, near-white on dark."""
FONT = "DejaVu Sans"
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: searchable, a tenth of the bytes; Verdana has the same widths
    "svg.hashsalt": "zoombench",
    "text.parse_math": False,  # a method's name may hold a dollar sign
    "font.family": [FONT],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.unicode_minus": True,
    "path.simplify": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Settings under which every figure of the page is made; global settings come back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # A name in another script is measured without its glyphs here, and drawn by the browser, which has them.
        warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches, with no ties to pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=72)  # the dpi of an SVG, so that pixels measure the same
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: "Figure", *, prefix: str, title: str, description: str) -> str:
    """The figure as an <svg> element for a page; title and description are plain text and become escaped.

    prefix is put before every id and must be unique on the page. An id method-3, of any number of marks, becomes the
    attribute data-m="3", by which a script finds what belongs to a method.
    """
    buffer = io.StringIO()
    empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=empty)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="method-(\d+)"', r'data-m="\1"', text)
    text = re.sub(r'\bid="([^"]*)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]*)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}-\1)", text)
    text = text.replace(INK, "currentColor").replace(f"'{FONT}'", f"'{FONT}', Verdana")
    text = re.sub(r"\*\{[^}]*\}", "", text)  # matplotlib's style of * would reach the whole page
    text = re.sub(r"<defs>\s*<style[^>]*>\s*</style>\s*</defs>", "", text)
    text = re.sub(r' (?:d|x|y|transform)="[^"]*"', _short, text)
    head = re.search(r"<svg[^>]*>", text)
    view = re.search(r'viewBox="([^"]*)"', text)
    assert head is not None, "matplotlib wrote no svg head"
    assert view is not None, "matplotlib wrote no viewBox"
    opening = (
        f'<svg class="plot" role="img" aria-labelledby="{prefix}-title {prefix}-desc" viewBox="{view.group(1)}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'style="width:{figure.get_figwidth():.2f}in" stroke-linejoin="round" stroke-linecap="butt">'
        f'<title id="{prefix}-title">{escape(title)}</title><desc id="{prefix}-desc">{escape(description)}</desc>'
    )
    body = text[head.end() :].replace("<g ", '<g aria-hidden="true" ', 1)
    return opening + re.sub(r"\n\s*", "\n", body).strip()


def _short(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, paths without the spaces that they can miss: half the bytes."""
    text = re.sub(r"(?<=\.\d\d)\d+", "", attribute.group(0))
    if not text.startswith(" d="):
        return text
    text = re.sub(r"(?<=\.\d)0\b", "", text)
    return ' d="' + re.sub(r"\s*([A-Za-z])\s*", r"\1", text[4:])
