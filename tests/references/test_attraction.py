"""The fast grid against plain loops written straight from the paper's equations."""

import math

import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.attraction import SIGMA, Alignment, Attraction, Border, attract, kernel_matrices
from zoombench.baselines.layers.resample import resample


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
    mass_of = saliency.tolist()
    grid = torch.zeros(rows, columns, 2, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            mass = u = v = 0.0
            for other_y in range(y - rows + 1, y + rows):
                for other_x in range(x - columns + 1, x + columns):
                    source_y = padded_index(other_y, rows, border)
                    source_x = padded_index(other_x, columns, border)
                    distance2 = (other_x - x) ** 2 + (other_y - y) ** 2
                    pull = mass_of[source_y][source_x] * math.exp(-distance2 / (2 * sigma**2))
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


def loop_upsample(nodes: Tensor, size: tuple[int, int], alignment: Alignment) -> Tensor:
    """Bilinear upsampling, one pixel at a time.

    Pixel i of n reads between `count` nodes: corners, at i (count - 1) / (n - 1); code, as nn.Upsample does in the
    authors' layer, at (i + 1/2) count / n - 1/2, and not beyond the outer nodes.
    """

    def neighbours(pixel: int, pixels: int, count: int) -> tuple[int, int, float]:
        at = pixel * (count - 1) / (pixels - 1) if alignment == "corners" else (pixel + 0.5) * count / pixels - 0.5
        at = min(max(at, 0.0), count - 1.0)
        first = min(int(at), count - 2)
        return first, first + 1, at - first

    rows, columns = nodes.shape[:2]
    known = nodes.tolist()
    grid = torch.zeros(*size, 2, dtype=torch.float64)
    for y in range(size[0]):
        top, bottom, down = neighbours(y, size[0], rows)
        for x in range(size[1]):
            left, right, across = neighbours(x, size[1], columns)
            for axis in (0, 1):
                upper = (1 - across) * known[top][left][axis] + across * known[top][right][axis]
                lower = (1 - across) * known[bottom][left][axis] + across * known[bottom][right][axis]
                grid[y, x, axis] = (1 - down) * upper + down * lower
    return grid


@pytest.mark.parametrize("border", ["replicate", "reflect"])
@pytest.mark.parametrize("alignment", ["corners", "code"])
@pytest.mark.parametrize(
    ("cells", "sigma", "size"), [((6, 9), 1.6, (23, 40)), ((9, 4), 0.7, (18, 31)), ((8, 8), 8 / 3, (8, 8))]
)
def test_the_whole_grid_equals_plain_loops(
    cells: tuple[int, int], sigma: float, size: tuple[int, int], alignment: Alignment, border: Border
) -> None:
    saliency = torch.randn(cells[0] * cells[1], generator=torch.Generator().manual_seed(3)).softmax(0).view(cells)
    fast = Attraction(*cells, sigma=sigma, border=border, alignment=alignment)(saliency[None, None], size)
    slow = loop_upsample(loop_grid(saliency.double(), sigma, border), size, alignment)
    torch.testing.assert_close(fast[0].double(), slow, rtol=0, atol=2e-6)


def test_the_preset_codes_grid_is_the_authors_at_their_size() -> None:
    # Dense 61 x 61 loops over 31 x 31 cells, upsampled to 224 with align_corners=False, read with align_corners=True
    # and zeros beyond the border: torch 0.4.0, which their README asks for.
    generator = torch.Generator().manual_seed(5)
    saliency = (3 * torch.randn(961, generator=generator)).softmax(0).view(31, 31)
    theirs = loop_upsample(
        loop_grid(saliency.double(), 13 / math.sqrt(8 * math.log(2)), "replicate"), (224, 224), "code"
    )
    ours = Attraction(31, 31, sigma=SIGMA["code"] * 31, alignment="code")(saliency[None, None], (224, 224))
    torch.testing.assert_close(ours[0].double(), theirs, rtol=0, atol=2e-6)
    image = torch.rand(1, 3, 70, 90, generator=generator, dtype=torch.float64)
    read = torch.nn.functional.grid_sample(image, theirs[None], padding_mode="zeros", align_corners=True)
    torch.testing.assert_close(resample(image, theirs[None]), read, rtol=0, atol=1e-12)


def test_under_the_authors_alignment_uniform_saliency_is_not_the_identity() -> None:
    saliency = torch.full((1, 1, 31, 31), 1 / 961)
    grid = Attraction(31, 31, sigma=SIGMA["code"] * 31, alignment="code")(saliency, (224, 224))
    middles = torch.linspace(-1, 1, 225).unfold(0, 2, 1).mean(dim=1)  # of the pixels, as align_corners=False has them
    assert (grid[0, 0, :, 0] - middles).abs().max().item() == pytest.approx(0.032, abs=5e-4)
    assert (grid[0, 0, :, 0] == -1).sum() == 4
