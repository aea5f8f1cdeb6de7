"""Thin-plate spline: the smoothest bending that takes each control point of the view to its place in the image.

Duchon 1977; Bookstein 1989, "Principal Warps"; in networks since Jaderberg et al. 2015. All coordinates are (x, y), and
-1 and 1 are the centres of the corner pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .resample import identity_grid


def lattice(count: int, *, reach: float = 0.9) -> Float[Tensor, "points 2"]:
    """A square of count x count control points, row after row, evenly from -reach to reach, in float64.

    Raises ValueError for fewer than 2 a side: no plate rests on one point.
    """
    if count < 2:
        raise ValueError(f"a thin plate needs at least 2 control points a side, found {count}.")
    return reach * identity_grid(count, count, dtype=torch.float64).flatten(0, 1)


def spline_weights(
    points: Float[Tensor, "points 2"], *, controls: Float[Tensor, "controls 2"], smoothing: float = 0.0
) -> Float[Tensor, "points controls"]:
    """How much each control point's source counts for each point: a point reads at the sum of weight times source.

    [phi(point, control) 1 x y] times the inverse of the (N + 3) x (N + 3) kernel matrix, without the inverse's last
    three columns, which would meet zeros: the control points' forces neither push nor turn the plate.

    Laws: control points weigh only their own source if smoothing is 0; affine sources give that affine transformation;
    as smoothing grows, the spline becomes the affine transformation of least squares. The inverse needs float64.
    """
    count = len(controls)
    kernel = _phi(controls, controls) + smoothing * torch.eye(count, dtype=controls.dtype)
    matrix = torch.cat(
        (
            torch.cat((kernel, _plane(controls)), dim=1),
            torch.cat((_plane(controls).mT, controls.new_zeros(3, 3)), dim=1),
        )
    )
    basis = torch.cat((_phi(points, controls), _plane(points)), dim=1)
    weights: Tensor = basis @ torch.linalg.inv(matrix)[:, :count]
    return weights


class ThinPlate(nn.Module):
    """The sources of fixed control points to a sampling grid of one size: one matrix product, of weights kept constant.

    size is (height, width). Computes in at least float32, also under autocast.
    """

    weights: Tensor

    def __init__(self, controls: Float[Tensor, "controls 2"], *, size: tuple[int, int], smoothing: float = 0.0) -> None:
        super().__init__()
        self.size = size
        pixels = identity_grid(*size, dtype=torch.float64).flatten(0, 1)
        weights = spline_weights(pixels, controls=controls.double(), smoothing=smoothing)
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, sources: Float[Tensor, "batch controls 2"]) -> Float[Tensor, "batch height width 2"]:
        """Where each pixel reads, if each control point reads at its source."""
        with torch.autocast(device_type=sources.device.type, enabled=False):
            grid: Tensor = self.weights @ sources.to(self.weights.dtype)
            return grid.view(-1, *self.size, 2)


def _phi(points: Tensor, controls: Tensor) -> Tensor:
    """0.5 r^2 log r^2, and 0 at r = 0: how a thin plate bends under a force at a point."""
    squared = (points[:, None] - controls).square().sum(dim=-1)
    return 0.5 * torch.xlogy(squared, squared)


def _plane(points: Tensor) -> Tensor:
    """1, x and y: what a plate does without bending."""
    return torch.cat((torch.ones_like(points[:, :1]), points), dim=1)
