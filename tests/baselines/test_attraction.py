"""Laws of the step from saliency to grid."""

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.attraction import SIGMA, Attraction, Border, attract, kernel_matrices
from zoombench.baselines.layers.resample import identity_grid
from zoombench.harness.errors import ShapeError

BORDERS: list[Border] = ["replicate", "reflect"]


def random_saliency(rows: int, columns: int, *, spread: float = 2.0, seed: int = 0, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(batch, rows * columns, generator=generator)
    return logits.softmax(1).view(batch, 1, rows, columns)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("share", [0.05, SIGMA["code"], SIGMA["paper"], 3.0])
@pytest.mark.parametrize(("rows", "columns", "size"), [(16, 16, (16, 16)), (5, 31, (40, 17)), (31, 31, (224, 224))])
def test_uniform_saliency_gives_the_identity_grid(
    rows: int, columns: int, size: tuple[int, int], share: float, border: Border
) -> None:
    saliency = torch.full((1, 1, rows, columns), 1 / (rows * columns))
    grid = Attraction(rows, columns, sigma=share * columns, border=border)(saliency, size)
    torch.testing.assert_close(grid[0], identity_grid(*size), rtol=0, atol=2e-6)


@pytest.mark.parametrize("border", BORDERS)
def test_flipping_the_saliency_flips_the_grid(border: Border) -> None:
    saliency = random_saliency(9, 14)
    attraction = Attraction(9, 14, sigma=2.0, border=border)
    grid = attraction(saliency, (20, 30))
    left_right = attraction(saliency.flip(3), (20, 30)).flip(2) * torch.tensor([-1.0, 1.0])
    up_down = attraction(saliency.flip(2), (20, 30)).flip(1) * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(left_right, grid, rtol=0, atol=5e-6)
    torch.testing.assert_close(up_down, grid, rtol=0, atol=5e-6)


@pytest.mark.parametrize("border", BORDERS)
def test_transposing_the_saliency_transposes_the_grid(border: Border) -> None:
    saliency = random_saliency(9, 14)
    grid = Attraction(9, 14, sigma=2.0, border=border)(saliency, (20, 30))
    transposed = Attraction(14, 9, sigma=2.0, border=border)(saliency.mT.contiguous(), (30, 20))
    torch.testing.assert_close(transposed.transpose(1, 2).flip(3), grid, rtol=0, atol=5e-6)


def test_the_scale_of_the_saliency_does_not_matter() -> None:
    saliency = random_saliency(8, 8)
    attraction = Attraction(8, 8, sigma=1.4)
    torch.testing.assert_close(attraction(saliency * 1e-4, (8, 8)), attraction(saliency, (8, 8)), rtol=0, atol=5e-6)


def test_a_batch_gives_the_same_grids_as_its_examples_one_by_one() -> None:
    saliency = random_saliency(8, 8, batch=5)
    attraction = Attraction(8, 8, sigma=1.4)
    singles = torch.cat([attraction(one, (12, 12)) for one in saliency.split(1)])
    torch.testing.assert_close(attraction(saliency, (12, 12)), singles, rtol=0, atol=1e-6)


def test_salient_places_are_sampled_more_densely() -> None:
    logits = torch.zeros(1, 1, 16, 16)
    logits[..., 8, 4] = 4.0
    saliency = logits.flatten(1).softmax(1).view_as(logits)
    grid = Attraction(16, 16, sigma=SIGMA["code"] * 16)(saliency, (16, 16))
    assert grid[0, 8, 5, 0] - grid[0, 8, 3, 0] < 0.5 * (grid[0, 8, 13, 0] - grid[0, 8, 11, 0])


def test_the_code_magnifies_a_bump_more_than_the_paper() -> None:
    # methods.md 0.2: 2.60 and 1.68 times, for the same bump 21 times as salient as the rest, on 31 cells.
    steps = torch.arange(31) - 15.0
    bump = torch.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 2.0**2))
    saliency = (1 + 20 * bump)[None, None] / (1 + 20 * bump).sum()
    spacing = {
        name: Attraction(31, 31, sigma=share * 31)(saliency, (31, 31))[0, 15, 14:17, 0].diff().mean()
        for name, share in SIGMA.items()
    }
    assert spacing["code"] < spacing["paper"] < 2 / 30


@pytest.mark.parametrize("border", BORDERS)
def test_the_gradient_is_right(border: Border) -> None:
    down = kernel_matrices(3, sigma=0.7, border=border)
    across = kernel_matrices(4, sigma=0.7, border=border)
    logits = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def grid(logits: Tensor) -> Tensor:
        saliency = logits.flatten(1).softmax(1).view_as(logits)
        return attract(saliency, down=down, across=across)

    assert torch.autograd.gradcheck(grid, logits.requires_grad_())


@pytest.mark.parametrize("sigma", [0.3, 1.7, SIGMA["code"] * 31, SIGMA["paper"] * 31])
@pytest.mark.parametrize("peak", [(0, 0), (15, 20), (30, 30)])
@pytest.mark.parametrize("gap", [30.0, 100.0, 300.0])
def test_peaky_saliency_never_gives_nan(sigma: float, peak: tuple[int, int], gap: float) -> None:
    # A logit gap of 104 underflows the softmax to exactly 0, and a narrow kernel underflows far from the peak.
    logits = torch.randn(1, 1, 31, 31, generator=torch.Generator().manual_seed(2))
    logits[0, 0, peak[0], peak[1]] += gap
    logits.requires_grad_()
    saliency = logits.flatten(1).softmax(1).view_as(logits)
    grid = Attraction(31, 31, sigma=sigma)(saliency, (40, 40))
    (grid * torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    assert grid.isfinite().all()
    assert grid.abs().max() <= 1
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max() < 1e3


def test_a_node_that_no_saliency_reaches_stays_where_it_is() -> None:
    saliency = torch.zeros(1, 1, 31, 31)
    saliency[..., 0, 0] = 1
    grid = Attraction(31, 31, sigma=0.5)(saliency, (31, 31))
    torch.testing.assert_close(grid[0, 20:, 20:], identity_grid(31, 31)[20:, 20:], rtol=0, atol=1e-6)


def test_the_grid_keeps_float32_under_autocast() -> None:
    saliency = random_saliency(16, 16)
    attraction = Attraction(16, 16, sigma=2.8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attraction(saliency, (32, 32))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, attraction(saliency, (32, 32)), rtol=0, atol=0)


def test_float32_is_precise_to_a_thousandth_of_a_pixel() -> None:
    saliency = random_saliency(31, 31, spread=3.0)
    matrices = kernel_matrices(31, sigma=5.52, border="replicate")
    exact = attract(saliency.double(), down=matrices, across=matrices)
    grid = Attraction(31, 31, sigma=5.52)(saliency, (31, 31))
    assert (grid - exact).abs().max() < 1.5e-6  # 0.0004 px of 512


def test_a_map_of_one_cell_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least 2 cells along each axis, found 1"):
        kernel_matrices(1, sigma=1.0, border="replicate")


def test_a_kernel_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma must be positive, found 0\.0"):
        kernel_matrices(4, sigma=0.0, border="replicate")
