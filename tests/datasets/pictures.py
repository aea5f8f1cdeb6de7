"""Pictures that tests write: noise with a patch whose colour tells the label."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image


def noise(width: int, height: int, *, seed: int) -> np.ndarray:
    """Grey blocks below 100, other ones for every seed."""
    blocks = np.random.default_rng(seed).integers(0, 100, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    return np.repeat(blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width, None], 3, axis=2)


def paint(image: np.ndarray, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    """Fill x, y, width, height, where it lies in the image."""
    x, y, width, height = box
    image[max(y, 0) : y + height, max(x, 0) : x + width] = colour


def save(image: np.ndarray, path: Path, mode: str = "RGB", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).convert(mode).save(path, quality=95, subsampling=0, **options)


def tint(label: int) -> tuple[int, int, int]:
    """A colour that tells a label below 1,728, is no grey and survives JPEG."""
    return 105 + label % 12 * 12, 105 + label // 12 % 12 * 12, 115 + label // 144 * 12


def label_of(image: torch.Tensor) -> int:
    """The label that the colour in the middle of an image (3, rows, columns) tells."""
    middle = image[:, image.shape[1] // 2, image.shape[2] // 2].tolist()
    low, mid, high = ((value - base + 6) // 12 for value, base in zip(middle, (105, 105, 115), strict=True))
    return int(low + 12 * mid + 144 * high)


def picture(label: int, *, seed: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Noise with a patch in the middle, of half the picture's sides."""
    width, height = size
    pixels = noise(width, height, seed=seed)
    paint(pixels, (width // 4, height // 4, width // 2, height // 2), tint(label))
    return pixels
