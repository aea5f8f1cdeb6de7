"""Laws of the thin-plate spline."""

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.resample import identity_grid
from zoombench.baselines.layers.thin_plate import ThinPlate, lattice, spline_weights

SIDES = [2, 3, 4, 7]


def random_sources(side: int, *, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(batch, side**2, 2, generator=generator) - 1


def mirrored(sources: Tensor, side: int, axis: int) -> Tensor:
    """The same bending in a mirror: axis 0 left and right, 1 up and down."""
    flipped = sources.unflatten(1, (side, side)).flip(2 - axis).flatten(1, 2)
    return flipped * (torch.tensor([-1.0, 1.0]) if axis == 0 else torch.tensor([1.0, -1.0]))


def test_control_points_stand_on_a_lattice_row_after_row_within_nine_tenths() -> None:
    points = lattice(4)
    assert points.dtype == torch.float64
    expected = torch.tensor([[-0.9, -0.9], [-0.3, -0.9], [0.3, -0.9], [0.9, -0.9], [-0.9, -0.3]]).double()
    torch.testing.assert_close(points[:5], expected)
    assert points.abs().max() == 0.9


@pytest.mark.parametrize("side", SIDES)
def test_every_control_point_reads_exactly_at_its_source(side: int) -> None:
    controls = lattice(side)
    weights = spline_weights(controls, controls=controls)
    torch.testing.assert_close(weights, torch.eye(side**2, dtype=torch.float64), rtol=0, atol=1e-11)


def test_a_pixel_on_a_control_point_reads_at_its_source() -> None:
    # Of 41 x 41 pixels, each 0.05 from the next, numbers 2, 14, 26 and 38 lie at -0.9, -0.3, 0.3 and 0.9.
    sources = random_sources(4)
    grid = ThinPlate(lattice(4), size=(41, 41))(sources)
    torch.testing.assert_close(grid[:, 2::12, 2::12].flatten(1, 2), sources, rtol=0, atol=5e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 100.0])
@pytest.mark.parametrize("side", SIDES)
def test_sources_where_the_control_points_are_give_the_identity_grid(side: int, smoothing: float) -> None:
    controls = lattice(side)
    grid = ThinPlate(controls, size=(20, 13), smoothing=smoothing)(controls[None].float())
    torch.testing.assert_close(grid[0], identity_grid(20, 13), rtol=0, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_affine_sources_give_an_affine_grid(smoothing: float) -> None:
    linear, shift = torch.tensor([[0.7, -0.4], [0.2, 1.3]]), torch.tensor([0.3, -0.1])
    grid = ThinPlate(lattice(4), size=(20, 13), smoothing=smoothing)((lattice(4).float() @ linear.mT + shift)[None])
    torch.testing.assert_close(grid[0], identity_grid(20, 13) @ linear.mT + shift, rtol=0, atol=1e-5)


def test_one_moved_source_bends_the_grid() -> None:  # the law above can fail
    sources = lattice(4).float()
    sources[5] += 0.3
    grid = ThinPlate(lattice(4), size=(12, 12))(sources[None])[0]
    assert grid.diff(dim=1).diff(dim=1).abs().max() > 0.01


def test_strong_smoothing_leaves_the_affine_transformation_of_least_squares() -> None:
    controls = lattice(4)
    sources = random_sources(4)[0].double()
    plane = torch.cat((torch.ones(16, 1, dtype=torch.float64), controls), dim=1)
    fitted = plane @ torch.linalg.lstsq(plane, sources).solution
    weights = spline_weights(controls, controls=controls, smoothing=1e6)
    torch.testing.assert_close(weights @ sources, fitted, rtol=0, atol=1e-5)


def test_the_more_smoothing_the_less_the_spline_bends() -> None:
    sources = random_sources(4)
    bends = [
        float(ThinPlate(lattice(4), size=(12, 12), smoothing=smoothing)(sources).diff(dim=2).diff(dim=2).square().sum())
        for smoothing in (0.0, 0.03, 0.3, 3.0)
    ]
    assert bends == sorted(bends, reverse=True)
    assert bends[3] < 0.1 * bends[0]


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_sources_give_the_mirrored_grid(axis: int) -> None:
    plate = ThinPlate(lattice(4), size=(20, 13))
    sources = random_sources(4)
    sign = torch.tensor([-1.0, 1.0]) if axis == 0 else torch.tensor([1.0, -1.0])
    expected = plate(sources).flip(2 - axis) * sign
    torch.testing.assert_close(plate(mirrored(sources, 4, axis)), expected, rtol=0, atol=1e-5)


def test_transposed_sources_give_the_transposed_grid() -> None:
    sources = random_sources(4)
    transposed = sources.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2).flip(2)
    grid = ThinPlate(lattice(4), size=(20, 13))(sources)
    other = ThinPlate(lattice(4), size=(13, 20))(transposed)
    torch.testing.assert_close(other.transpose(1, 2).flip(3), grid, rtol=0, atol=1e-5)


def test_a_batch_gives_the_same_grids_as_its_examples_one_by_one() -> None:
    sources = random_sources(4, batch=5)
    plate = ThinPlate(lattice(4), size=(12, 12))
    singles = torch.cat([plate(one) for one in sources.split(1)])
    torch.testing.assert_close(plate(sources), singles, rtol=0, atol=1e-5)


def test_the_gradient_is_right() -> None:
    plate = ThinPlate(lattice(3), size=(4, 5), smoothing=0.1).double()
    assert torch.autograd.gradcheck(plate, random_sources(3).double().requires_grad_())


def test_the_grid_keeps_float32_under_autocast() -> None:
    sources = random_sources(4)
    plate = ThinPlate(lattice(4), size=(12, 12))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = plate(sources)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plate(sources), rtol=0, atol=0)


@pytest.mark.parametrize("side", [4, 10])
def test_float32_is_precise_to_a_thousandth_of_a_pixel(side: int) -> None:
    sources = random_sources(side)
    weights = spline_weights(identity_grid(64, 64, dtype=torch.float64).flatten(0, 1), controls=lattice(side))
    exact = (weights @ sources.double()).unflatten(1, (64, 64))
    grid = ThinPlate(lattice(side), size=(64, 64))(sources)
    assert (grid - exact).abs().max() < 4e-6  # 0.001 px of 512


def test_the_weights_are_not_saved_because_they_follow_from_the_settings() -> None:
    assert not ThinPlate(lattice(4), size=(12, 12)).state_dict()


def test_a_plate_on_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 control points a side, found 1"):
        lattice(1)
