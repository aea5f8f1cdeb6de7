"""Direct labels that do not overlap: next to their point where there is room, with a thin line where there is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_WAYS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)])


def spread(positions: Sequence[float], gap: float, *, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """Move positions on a line as little as needed for all to be at least `gap` apart, in their own order.

    Neighbours that are too close become a block around their mean, until no two blocks touch. Nothing leaves the
    range from low to high, as long as everything has room in it.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    blocks: list[tuple[float, list[int]]] = []  # centre, members
    for i in order:
        blocks.append((min(max(positions[i], low), high), [i]))
        while len(blocks) > 1:
            (below, first), (above, second) = blocks[-2:]
            if above - below >= gap * (len(first) + len(second)) / 2 - 1e-9:
                break
            members = first + second
            centre = (below * len(first) + above * len(second)) / len(members)
            half = gap * (len(members) - 1) / 2
            blocks[-2:] = [(max(min(centre, high - half), low + half), members)]
    placed = [0.0] * len(positions)
    for centre, members in blocks:
        for rank, i in enumerate(members):
            placed[i] = centre + gap * (rank - (len(members) - 1) / 2)
    return placed


def label_points(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    obstacles: Sequence["Bbox"] = (),
    ink: str,
) -> "list[Annotation]":
    """Label each point where its text covers no other label, no point and no obstacle (boxes in pixels).

    Tries eight directions, then further away with a line to the point; falls back on the place that covers least.
    """
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg has one
    frame = axes.get_window_extent(renderer)
    pixels = axes.transData.transform(np.asarray(points, dtype=float)) if len(points) else np.empty((0, 2))
    taken = [box.extents for box in obstacles] + [np.array([x - 6, y - 6, x + 6, y + 6]) for x, y in pixels]
    notes = []
    for place in sorted(range(len(points)), key=lambda i: (-pixels[i][1], pixels[i][0])):
        note = axes.annotate(
            texts[place], points[place], xytext=(0, 0), textcoords="offset pixels", fontsize=9, color=ink, zorder=6
        )
        size = note.get_window_extent(renderer)
        least = np.inf
        for distance in (9, 20, 34, 50, 70, 95):
            xy = distance * _WAYS + np.array([size.width, size.height]) * (_WAYS - 1) / 2
            corner = pixels[place] + xy - (2, 1)
            boxes = np.hstack([corner, corner + np.array([size.width + 4, size.height + 2])])
            covered = _overlaps(boxes, np.array(taken)).sum(axis=1) + 10 * _outside(boxes, np.array(frame.extents))
            chosen = int(np.argmax(covered < covered.min() + 1e-6))  # the first of equals
            if covered[chosen] < least - 1e-6:
                best, least, box, far = tuple(xy[chosen].tolist()), float(covered[chosen]), boxes[chosen], distance
            if least <= 1e-6:
                break
        note.set_position(best)
        taken.append(box)
        if far > 9:
            axes.annotate(
                "",
                points[place],
                xytext=(best[0] + (size.width if best[0] < -size.width / 2 else 0), best[1] + size.height / 2),
                textcoords="offset pixels",
                arrowprops={"arrowstyle": "-", "color": ink, "linewidth": 0.6, "alpha": 0.6, "shrinkB": 5},
            )
        notes.append(note)
    return notes


def _overlaps(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area that each box shares with each other one; a box is x0, y0, x1, y1."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    areas: npt.NDArray[np.float64] = np.maximum(high - low, 0.0).prod(axis=2)
    return areas


def _outside(boxes: npt.NDArray[np.float64], frame: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area of each box beyond the frame."""
    whole: npt.NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return whole - _overlaps(boxes, frame[None])[:, 0]
