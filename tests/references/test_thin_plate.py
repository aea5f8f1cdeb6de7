"""The spline's constant weights against plain loops written straight from the equations."""

import math

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.thin_plate import lattice, spline_weights


def phi(first: list[float], second: list[float]) -> float:
    """0.5 r^2 log r^2, as a thin plate bends under a force."""
    squared = (first[0] - second[0]) ** 2 + (first[1] - second[1]) ** 2
    return 0.0 if squared == 0 else 0.5 * squared * math.log(squared)


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination with the largest pivot of each column."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    count = len(rows)
    for column in range(count):
        pivot = max(range(column, count), key=lambda index: abs(rows[index][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, count):
            factor = rows[row][column] / rows[column][column]
            for index in range(column, count + 1):
                rows[row][index] -= factor * rows[column][index]
    solution = [0.0] * count
    for row in reversed(range(count)):
        known = sum(rows[row][index] * solution[index] for index in range(row + 1, count))
        solution[row] = (rows[row][count] - known) / rows[row][row]
    return solution


def loop_spline(points: Tensor, controls: Tensor, sources: Tensor, smoothing: float) -> Tensor:
    """Bookstein 1989: f(p) = a0 + ax x + ay y + sum_i w_i phi(p, c_i), one axis and one point at a time.

    f(c_i) + smoothing w_i = source_i for every control point, and sum w_i = sum w_i x_i = sum w_i y_i = 0.
    """
    c, count = controls.tolist(), len(controls)
    equations = [
        [phi(c[i], c[j]) + (smoothing if i == j else 0.0) for j in range(count)] + [1.0, *c[i]] for i in range(count)
    ]
    equations.append([1.0] * count + [0.0] * 3)
    equations.extend([c[j][axis] for j in range(count)] + [0.0] * 3 for axis in range(2))
    result = torch.zeros(len(points), 2, dtype=torch.float64)
    for axis in range(2):
        *forces, a0, ax, ay = solve(equations, [*sources[:, axis].tolist(), 0.0, 0.0, 0.0])
        for index, point in enumerate(points.tolist()):
            bending = sum(force * phi(point, control) for force, control in zip(forces, c, strict=True))
            result[index, axis] = a0 + ax * point[0] + ay * point[1] + bending
    return result


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("side", [2, 3, 4])
def test_the_spline_equals_the_equations_solved_by_plain_loops(side: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(side)
    controls = lattice(side)
    sources = 2 * torch.rand(side**2, 2, generator=generator, dtype=torch.float64) - 1
    points = 2.4 * torch.rand(25, 2, generator=generator, dtype=torch.float64) - 1.2
    fast = spline_weights(points, controls=controls, smoothing=smoothing) @ sources
    slow = loop_spline(points, controls, sources, smoothing)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)


def test_the_control_points_need_not_stand_on_a_lattice() -> None:
    generator = torch.Generator().manual_seed(9)
    controls, sources, points = 2 * torch.rand(3, 7, 2, generator=generator, dtype=torch.float64) - 1
    fast = spline_weights(points, controls=controls) @ sources
    torch.testing.assert_close(fast, loop_spline(points, controls, sources, 0.0), rtol=0, atol=1e-11)
