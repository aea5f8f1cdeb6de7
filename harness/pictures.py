"""Pictures of what a method looked at: the image, the saliency map, the sampling grid, the resampled image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from .contract import Zoom, as_floats

SIDE = 256
"""Longer side of a picture in pixels, at most, so that a report stays small."""
GRID_LINES = 17
"""Lines of the sampling grid that are drawn, in each direction, at most; fewer where they would touch."""


def write(image: Tensor, zooms: Sequence[Zoom], folder: Path, *, count: int) -> None:
    """Write N-image.png, N-grid.png, N-resampled.png and, where there is one, N-saliency.png for N = 0 … count - 1.

    image is (B, 3, H, W), float in [0, 1] or bytes; only the first zoom is drawn, and nothing for a method without any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(min(count, len(image)) if zooms else 0):
        zoom = zooms[0]
        picture = _to_picture(_fit(as_floats(image[n])))
        picture.save(folder / f"{n}-image.png")
        draw_grid(picture, zoom.grid[n].float().cpu().numpy()).save(folder / f"{n}-grid.png")
        _to_picture(_fit(zoom.resampled[n])).save(folder / f"{n}-resampled.png")
        if zoom.saliency is not None:
            saliency = zoom.saliency[n].float()
            _to_picture(_fit((saliency / saliency.amax()).expand(3, -1, -1))).save(folder / f"{n}-saliency.png")


def draw_grid(picture: Image.Image, grid: np.ndarray) -> Image.Image:
    """The image with the lines of a sampling grid (rows, columns, 2) over it, (x, y) in [-1, 1]."""
    scale = max(1, SIDE // max(picture.size))
    drawn = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(drawn)
    xy = (grid + 1) / 2 * (np.array(drawn.size) - 1)
    extent = float(np.ptp(xy, axis=(0, 1)).min())
    count = int(min(GRID_LINES, max(2, extent // 8)))
    rows = np.unique(np.linspace(0, len(xy) - 1, count).round().astype(int))
    columns = np.unique(np.linspace(0, xy.shape[1] - 1, count).round().astype(int))
    for line in [xy[row] for row in rows] + [xy[:, column] for column in columns]:
        pen.line([(float(x), float(y)) for x, y in line], fill=(255, 140, 0), width=2)
    return drawn


def _fit(image: Tensor) -> Tensor:
    """The image with its longer side at most SIDE, averaged."""
    image, longer = image.float(), max(image.shape[-2:])
    if longer <= SIDE:
        return image
    size = [max(1, round(side * SIDE / longer)) for side in image.shape[-2:]]
    return functional.interpolate(image[None], size=size, mode="area")[0]


def _to_picture(image: Tensor) -> Image.Image:
    levels = image.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
