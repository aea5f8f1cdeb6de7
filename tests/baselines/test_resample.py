"""Laws of reading an image through a grid."""

import pytest
import torch
from torch.nn import functional

from zoombench.baselines.layers.resample import box_grid, identity_grid, overview, resample


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))


def test_the_identity_grid_returns_the_image(image: torch.Tensor) -> None:
    grid = identity_grid(12, 20).expand(2, -1, -1, -1)
    torch.testing.assert_close(resample(image, grid), image, rtol=0, atol=1e-5)


def test_a_mirrored_grid_returns_the_mirrored_image(image: torch.Tensor) -> None:
    grid = (identity_grid(12, 20) * torch.tensor([-1.0, 1.0])).expand(2, -1, -1, -1)
    torch.testing.assert_close(resample(image, grid), image.flip(3), rtol=0, atol=1e-5)


def test_minus_one_and_one_are_the_centres_of_the_corner_pixels(image: torch.Tensor) -> None:
    corners = torch.tensor([[[-1.0, -1.0], [1.0, -1.0]], [[-1.0, 1.0], [1.0, 1.0]]]).expand(2, -1, -1, -1)
    torch.testing.assert_close(resample(image, corners), image[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].view(2, 3, 2, 2))


def test_beyond_the_border_the_border_repeats(image: torch.Tensor) -> None:
    outside = torch.tensor([[[-1.8, -1.3]]]).expand(2, -1, -1, -1)
    torch.testing.assert_close(resample(image, outside)[:, :, 0, 0], image[:, :, 0, 0])


def test_the_result_keeps_the_precision_of_the_grid(image: torch.Tensor) -> None:
    grid = identity_grid(12, 20).expand(2, -1, -1, -1)
    assert resample(image.half(), grid).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(resample(image, grid), image, rtol=0, atol=1e-5)


def test_the_gradient_reaches_image_and_grid() -> None:
    image = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    grid = (0.8 * identity_grid(3, 3, dtype=torch.float64) + 0.013)[None].requires_grad_()
    assert torch.autograd.gradcheck(resample, (image, grid))


def test_an_overview_pixel_is_the_mean_of_its_area(image: torch.Tensor) -> None:
    by_hand = image.view(2, 3, 4, 3, 4, 5).mean(dim=(3, 5))
    torch.testing.assert_close(overview(image, 4), by_hand)


def test_an_overview_whose_side_does_not_divide_the_images_splits_pixels() -> None:
    row = torch.tensor([0.0, 3.0, 6.0]).expand(1, 3, 3, 3)
    torch.testing.assert_close(overview(row, 2)[0, 0, 0], torch.tensor([1.0, 5.0]))  # (0 + 3/2) / 1.5, (3/2 + 6) / 1.5


@pytest.mark.parametrize("size", [1, 5, 7, 12])
def test_an_overview_keeps_the_mean(image: torch.Tensor, size: int) -> None:
    torch.testing.assert_close(overview(image, size).mean(dim=(2, 3)), image.mean(dim=(2, 3)))


def test_an_overview_grows_without_blocks() -> None:
    image = torch.rand(2, 3, 8, 13, generator=torch.Generator().manual_seed(0))
    bilinear = functional.interpolate(image, size=(24, 31), mode="bilinear", align_corners=False)
    torch.testing.assert_close(overview(image, (24, 31)), bilinear)
    down = functional.interpolate(image, size=(24, 13), mode="bilinear", align_corners=False)
    torch.testing.assert_close(overview(image, (24, 5)), overview(down, (24, 5)))  # grows in one direction alone


def test_an_overview_is_exact_under_autocast(image: torch.Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(overview(image, 5).mean(dim=(2, 3)), image.mean(dim=(2, 3)))


def test_a_box_around_the_whole_image_gives_the_identity_grid() -> None:
    grid = box_grid(torch.tensor([[0.0, 0.0, 16.0, 16.0]]), image_hw=(16, 16), size=(16, 16))
    torch.testing.assert_close(grid[0], identity_grid(16, 16))


def test_a_box_of_the_views_size_is_cut_out_pixel_by_pixel(image: torch.Tensor) -> None:
    boxes = torch.tensor([[3.0, 2.0, 10.0, 9.0], [12.0, 5.0, 19.0, 12.0]])
    crops = resample(image, box_grid(boxes, image_hw=(12, 20), size=(7, 7)))
    torch.testing.assert_close(crops[0], image[0, :, 2:9, 3:10], rtol=0, atol=1e-5)
    torch.testing.assert_close(crops[1], image[1, :, 5:12, 12:19], rtol=0, atol=1e-5)


def test_a_box_may_be_cut_into_a_rectangle(image: torch.Tensor) -> None:
    box = torch.tensor([[3.0, 2.0, 8.0, 9.0]]).expand(2, -1)
    crops = resample(image, box_grid(box, image_hw=(12, 20), size=(7, 5)))
    torch.testing.assert_close(crops, image[:, :, 2:9, 3:8], rtol=0, atol=1e-5)


def test_beyond_the_image_its_border_repeats_or_there_are_zeros() -> None:
    image = torch.rand(1, 2, 3, 3) + 1
    outside = torch.tensor([[[[-3.0, -1.0], [1.5, 1.0]]]])  # two cells and half a cell beyond a corner
    corners = torch.stack((image[:, :, 0, 0], image[:, :, 2, 2]), dim=-1)[:, :, None]
    torch.testing.assert_close(resample(image, outside), corners)
    torch.testing.assert_close(resample(image, outside, beyond="zeros"), corners * torch.tensor([0.0, 0.5]))
