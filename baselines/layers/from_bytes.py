"""Reading an image that stays bytes: only what is read becomes floating point, so the canvas' size stops mattering.

Levels 0 to 255 stand for 0 to 1, as everywhere. The laws are resample's and overview's; both come here by themselves.
"""

from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

AT_ONCE, AT_ONCE_ON_A_GPU = 2**18, 2**27
"""Pixels that are summed together: half a mebibyte as 16 bits, which a CPU's cache holds; a quarter of a gibibyte."""
LARGEST_16_BIT_SUM = 2**15 // 255  # rows


def sample_u8(
    image: UInt8[Tensor, "batch channels rows columns"],
    grid: Float[Tensor, "batch height width 2"],
    *,
    beyond: Literal["border", "zeros"] = "border",
) -> Float[Tensor, "batch channels height width"]:
    """Gather the four pixels around every point of the grid, and mix them bilinearly.

    Equal to grid_sample of the image as floats, values and the grid's gradients, but for the rounding of the last bit:
    positions are computed by the same two operations, and where the border repeats, beyond it and on it no gradient
    flows. A position that is not a number gives one that is none, where grid_sample may give the corner's pixel.
    With zeros beyond, the bytes are copied once, with a ring of zeros around.
    """
    batch, channels, rows, columns = image.shape
    ring = int(beyond == "zeros")
    x, y = (
        # Its gradient is zero also where it equals a bound, as grid_sample's is; clamp's is not in every torch.
        functional.hardtanh((grid[..., axis] + 1) * ((side - 1) / 2), -ring, side - 1 + ring)
        for axis, side in ((0, columns), (1, rows))
    )
    if ring:
        image = functional.pad(image, (1, 1, 1, 1))
    elif min(rows, columns) == 1:  # both neighbours are the same pixel
        image = image.expand(-1, -1, max(2, rows), max(2, columns))
    down, across = image.shape[2:]
    # Whole numbers are clamped, as one that came from nan may be any.
    left, top = (
        place.detach().floor().long().clamp(-ring, side - 2 - ring) for place, side in ((x, across), (y, down))
    )
    at = ((top + ring) * across + (left + ring)).flatten(1)[:, None].expand(-1, channels, -1)
    pixels = image.flatten(2)
    above_left, above_right, below_left, below_right = (
        pixels[:, :, step:].gather(2, at).to(grid.dtype).view(batch, channels, *grid.shape[1:3])
        for step in (0, 1, across, across + 1)
    )
    right, below = (x - left)[:, None], (y - top)[:, None]
    upper, lower = torch.lerp(above_left, above_right, right), torch.lerp(below_left, below_right, right)
    return torch.lerp(upper, lower, below) / 255


def sum_rows(
    image: UInt8[Tensor, "batch channels rows columns"], height: int
) -> Float[Tensor, "batch channels height columns"]:
    """The sum of the rows in each of `height` equal stretches, at most as many as rows; exact.

    A row on an edge counts with the part of it inside. Added up as whole numbers of 16 or 32 bits, a part at a time.
    """
    planes, (rows, columns) = image.flatten(0, 1), image.shape[2:]
    if not len(planes):
        return image.new_empty((*image.shape[:2], height, columns), dtype=torch.float32)
    of_a_stretch = -(-rows // height) * columns
    at_once = AT_ONCE_ON_A_GPU if image.is_cuda else AT_ONCE
    parts = [_sum_rows(some, height, at_once) for some in torch.split(planes, max(1, at_once // of_a_stretch))]
    return torch.cat(parts).view(*image.shape[:2], height, columns)


def _sum_rows(planes: UInt8[Tensor, "planes rows columns"], height: int, at_once: int) -> Tensor:
    rows = planes.shape[1]
    kind = torch.int16 if rows // height < LARGEST_16_BIT_SUM else torch.int32
    if rows % height == 0:
        share = rows // height
        together = max(1, at_once // planes[:, :share].numel()) * share
        parts = [
            part.reshape(len(part), -1, share, part.shape[2]).to(kind).sum(2, dtype=kind)
            for part in torch.split(planes, together, dim=1)
        ]
        return torch.cat(parts, dim=1).float()
    sums = []
    for stretch in range(height):
        first, above = divmod(stretch * rows, height)
        last, inside = divmod((stretch + 1) * rows, height)
        total = planes[:, first:last].to(kind).sum(1, dtype=kind).float()
        if above:  # a part of the first row belongs to the stretch before
            total = total - planes[:, first] * (above / height)
        if inside:
            total = total + planes[:, last] * (inside / height)
        sums.append(total)
    return torch.stack(sums, dim=1)
