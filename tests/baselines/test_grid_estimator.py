"""What is particular to the grid estimator."""

import copy

import pytest
import torch
from torch import Tensor, nn

from zoombench.baselines import grid_estimator
from zoombench.baselines.grid_estimator import GridEstimator
from zoombench.baselines.layers.resample import identity_grid
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

BUDGET = Budget(image_size=12, overview_size=10, epochs=1)
SIZES = [None, 5, 10, 17]


def stirred(*, nodes: int = 10, size: int = 12) -> GridEstimator:
    """An estimator with every parameter drawn at random, so that it no longer gives the identity."""
    estimator = GridEstimator(nodes=nodes, size=size)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return estimator.eval()


def convolutions(estimator: GridEstimator) -> list[nn.Conv2d]:
    return [module for module in estimator.modules() if isinstance(module, nn.Conv2d)]


@pytest.fixture
def overview() -> Tensor:
    return torch.rand(4, 3, 10, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("grid_size", SIZES)
def test_it_starts_from_the_identity(grid_size: int | None) -> None:
    image = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    config = grid_estimator.Config(grid_size=grid_size)
    (zoom,) = grid_estimator.build(config, Classification(classes=10), BUDGET)(image).zooms
    torch.testing.assert_close(zoom.grid, identity_grid(12, 12).expand(4, -1, -1, -1), rtol=0, atol=1e-5)


def test_the_first_channel_moves_right_and_the_second_down(overview: Tensor) -> None:
    estimator = GridEstimator(nodes=10, size=12)
    with torch.no_grad():
        estimator.to_shift.bias.copy_(torch.tensor([0.25, -0.5]))  # type: ignore[union-attr]
    grid, saliency = estimator(overview)
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


@pytest.mark.parametrize("nodes", [5, 10, 17])
def test_a_mirrored_network_gives_a_mirrored_overview_the_mirrored_grid(overview: Tensor, nodes: int) -> None:
    estimator = stirred(nodes=nodes)
    grid, _ = estimator(overview)
    assert (grid - identity_grid(12, 12)).abs().max() > 0.1
    for axis in (0, 1):
        sign = torch.tensor([-1.0, 1.0]) if axis == 0 else torch.tensor([1.0, -1.0])
        mirror = copy.deepcopy(estimator)
        with torch.no_grad():
            for one in convolutions(mirror):
                one.weight.copy_(one.weight.flip(3 - axis))
            mirror.to_shift.weight.mul_(sign[:, None, None, None])
            mirror.to_shift.bias.mul_(sign)  # type: ignore[union-attr]
        other, _ = mirror(overview.flip(3 - axis))
        torch.testing.assert_close(other.flip(2 - axis) * sign, grid, rtol=0, atol=1e-5)


@pytest.mark.parametrize("nodes", [5, 10, 17])
def test_a_transposed_network_gives_a_transposed_overview_the_transposed_grid(overview: Tensor, nodes: int) -> None:
    estimator = stirred(nodes=nodes)
    grid, _ = estimator(overview)
    transposed = copy.deepcopy(estimator)
    with torch.no_grad():
        for one in convolutions(transposed):
            one.weight.copy_(one.weight.mT.contiguous())
        transposed.to_shift.weight.copy_(transposed.to_shift.weight.flip(0))
        transposed.to_shift.bias.copy_(transposed.to_shift.bias.flip(0))  # type: ignore[union-attr]
    other, _ = transposed(overview.mT)
    torch.testing.assert_close(other.transpose(1, 2).flip(3), grid, rtol=0, atol=1e-5)


def test_a_batch_gives_the_same_grids_as_its_examples_one_by_one(overview: Tensor) -> None:
    estimator = stirred()
    singles = torch.cat([estimator(one)[0] for one in overview.split(1)])
    torch.testing.assert_close(estimator(overview)[0], singles, rtol=0, atol=1e-5)


def test_the_gradient_is_right() -> None:
    estimator = stirred(nodes=3, size=4).double()
    view = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda view: estimator(view)[0], view.requires_grad_())


def test_autocast_changes_the_grid_by_no_more_than_the_features_rounding(overview: Tensor) -> None:
    estimator = stirred()
    grid, _ = estimator(overview)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = estimator(overview)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, grid, rtol=0, atol=0.02)
