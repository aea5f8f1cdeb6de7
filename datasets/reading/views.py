"""Where a view is taken from an image, by rule or drawn: boxes in the image's own pixels.

A view is one box and one resize. Resizing first and cropping then, as the papers' code does, would resample to whole
pixels on the way: the same view to within one of them.
"""

import math

import numpy as np

from .images import Box

DRAWS = 24
"""Numbers that an example's augmentation may use: ten tries of two, a place of two, a flip."""
SHOWN = 0.875
"""Of the shorter side, in the squares: 448 px of 512, as is usual for fine-grained sets (DT-RAM's larger size)."""
TRIES, SCALE, RATIO = 10, (0.08, 1.0), (3 / 4, 4 / 3)  # torchvision's RandomResizedCrop


def draws(seed: int, *, epoch: int, index: int) -> list[float]:
    """Numbers in [0, 1) that depend on these three alone, the same on every platform.

    The top 53 bits of Philox's raw output; key and counter keep seeds, epochs and examples apart.
    """
    generator = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=np.array([0, index, epoch, 0], np.uint64))
    numbers: list[float] = ((generator.random_raw(DRAWS) >> np.uint64(11)) * 2.0**-53).tolist()
    return numbers


def random_resized(width: int, height: int, drawn: list[float]) -> Box:
    """A random part of the area and a random shape, as torchvision's RandomResizedCrop draws them (not to its bits)."""
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    for attempt in range(TRIES):
        area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * drawn[2 * attempt])
        ratio = math.exp(low + (high - low) * drawn[2 * attempt + 1])
        wide, tall = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if wide <= width and tall <= height:
            return place(width, height, wide=wide, tall=tall, at=(drawn[2 * TRIES], drawn[2 * TRIES + 1]))
    wide, tall = min(width, height * RATIO[1]), min(height, width / RATIO[0])
    return place(width, height, wide=float(wide), tall=float(tall))


def drawn_square(width: int, height: int, drawn: list[float]) -> Box:
    """A square of 7/8 of the shorter side, anywhere."""
    side = SHOWN * min(width, height)
    return place(width, height, wide=side, tall=side, at=(drawn[0], drawn[1]))


def central_square(width: int, height: int, drawn: list[float]) -> Box:
    """The same in the middle."""
    side = SHOWN * min(width, height)
    return place(width, height, wide=side, tall=side)


def own_pixels(width: int, height: int, drawn: list[float], *, side: int) -> Box:
    """The central square of so many of the picture's pixels, or of its shorter side where that has fewer."""
    least = float(min(side, width, height))
    return place(width, height, wide=least, tall=least)


def stretched(width: int, height: int, drawn: list[float]) -> Box:
    """The central 7/8 of either side: 700 px of a picture that was stretched to a square of 800."""
    return place(width, height, wide=width * 7 / 8, tall=height * 7 / 8)


def whole(width: int, height: int, drawn: list[float]) -> Box:
    """All of it, stretched to a square."""
    return 0.0, 0.0, float(width), float(height)


def place(width: int, height: int, *, wide: float, tall: float, at: tuple[float, float] = (0.5, 0.5)) -> Box:
    """A box of this size inside the image: at (0, 0) it lies left and on top, at (0.5, 0.5) in the middle."""
    x0, y0 = (width - wide) * at[0], (height - tall) * at[1]
    return x0, y0, x0 + wide, y0 + tall


def is_mirrored(drawn: list[float]) -> bool:
    """Left and right change places in one of two views."""
    return drawn[-1] < 0.5
