"""The recipe of deepmind/mnist-cluttered in plain loops: fragments are added and clipped, then digits one by one."""

from collections.abc import Sequence

import numpy as np


def cluttered(
    sprites: np.ndarray,
    digits: Sequence[tuple[int, ...]],
    clutter: Sequence[tuple[int, ...]],
    *,
    canvas: int,
    fragment: int = 8,
) -> np.ndarray:
    """Levels from 0 to 1 of digits (source, x, y) over clutter (source, cut_x, cut_y, x, y)."""
    image = np.zeros((canvas, canvas))
    for source, cut_x, cut_y, x, y in clutter:
        for row in range(fragment):
            for column in range(fragment):
                image[y + row, x + column] += sprites[source, cut_y + row, cut_x + column]
    image[image >= 1] = 1
    for source, x, y in digits:
        for row in range(28):
            for column in range(28):
                image[y + row, x + column] = min(1, image[y + row, x + column] + sprites[source, row, column])
    return image
