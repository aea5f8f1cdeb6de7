"""Reading an image through a sampling grid: the only caller of grid_sample, so there is one convention.

A grid holds (x, y); -1 and 1 are the centres of the corner pixels (align_corners=True). Beyond them the border of an
image repeats.
"""

from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from ...harness.contract import as_floats
from .from_bytes import sample_u8, sum_rows

Size = int | tuple[int, int]
"""Pixels or cells a side: one number for a square, or (height, width)."""
Images = Float[Tensor, "batch channels rows columns"] | UInt8[Tensor, "batch channels rows columns"]
"""Floats, or bytes of which 255 is 1."""
DENSE = 16
"""Pixels of an image for each point of a grid, at and below which it costs less to make floats of the whole image.

On one CPU thread of 3 x 256 x 256 to 64 x 64, 16: 0.13 ms by gathering, 0.11 by floats; of 1024 x 1024 to 224 x 224,
21: 3.6 and 7.3; of 2528 x 2528 to 32 x 32, 6241: 0.13 and 34."""


def resample(
    image: Images,
    grid: Float[Tensor, "batch height width 2"],
    *,
    beyond: Literal["border", "zeros"] = "border",
) -> Float[Tensor, "batch channels height width"]:
    """Read the image at every point of the grid, bilinearly; beyond the image its border repeats, or there are zeros.

    Law: the identity grid of the image's own size returns the image.
    There is no antialiasing: where the grid is coarser than the image, pixels are skipped. All warps share this.
    Differs from the authors' code, whose zeros padding darkens the border. The result has the grid's precision,
    because a grid in half precision is off by pixels.
    """
    if image.dtype == torch.uint8:
        if image.shape[2] * image.shape[3] > DENSE * grid.shape[1] * grid.shape[2]:
            return sample_u8(image, grid, beyond=beyond)
        image = as_floats(image)
    return functional.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode=beyond, align_corners=True)


def view(image: Images, grid: Float[Tensor, "batch height width 2"]) -> Float[Tensor, "batch channels height width"]:
    """What a task network is to see: resample, in the precision of an image that has one."""
    resampled = resample(image, grid)
    return resampled.to(image.dtype) if image.is_floating_point() else resampled


def overview(image: Images, size: Size) -> Float[Tensor, "batch channels height width"]:
    """The image at low resolution: every output pixel is the mean of the area that it covers.

    Exact also where size does not divide the image's sides: a pixel on an edge counts with the part of it inside.
    A side that is shorter than size grows bilinearly, as an area average would show blocks.
    Bytes are never all made floats, unless a side grows.
    """
    rows, columns = image.shape[2:]
    height, width = height_width(size)
    if image.dtype == torch.uint8:
        if rows >= height and columns >= width:
            return _mean_of_bytes(image, height, width)
        image = as_floats(image)
    if rows % height == 0 and columns % width == 0:  # the same mean, at a tenth of the operations
        return functional.avg_pool2d(image, (rows // height, columns // width))
    with torch.autocast(device_type=image.device.type, enabled=False):
        across = _resizing_weights(columns, width, like=image)
        down = _resizing_weights(rows, height, like=image)
        return down @ (image @ across.mT)


def height_width(size: Size) -> tuple[int, int]:
    """A size as (height, width)."""
    return (size, size) if isinstance(size, int) else size


def identity_grid(height: int, width: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "height width 2"]:
    """The grid that reads every pixel where it is; without a batch axis."""
    y = torch.linspace(-1, 1, height, dtype=dtype)
    x = torch.linspace(-1, 1, width, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def box_grid(
    boxes: Float[Tensor, "batch 4"], *, image_hw: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "batch height width 2"]:
    """The grid that crops a box: pixels of equal area, as many as size (height, width) says, fill it.

    Boxes are x0, y0, x1, y1 in pixel edges: (0, 0, width, height) is the whole image.
    Law: the whole of an image of that size gives the identity grid.
    """
    x0, y0, x1, y1 = boxes[:, None].unbind(dim=-1)
    down, across = ((torch.arange(n, device=boxes.device, dtype=boxes.dtype) + 0.5) / n for n in size)
    # A pixel's centre lies half a pixel right of its left edge; the centres of the corner pixels are -1 and 1.
    x = (x0 + (x1 - x0) * across - 0.5) * 2 / (image_hw[1] - 1) - 1
    y = (y0 + (y1 - y0) * down - 0.5) * 2 / (image_hw[0] - 1) - 1
    return torch.stack((x[:, None, :].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])), dim=-1)


def _mean_of_bytes(image: UInt8[Tensor, "batch channels rows columns"], height: int, width: int) -> Tensor:
    rows, columns = image.shape[2:]
    sums = sum_rows(image, height)
    if columns % width == 0:
        of_areas = sums.view(*sums.shape[:3], width, columns // width).sum(4)
        return of_areas / (255 * (rows / height) * (columns // width))
    with torch.autocast(device_type=image.device.type, enabled=False):
        across = _resizing_weights(columns, width, like=sums.new_empty(0, dtype=torch.float64)).float()
        means: Tensor = sums @ across.mT / (255 * (rows / height))
        return means


def _resizing_weights(pixels: int, size: int, *, like: Tensor) -> Float[Tensor, "size pixels"]:
    """Share of each pixel of a row in each of `size` equal stretches of it; every row of the matrix sums to one."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    edges = torch.arange(size + 1, device=like.device, dtype=dtype) * (pixels / size)
    left = torch.arange(pixels, device=like.device, dtype=dtype)
    if size > pixels:  # each stretch lies within a pixel or two: read at its middle, half-pixel centres
        reads = ((edges[1:] + edges[:-1]) / 2 - 0.5).clamp(0, pixels - 1)
        weights = (1 - (reads[:, None] - left).abs()).clamp(min=0)
    else:
        overlap = torch.minimum(edges[1:, None], left + 1) - torch.maximum(edges[:-1, None], left)
        weights = overlap.clamp(min=0) * (size / pixels)
    return weights.to(like.dtype)
