"""What is particular to the grid estimator; the laws of all warps are in test_warp_laws.py."""

import pytest
import torch
from torch import nn

from zoombench.baselines.grid_estimator import GridEstimator
from zoombench.baselines.layers.resample import identity_grid


def test_the_first_channel_moves_right_and_the_second_down() -> None:
    estimator = GridEstimator(nodes=10, size=12)
    with torch.no_grad():
        estimator.to_shift.bias.copy_(torch.tensor([0.25, -0.5]))  # type: ignore[union-attr]
    grid, saliency = estimator(torch.rand(4, 3, 10, 10))
    assert saliency is None
    torch.testing.assert_close(grid[2], identity_grid(12, 12) + torch.tensor([0.25, -0.5]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("nodes", [5, 10, 17])
def test_a_shift_that_grows_evenly_zooms_evenly_whatever_the_number_of_nodes(nodes: int) -> None:
    estimator = GridEstimator(nodes=nodes, size=12)
    estimator.trunk = nn.Sequential()  # the overview itself is then what to_shift sees: x in one channel, y in another
    estimator.to_shift = nn.Conv2d(3, 2, kernel_size=1)
    with torch.no_grad():
        estimator.to_shift.weight.copy_(-0.5 * torch.eye(2, 3)[..., None, None])
        nn.init.zeros_(estimator.to_shift.bias)  # type: ignore[arg-type]
    grid, _ = estimator(torch.cat((identity_grid(10, 10).movedim(-1, 0), torch.zeros(1, 10, 10)))[None])
    torch.testing.assert_close(grid[0], 0.5 * identity_grid(12, 12), rtol=0, atol=1e-6)
