"""From a saliency map to a sampling grid: every output pixel is pulled towards the saliency around it.

Recasens et al. 2018, "Learning to Zoom", equations 2 and 3, in a separable form that is exact: a Gaussian is a product
of two, so the 61 x 61 convolution of the authors' code is two small matrix products.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ...harness.errors import ShapeError
from .resample import identity_grid

Border = Literal["replicate", "reflect"]
Alignment = Literal["corners", "code"]
"""Which pixels the outer nodes are: the outer ones (corners), or as in the authors' code; see upsample_nodes."""

SIGMA = {
    # The authors' code: fwhm = 13 of 31 cells, so sigma = 13 / sqrt(8 ln 2) / 31 of the map's width.
    "code": 13 / (8 * 0.6931471805599453) ** 0.5 / 31,
    # The paper: "sigma set to one third of the width of the saliency map"; a bump then magnifies a third less.
    "paper": 1 / 3,
}

# Mass of a uniform background under the saliency map. Far below float32's rounding of any mass that matters, it decides
# only where kernel and saliency underflow together: such a node stays where it is instead of becoming 0/0.
_BACKGROUND = 1e-30


def kernel_matrices(
    cells: int, *, sigma: float, border: Border
) -> tuple[Float[Tensor, "cells cells"], Float[Tensor, "cells cells"]]:
    """Padding, Gaussian and ramp along one axis, folded into two matrices, in float64.

    `weights @ s` is the kernel's sum over the padded map, `moments @ s` the same times how far away each cell is, in
    grid units (the whole axis is 2). Measured from the node, not from the image's centre: the two halves of a uniform
    map then cancel exactly, and float32 is twenty times as precise as in the authors' form.

    sigma is in cells. The kernel reaches cells - 1 to either side, as in the authors' code (30 of 31).
    """
    if cells < 2:
        raise ShapeError(f"a saliency map needs at least 2 cells along each axis, found {cells}.")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, found {sigma}.")
    if border not in get_args(Border):
        raise ValueError(f"border is {border!r}: expected one of {', '.join(get_args(Border))}.")
    reach = cells - 1
    offsets = torch.arange(-reach, reach + 1)
    gaussian = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    reads = torch.arange(cells)[:, None] + offsets
    reads = reads.clamp(0, reach) if border == "replicate" else reach - (reach - reads.abs()).abs()
    zeros = torch.zeros(cells, cells, dtype=torch.float64)
    weights = zeros.scatter_add(1, reads, gaussian.expand(cells, -1))
    moments = zeros.scatter_add(1, reads, (gaussian * offsets * (2 / reach)).expand(cells, -1))
    return weights, moments


def attract(
    saliency: Float[Tensor, "batch 1 rows columns"],
    *,
    down: tuple[Float[Tensor, "rows rows"], Float[Tensor, "rows rows"]],
    across: tuple[Float[Tensor, "columns columns"], Float[Tensor, "columns columns"]],
    identity: Float[Tensor, "rows columns 2"] | None = None,
) -> Float[Tensor, "batch rows columns 2"]:
    """Where each cell of the saliency map is pulled: the mean of nearby places, weighted by saliency and kernel.

    u = sum(S k x') / sum(S k), and v likewise (equations 2 and 3), in (x, y) from -1 to 1; clamped to the image.
    `down` and `across` are kernel_matrices of the rows and of the columns, `identity` is identity_grid(rows, columns),
    made here if not given. Saliency is non-negative; its scale is free as long as it is not below 1e-20 or so.

    Laws: uniform saliency gives the identity; flipping or transposing the saliency flips or transposes the grid.
    """
    weights_y, moments_y = down
    weights_x, moments_x = across
    smooth = saliency @ weights_x.mT
    mass = weights_y @ smooth + _BACKGROUND
    shift_x = weights_y @ (saliency @ moments_x.mT) / mass
    shift_y = moments_y @ smooth / mass
    # x and y stay planes in memory, and shift comes first so that the sum takes its layout: to the same bits, the
    # bilinear upsampling that follows is 3.5 times as fast on the CPU as with x and y side by side.
    shift = torch.cat((shift_x, shift_y), dim=1).movedim(1, -1)
    if identity is None:
        rows, columns = saliency.shape[2:]
        identity = identity_grid(rows, columns, dtype=saliency.dtype).to(saliency.device)
    return (shift + identity).clamp(-1, 1)


def upsample_nodes(
    nodes: Float[Tensor, "batch rows columns 2"], size: tuple[int, int], alignment: Alignment = "corners"
) -> Float[Tensor, "batch height width 2"]:
    """A coarse grid made fine, bilinearly; size is (height, width).

    corners: align_corners=True, as everywhere: the outer nodes are the outer pixels. code: the authors' code upsamples
    a lattice of that kind with align_corners=False: its edges move by up to 0.032, 8 px of 512, also if saliency is
    uniform. What it then reads the image with is ours, as torch 0.4.0, which it asks for, knew no other way.
    """
    fine = functional.interpolate(
        nodes.movedim(-1, 1), size=size, mode="bilinear", align_corners=alignment == "corners"
    )
    return fine.movedim(1, -1)


class Attraction(nn.Module):
    """Saliency maps of one size to sampling grids, with the kernel's matrices as constants.

    sigma is in cells; borders replicate (the authors' code) or reflect (FOVEA's "anti-crop": the border of the image
    stays the border); alignment is upsample_nodes'. Computes in at least float32, also under autocast and in a network
    made half: in bfloat16 a grid is off by 3 px of 512.
    """

    weights_y: Tensor
    moments_y: Tensor
    weights_x: Tensor
    moments_x: Tensor
    identity: Tensor

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        sigma: float,
        border: Border = "replicate",
        alignment: Alignment = "corners",
    ) -> None:
        super().__init__()
        if alignment not in get_args(Alignment):
            raise ValueError(f"alignment is {alignment!r}: expected one of {', '.join(get_args(Alignment))}.")
        self.alignment: Alignment = alignment
        for axis, cells in (("y", rows), ("x", columns)):
            weights, moments = kernel_matrices(cells, sigma=sigma, border=border)
            self.register_buffer(f"weights_{axis}", weights.float(), persistent=False)
            self.register_buffer(f"moments_{axis}", moments.float(), persistent=False)
        self.register_buffer("identity", identity_grid(rows, columns), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Attraction":
        """Move and convert like any module, but keep at least float32 where a whole network is made half."""
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            converted = getattr(self, name)
            if torch.finfo(converted.dtype).bits < 32:
                setattr(self, name, buffer.to(converted.device))
        return self

    def forward(
        self, saliency: Float[Tensor, "batch 1 rows columns"], size: tuple[int, int]
    ) -> Float[Tensor, "batch height width 2"]:
        """The sampling grid of (height, width) pixels."""
        with torch.autocast(device_type=saliency.device.type, enabled=False):
            nodes = attract(
                saliency.to(self.weights_x.dtype),
                down=(self.weights_y, self.moments_y),
                across=(self.weights_x, self.moments_x),
                identity=self.identity,
            )
            return upsample_nodes(nodes, size, self.alignment)
