"""Is a sampling grid sound? Folds, coverage and magnification, for debugging a warp and for tests of new ones."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...harness.errors import ShapeError


@dataclass(frozen=True)
class GridReport:
    """One number for each grid of a batch.

    A cell lies between four neighbouring points of the grid. All is relative to uniform sampling: the identity grid has
    Jacobian 1, no folds, coverage 1 and magnification 1.
    """

    min_jacobian: Float[Tensor, " batch"]
    """Of the bilinear map, at its lowest; negative where the image is seen mirrored, 0 where a cell is a line."""
    folded: Int[Tensor, " batch"]
    """Cells that are mirrored in some corner at least."""
    folded_share: Float[Tensor, " batch"]
    """The same as a share of all cells."""
    coverage: Float[Tensor, " batch"]
    """Share of the image that lies within the grid's span in x and in y."""
    min_magnification: Float[Tensor, " batch"]
    """Of the cell that shows most of the image: how many times longer its sides look than under uniform sampling."""
    max_magnification: Float[Tensor, " batch"]
    """Of the cell that shows least; infinite for a cell without area, as beyond a border to which a grid is clamped."""

    @property
    def sound(self) -> Bool[Tensor, " batch"]:
        """No cell is folded."""
        return self.folded == 0


def check_grid(grid: Float[Tensor, "batch height width 2"]) -> GridReport:
    """Measure each grid of a batch, (x, y) with -1 and 1 at the centres of the corner pixels; in float64.

    The Jacobian of a bilinear cell is lowest in one of its corners, so corners are all that is looked at. Rounding of
    the grid's own precision is not called a fold: below 0 means below -4 eps max(height, width).
    No gradient goes through. Raises ShapeError for a grid of less than 2 x 2 points.
    """
    if grid.ndim != 4 or grid.shape[3] != 2 or min(grid.shape[1:3]) < 2:
        raise ShapeError(
            f"the grid has shape {tuple(grid.shape)}; expected (batch, height, width, 2) from 2 x 2 points."
        )
    height, width = grid.shape[1:3]
    points = grid.detach().double()
    spacing = points.new_tensor([2 / (width - 1), 2 / (height - 1)])
    right = points.diff(dim=2) / spacing
    down = points.diff(dim=1) / spacing
    jacobian = torch.stack(  # batch, corner, row, column; each corner has one horizontal and one vertical edge
        [_cross(r, d) for r in (right[:, :-1], right[:, 1:]) for d in (down[:, :, :-1], down[:, :, 1:])], dim=1
    )
    lowest = jacobian.amin(dim=1).flatten(1)
    folded = (lowest < -4 * torch.finfo(grid.dtype).eps * max(height, width)).sum(dim=1)
    area = jacobian.mean(dim=1).abs().flatten(1)
    inside = points.clamp(-1, 1).flatten(1, 2)
    return GridReport(
        min_jacobian=lowest.amin(dim=1),
        folded=folded,
        folded_share=folded.double() / lowest.shape[1],
        coverage=((inside.amax(dim=1) - inside.amin(dim=1)) / 2).prod(dim=1),
        min_magnification=area.amax(dim=1).rsqrt(),
        max_magnification=area.amin(dim=1).rsqrt(),
    )


def _cross(right: Tensor, down: Tensor) -> Tensor:
    return right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
