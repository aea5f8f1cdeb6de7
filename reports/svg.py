"""Plots as inline SVG: the same bytes each time, text that stays text, colours that follow the page's theme.

Written here and not by matplotlib, on purpose: it took ten seconds for the eighty figures of a large report.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, cos, floor, log10, pi, sin

import numpy as np
import numpy.typing as npt

from .statistics import FloatArray

INK = "currentColor"
"""The page's own text colour: near-black on light, near-white on dark."""
SIZE = 9.5
"""Of letters, in pixels of the viewBox, 72 of which are drawn as an inch."""
WIDTHS = (
    "318 401 460 838 636 950 780 275 390 390 500 838 318 361 318 337 636 636 636 636 636 636 636 636 636 636 337 337 "
    "838 838 838 531 1000 684 686 698 770 632 575 775 752 295 295 656 557 863 748 787 603 787 695 635 611 732 684 989 "
    "685 611 685 390 337 390 838 500 500 613 635 550 635 615 352 635 634 278 278 579 278 974 634 612 635 635 411 521 "
    "392 634 592 818 592 592 525 636 337 636 838"
)
"""Of the printable ASCII letters in DejaVu Sans and Verdana, in thousandths of their size."""
_WIDTH = dict(zip(map(chr, range(32, 127)), map(int, WIDTHS.split()), strict=True))
_CROSS = ((1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1), (-1, 3))
_STAR = tuple((r * sin(pi * i / 5), -r * cos(pi * i / 5)) for i in range(10) for r in ((0.22, 0.55)[i % 2 == 0],))
_SHAPES: dict[str, Sequence[tuple[float, float]]] = {
    "s": ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)),
    "D": ((0, -0.7), (0.7, 0), (0, 0.7), (-0.7, 0)),
    "d": ((0, -0.7), (0.42, 0), (0, 0.7), (-0.42, 0)),
    "^": ((0, -0.5), (0.5, 0.5), (-0.5, 0.5)),
    "v": ((0, 0.5), (0.5, -0.5), (-0.5, -0.5)),
    "<": ((-0.5, 0), (0.5, -0.5), (0.5, 0.5)),
    ">": ((0.5, 0), (-0.5, -0.5), (-0.5, 0.5)),
    "P": tuple((x / 6, y / 6) for x, y in _CROSS),
    "X": tuple(((x - y) / 8, (x + y) / 8) for x, y in _CROSS),
    "*": _STAR,
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn, the same in every figure of a page."""

    colour: str
    marker: str
    """o for a circle, or a key of the shapes above."""
    hollow: bool
    place: int
    """Number of the method on the page, the attribute data-m of its marks, by which a script finds them."""

    @property
    def face(self) -> str:
        """Fill of the marker: none for an upper bound."""
        return "none" if self.hollow else self.colour


@dataclass(frozen=True)
class Scale:
    """From data to pixels along one axis."""

    low: float
    high: float
    start: float
    """Pixel of low."""
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> FloatArray:
        """Pixels of these values."""
        data, low, high = np.asarray(values, dtype=np.float64), self.low, self.high
        if self.log:
            data, low, high = np.log(data), np.log(low), np.log(high)
        # Halves, so that a range from the smallest to the largest float has a size.
        pixels: FloatArray = self.start + (self.end - self.start) * ((data / 2 - low / 2) / (high / 2 - low / 2))
        return pixels


class Plot:
    """One figure that is being drawn: a box with two axes, and whatever was put into it."""

    def __init__(self, width: float, height: float, *, x: Scale, y: Scale) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        self._parts: list[str] = []

    def line(
        self, x: npt.ArrayLike, y: npt.ArrayLike, look: Look | None = None, *, width: float = 1.0, opacity: float = 1.0
    ) -> None:
        """A line through points of the data; nan interrupts it."""
        self.path(_path(self.x(x), self.y(y)), look, width=width, opacity=opacity)

    def path(
        self, d: str, look: Look | None = None, *, width: float = 1.0, opacity: float = 1.0, dashed: bool = False
    ) -> None:
        """A line of pixels, as the attribute d of a path."""
        seen = f' stroke-opacity="{opacity:g}"' if opacity < 1 else ""
        dash = ' stroke-dasharray="4 2"' if dashed else ""
        colour = look.colour if look else INK
        self._parts.append(
            f'<path{_mark(look)} d="{d}" fill="none" stroke="{colour}" stroke-width="{width:g}"{seen}{dash}/>'
        )

    def area(self, x: npt.ArrayLike, low: FloatArray, high: FloatArray, look: Look | None, *, opacity: float) -> None:
        """What lies between two lines; nothing where one of them is nan."""
        pixels, inside = self.x(x), np.isfinite(low) & np.isfinite(high)
        ends = np.flatnonzero(np.diff(inside.astype(int), prepend=0, append=0))
        d = ""
        for first, last in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
            there, back = slice(first, last), np.arange(last - 1, first - 1, -1)
            around = np.concatenate([pixels[there], pixels[back]]), np.concatenate([low[there], high[back]])
            d += _path(around[0], self.y(around[1])) + "z"
        if d:
            colour = look.colour if look else "#808080"
            self._parts.append(f'<path{_mark(look)} d="{d}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def dots(self, x: npt.ArrayLike, y: float, look: Look) -> None:
        """Small points in a row: lines of no length with round ends, each for itself: two are darker than one."""
        at = "".join(f'<path d="M{one:.1f} {float(self.y(y)):.1f}h0"/>' for one in self.x(x).tolist())
        if at:
            self._parts.append(
                f'<g{_mark(look)} stroke="{look.colour}" stroke-width="4" stroke-linecap="round" stroke-opacity="0.75">'
                f"{at}</g>"
            )

    def marker(self, x: float, y: float, look: Look, *, size: float, edge: float = 1.0, hollow: bool = False) -> None:
        """The mark of a method at a point of the data."""
        across, down = float(self.x(x)), float(self.y(y))
        face = "none" if hollow else look.face
        drawn = f'{_mark(look)} fill="{face}" stroke="{look.colour}" stroke-width="{edge:g}"/>'
        if look.marker == "o":
            self._parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{size / 2:g}"{drawn}')
            return
        corners = np.array(_SHAPES[look.marker]) * size + (across, down)
        self._parts.append(f'<path d="{_path(corners[:, 0], corners[:, 1])}z"{drawn}')

    def cross(self, across: float, down: float, look: Look) -> None:
        """A small cross at a pixel: a failed or an ended seed."""
        d = f"M{across - 2.5:.1f} {down - 2.5:.1f}l5 5m0-5l-5 5"
        self.path(d, look)

    def text(
        self,
        across: float,
        down: float,
        words: str,
        look: Look | None = None,
        *,
        anchor: str = "start",
        size: float = SIZE,
        bold: bool = False,
        upward: bool = False,
    ) -> None:
        """Words at a pixel, centred on it from top to bottom."""
        place = f'x="{across:.1f}" y="{down + 0.36 * size:.1f}"'
        if upward:
            place = f'transform="translate({across + 0.36 * size:.1f} {down:.1f})rotate(-90)"'
        place += "" if anchor == "start" else f' text-anchor="{anchor}"'
        place += "" if size == SIZE else f' font-size="{size:g}"'
        place += ' font-weight="bold"' if bold else ""
        self._parts.append(f"<text{_mark(look)} {place}>{escape(words)}</text>")

    def x_axis(self, title: str, ticks: Sequence[float], *, grid: bool = True) -> None:
        """A line below with these ticks and its title, and thin lines upwards from the ticks."""
        at, base, top = self.x(ticks).tolist(), self.y.start, self.y.end
        if grid:
            self.path("".join(f"M{one:.1f} {base:.1f}V{top:.1f}" for one in at), width=0.6, opacity=0.18)
        spine = f"M{self.x.start:.1f} {base:.1f}H{self.x.end:.1f}"
        self.path(spine + "".join(f"M{one:.1f} {base:.1f}v3.5" for one in at), width=0.8)
        texts = _numbers(ticks, log=self.x.log)
        widest, gap = max(map(text_width, texts), default=0.0), at[1] - at[0] if len(at) > 1 and not self.x.log else 1e9
        for one, words in list(zip(at, texts, strict=True))[:: ceil((widest + 4) / gap)]:
            self.text(one, base + 11, words, anchor="middle")
        self.text((self.x.start + self.x.end) / 2, base + 25, title, anchor="middle")

    def y_axis(self, title: str, ticks: Sequence[float], *, grid: bool = True) -> None:
        """The same at the left; the title reads upwards."""
        at, base, right = self.y(ticks).tolist(), self.x.start, self.x.end
        if grid:
            self.path("".join(f"M{base:.1f} {one:.1f}H{right:.1f}" for one in at), width=0.6, opacity=0.18)
        spine = f"M{base:.1f} {self.y.start:.1f}V{self.y.end:.1f}"
        self.path(spine + "".join(f"M{base:.1f} {one:.1f}h-3.5" for one in at), width=0.8)
        for one, words in zip(at, _numbers(ticks, log=self.y.log), strict=True):
            self.text(base - 7, one, words, anchor="end")
        self.text(11, (self.y.start + self.y.end) / 2, title, anchor="middle", upward=True)

    def svg(self, *, prefix: str, title: str, description: str) -> str:
        """The figure as an <svg> element; title and description are plain text and become escaped.

        prefix is put before every id and must be unique on the page.
        """
        return (
            f'<svg class="plot" role="img" aria-labelledby="{prefix}-title {prefix}-desc" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" xmlns="http://www.w3.org/2000/svg" '
            f'style="width:{self.width / 72:.2f}in" font-size="{SIZE}" font-family="\'DejaVu Sans\', Verdana" '
            f'fill="{INK}"><title id="{prefix}-title">{escape(title)}</title>'
            f'<desc id="{prefix}-desc">{escape(description)}</desc>\n'
            '<g aria-hidden="true">\n' + "\n".join(self._parts) + "\n</g></svg>"
        )


def text_width(words: str, size: float = SIZE) -> float:
    """Pixels that words take in the font of the figures; letters that it lacks are guessed."""
    wide = ("W", "F")
    widths = (_WIDTH.get(one, 1000 if unicodedata.east_asian_width(one) in wide else 640) for one in words)
    return size * sum(widths) / 1000


def around(values: Sequence[npt.ArrayLike], *, margin: float = 0.05) -> tuple[float, float]:
    """The range of everything finite in these values, with room at both ends; some range even of nothing."""
    every = np.concatenate([np.ravel(np.asarray(one, dtype=np.float64)) for one in values] or [np.empty(0)])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    if high / 2 - low / 2 <= 1e-12 * max(abs(low), abs(high)):
        room = 0.05 * abs(low) or 0.05
        return low - room, high + room
    room = margin * (high - low)
    return low - room, high + room


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers at equal steps from low to high, at most so many."""
    raw = (high - low) / most
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if factor * power >= raw * (1 - 1e-9))
    return [step * number for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _numbers(ticks: Sequence[float], *, log: bool) -> list[str]:
    """Ticks as text; at equal steps with the digits that tell them apart, the same number for all."""
    texts = [f"{tick:g}" for tick in ticks]
    if not log and len(ticks) > 1:
        plain = all(tick == 0 or 1e-4 <= abs(tick) < 1e7 for tick in ticks)
        for digits in range(16):
            texts = [f"{tick + 0.0:.{digits}{'f' if plain else 'e'}}" for tick in ticks]
            if all(
                abs(float(text) - tick) < 1e-3 * (ticks[1] - ticks[0]) for text, tick in zip(texts, ticks, strict=True)
            ):
                break
    return [text.replace("-", "−") for text in texts]


def _path(x: FloatArray, y: FloatArray) -> str:
    parts, pen = [], "M"
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if across != across or down != down:
            pen = "M"
            continue
        parts.append(f"{pen}{across:.1f} {down:.1f}")
        pen = "L"
    return "".join(parts)


def _mark(look: Look | None) -> str:
    return "" if look is None else f' data-m="{look.place}"'
