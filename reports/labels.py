"""Direct labels that do not overlap: next to their point where there is room, with a thin line where there is not.

Everything is in pixels, y downwards; a box is left, top, right, bottom.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_WAYS = np.array([(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)])
Box = tuple[float, float, float, float]


class Label(NamedTuple):
    """Where a text goes."""

    box: Box
    leader: tuple[float, float] | None
    """Where a thin line from the point ends; None beside the point."""


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
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    frame: Box,
    obstacles: Sequence[Box] = (),
) -> list[Label]:
    """Place a text of each size (width, height) where it covers no other text, no point and no obstacle.

    Tries eight directions, then further away with a line to the point; falls back on the place that covers least.
    """
    taken = [np.array(box) for box in obstacles] + [np.array([x - 6, y - 6, x + 6, y + 6]) for x, y in points]
    placed: dict[int, Label] = {}
    for place in sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0])):
        size, least = np.array(sizes[place]), np.inf
        for distance in (9, 20, 34, 50, 70, 95):
            corner = np.array(points[place]) + distance * _WAYS + size * (_WAYS - 1) / 2 - (2, 1)
            boxes = np.hstack([corner, corner + size + (4, 2)])
            covered = _overlaps(boxes, np.array(taken)).sum(axis=1) + 10 * _outside(boxes, np.array(frame))
            chosen = int(np.argmax(covered < covered.min() + 1e-6))  # the first of equals
            if covered[chosen] < least - 1e-6:
                least, box, far = float(covered[chosen]), boxes[chosen], distance > 9
            if least <= 1e-6:
                break
        taken.append(box)
        left, top, right, bottom = box.tolist()
        near = right if right < points[place][0] else left if left > points[place][0] else (left + right) / 2
        placed[place] = Label((left, top, right, bottom), (near, (top + bottom) / 2) if far else None)
    return [placed[place] for place in range(len(points))]


def _overlaps(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area that each box shares with each other one."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    areas: npt.NDArray[np.float64] = np.maximum(high - low, 0.0).prod(axis=2)
    return areas


def _outside(boxes: npt.NDArray[np.float64], frame: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Area of each box beyond the frame."""
    whole: npt.NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return whole - _overlaps(boxes, frame[None])[:, 0]
