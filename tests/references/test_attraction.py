"""The fast grid against plain loops written straight from the paper's equations."""

import math

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.attraction import Border, attract, kernel_matrices


def padded_index(index: int, cells: int, border: Border) -> int:
    """Which cell stands where padding has put none."""
    if border == "replicate":
        return min(max(index, 0), cells - 1)
    if index < 0:
        return -index
    if index > cells - 1:
        return 2 * (cells - 1) - index
    return index


def loop_grid(saliency: Tensor, sigma: float, border: Border) -> Tensor:
    """Equations 2 and 3 of Recasens et al. 2018, one cell at a time.

    u(x, y) = sum S(x', y') k((x, y), (x', y')) x' / sum S(x', y') k((x, y), (x', y')), and v likewise with y', over the
    padded map; positions run from -1 to 1 over the map and go on outside.
    """
    rows, columns = saliency.shape
    grid = torch.zeros(rows, columns, 2, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            mass = u = v = 0.0
            for other_y in range(y - rows + 1, y + rows):
                for other_x in range(x - columns + 1, x + columns):
                    source_y = padded_index(other_y, rows, border)
                    source_x = padded_index(other_x, columns, border)
                    distance2 = (other_x - x) ** 2 + (other_y - y) ** 2
                    pull = float(saliency[source_y, source_x]) * math.exp(-distance2 / (2 * sigma**2))
                    mass += pull
                    u += pull * (2 * other_x / (columns - 1) - 1)
                    v += pull * (2 * other_y / (rows - 1) - 1)
            grid[y, x, 0] = min(max(u / mass, -1), 1)
            grid[y, x, 1] = min(max(v / mass, -1), 1)
    return grid


@pytest.mark.parametrize("border", ["replicate", "reflect"])
@pytest.mark.parametrize(("rows", "columns", "sigma"), [(6, 6, 1.1), (4, 7, 0.8), (9, 3, 2.5)])
def test_the_grid_equals_the_equations_computed_by_plain_loops(
    rows: int, columns: int, sigma: float, border: Border
) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = torch.randn(rows * columns, generator=generator, dtype=torch.float64)
    saliency = (2 * logits).softmax(0).view(1, 1, rows, columns)
    fast = attract(
        saliency,
        down=kernel_matrices(rows, sigma=sigma, border=border),
        across=kernel_matrices(columns, sigma=sigma, border=border),
    )
    slow = loop_grid(saliency[0, 0], sigma, border)
    torch.testing.assert_close(fast[0], slow, rtol=0, atol=1e-13)


def test_the_grid_equals_the_authors_padded_convolution() -> None:
    # Their layer at its own size: 31 cells, replication of 30, a 61 x 61 Gaussian of fwhm 13, a ramp from -1 to 2.
    generator = torch.Generator().manual_seed(0)
    saliency = torch.randn(2, 961, generator=generator, dtype=torch.float64).softmax(1).view(2, 1, 31, 31)
    offsets = torch.arange(61, dtype=torch.float64) - 30
    kernel = torch.exp(-4 * math.log(2) * (offsets[:, None] ** 2 + offsets**2) / 13**2)[None, None]
    ramp = ((torch.arange(91, dtype=torch.float64) - 30) / 30).expand(91, 91)
    padded = torch.nn.functional.pad(saliency, (30, 30, 30, 30), mode="replicate")
    mass = torch.nn.functional.conv2d(padded, kernel)
    u = torch.nn.functional.conv2d(padded * ramp, kernel) / mass
    v = torch.nn.functional.conv2d(padded * ramp.T, kernel) / mass
    theirs = (torch.cat((u, v), dim=1) * 2 - 1).clamp(-1, 1).movedim(1, -1)
    matrices = kernel_matrices(31, sigma=13 / math.sqrt(8 * math.log(2)), border="replicate")
    torch.testing.assert_close(attract(saliency, down=matrices, across=matrices), theirs, rtol=0, atol=1e-12)
