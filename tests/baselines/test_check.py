"""What the check of a grid says of grids whose answer is known."""

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.attraction import SIGMA, Attraction, attract, kernel_matrices
from zoombench.baselines.layers.check import check_grid
from zoombench.baselines.layers.resample import box_grid, identity_grid
from zoombench.harness.errors import ShapeError

FWHM_4 = 4 / 2.3548  # sigma in cells of FOVEA's kernel, which folds


def random_saliency(spread: float, *, batch: int = 8) -> Tensor:
    logits = spread * torch.randn(batch, 961, generator=torch.Generator().manual_seed(0))
    return logits.softmax(1).view(batch, 1, 31, 31)


def unclamped(saliency: Tensor, sigma: float) -> Tensor:
    """The grid of 31 x 31 nodes before it is clamped to the image, in float64."""
    matrices = kernel_matrices(31, sigma=sigma, border="replicate")
    still = torch.zeros(31, 31, 2, dtype=torch.float64)
    return identity_grid(31, 31, dtype=still.dtype) + attract(
        saliency.double(), down=matrices, across=matrices, identity=still
    )


@pytest.mark.parametrize("size", [(2, 2), (5, 9), (224, 160)])
def test_the_identity_has_jacobian_one_no_folds_and_magnification_one(size: tuple[int, int]) -> None:
    report = check_grid(identity_grid(*size).expand(3, -1, -1, -1))
    ones = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(report.min_jacobian, ones, rtol=0, atol=1e-4)
    torch.testing.assert_close(report.min_magnification, ones, rtol=0, atol=1e-4)
    torch.testing.assert_close(report.max_magnification, ones, rtol=0, atol=1e-4)
    assert report.folded.tolist() == [0, 0, 0]
    assert report.folded_share.tolist() == [0, 0, 0]
    assert report.coverage.tolist() == [1, 1, 1]
    assert report.sound.all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_grid_is_folded_everywhere(axis: int) -> None:
    mirror = torch.ones(2).index_fill(0, torch.tensor(axis), -1)
    report = check_grid((identity_grid(5, 7) * mirror)[None])
    assert report.folded.item() == 4 * 6
    assert report.folded_share.item() == 1
    assert report.min_jacobian.item() == pytest.approx(-1)
    assert report.max_magnification.item() == pytest.approx(1)
    assert not report.sound


def test_a_grid_that_is_turned_around_is_not_folded() -> None:
    assert check_grid(-identity_grid(5, 7)[None]).sound


def test_a_crop_covers_its_share_and_magnifies_by_its_sides() -> None:
    half_and_quarter = identity_grid(9, 9) * torch.tensor([0.5, 0.25])
    report = check_grid(half_and_quarter[None])
    assert report.coverage.item() == pytest.approx(0.5 * 0.25)
    assert report.min_jacobian.item() == pytest.approx(0.125)
    assert report.min_magnification.item() == pytest.approx(8**0.5)
    assert report.max_magnification.item() == pytest.approx(8**0.5)
    assert report.sound


def test_what_lies_outside_the_image_is_not_covered() -> None:
    boxes = torch.tensor([[-16.0, 0.0, 16.0, 32.0], [40.0, 40.0, 50.0, 50.0]])
    report = check_grid(box_grid(boxes, image_hw=(32, 32), size=(33, 33)))
    assert report.coverage[0].item() == pytest.approx(0.5, abs=0.02)
    assert report.coverage[1].item() == 0


def test_examples_of_a_batch_are_told_apart() -> None:
    good, bad = identity_grid(6, 6), identity_grid(6, 6).flip(0)
    assert check_grid(torch.stack((good, bad, good))).sound.tolist() == [True, False, True]


def test_one_swapped_pair_of_points_folds_the_cells_around_it() -> None:
    grid = identity_grid(5, 5).clone()
    grid[2, [1, 2]] = grid[2, [2, 1]]
    report = check_grid(grid[None])
    assert report.folded.item() == 2  # above and below the pair; the cells beside it become triangles, or lines
    assert report.min_jacobian.item() == pytest.approx(-1, abs=1e-5)


def test_a_collapsed_cell_is_infinitely_magnified_and_not_folded() -> None:
    grid = (1.5 * identity_grid(9, 9)).clamp(-1, 1)
    report = check_grid(grid[None])
    assert report.max_magnification.item() == float("inf")
    assert report.min_jacobian.item() == 0
    assert report.sound


def test_peaky_saliency_folds_under_a_narrow_kernel() -> None:
    # The continuous map is monotone (the gradient of a convex function), but its bilinear tiling folds.
    report = check_grid(unclamped(random_saliency(8.0), FWHM_4))
    assert (~report.sound).sum() >= 6
    assert (report.folded_share < 0.2).all()
    assert (report.min_jacobian[~report.sound] < 0).all()


@pytest.mark.parametrize("sigma", [FWHM_4, SIGMA["code"] * 31, SIGMA["paper"] * 31])
def test_mild_saliency_does_not_fold(sigma: float) -> None:
    report = check_grid(unclamped(random_saliency(2.0), sigma))
    assert report.sound.all()
    assert (report.max_magnification > 1).all()


def test_clamping_to_the_image_folds_cells_on_its_border() -> None:
    # Clamping moves one node of a cell along one axis only: the price of a grid that never leaves the image.
    saliency = random_saliency(2.0)
    clamped = check_grid(Attraction(31, 31, sigma=SIGMA["code"] * 31)(saliency, (31, 31)))
    assert (clamped.folded > 0).any()
    assert (clamped.folded_share < 0.02).all()


def test_a_separable_map_cannot_fold() -> None:
    # The product of two peaky marginals: rows and columns move as wholes, clamped or not.
    generator = torch.Generator().manual_seed(0)
    rows, columns = ((16 * torch.randn(4, 31, generator=generator, dtype=torch.float64)).softmax(1) for _ in range(2))
    saliency = (rows[:, :, None] * columns[:, None, :])[:, None]
    for sigma in (FWHM_4, SIGMA["code"] * 31):
        matrices = kernel_matrices(31, sigma=sigma, border="replicate")
        assert check_grid(attract(saliency, down=matrices, across=matrices)).sound.all()


def test_clamping_and_rounding_are_not_called_folds() -> None:
    saliency = torch.zeros(1, 1, 31, 31)
    saliency[..., 0, 30] = 1  # everything is pulled into a corner, and clamped there
    report = check_grid(Attraction(31, 31, sigma=1.0)(saliency, (448, 448)))
    assert report.folded_share.item() < 1
    assert check_grid((identity_grid(2000, 3) * 4).clamp(-1, 1)[None]).sound


def test_a_report_needs_no_gradient_and_reads_half_precision() -> None:
    grid = identity_grid(5, 5)[None].requires_grad_()
    assert not check_grid(grid).min_jacobian.requires_grad
    assert check_grid(identity_grid(5, 5)[None].bfloat16()).sound


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"the grid has shape \(1, 1, 5, 2\); expected .* from 2 x 2 points"):
        check_grid(identity_grid(1, 5)[None])
