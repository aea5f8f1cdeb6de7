"""The check of a grid against plain loops: corners one by one, areas by the shoelace formula."""

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.check import check_grid
from zoombench.baselines.layers.resample import identity_grid


def loop_check(grid: Tensor) -> dict[str, float]:
    """Everything that check_grid says of one grid, one cell at a time."""
    height, width = grid.shape[:2]
    cell_area = (2 / (width - 1)) * (2 / (height - 1))
    lowest, areas, folded = float("inf"), [], 0
    for row in range(height - 1):
        for column in range(width - 1):
            # The four corners, in the order in which one walks around the cell.
            around = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            points = [tuple(grid[y, x].tolist()) for y, x in around]
            turns, doubled = [], 0.0
            for n in range(4):
                (x0, y0), (x1, y1), (x2, y2) = points[n - 1], points[n], points[(n + 1) % 4]
                turns.append(((x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)) / cell_area)
                doubled += x1 * y2 - x2 * y1
            lowest = min(lowest, *turns)
            folded += min(turns) < 0
            areas.append(abs(doubled) / 2 / cell_area)
    spans = []
    for axis in (0, 1):
        values = [min(max(float(value), -1), 1) for value in grid[..., axis].flatten()]
        spans.append((max(values) - min(values)) / 2)
    return {
        "min_jacobian": lowest,
        "folded": folded,
        "folded_share": folded / ((height - 1) * (width - 1)),
        "coverage": spans[0] * spans[1],
        "min_magnification": max(areas) ** -0.5,
        "max_magnification": min(areas) ** -0.5,
    }


@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.2, 0.5])
def test_the_report_equals_plain_loops_over_cells(jitter: float) -> None:
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(3, 6, 9, 2, generator=generator, dtype=torch.float64)
    grids = 0.9 * identity_grid(6, 9, dtype=torch.float64) + jitter * noise
    report = check_grid(grids)
    for n, grid in enumerate(grids):
        for name, value in loop_check(grid).items():
            assert getattr(report, name)[n].item() == pytest.approx(value, rel=1e-9), name
