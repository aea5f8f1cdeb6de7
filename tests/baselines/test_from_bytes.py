"""An image that stays bytes is read as its floats would be."""

from collections.abc import Iterator
from typing import Any, Literal

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from zoombench.baselines.layers import resample as resampling
from zoombench.baselines.layers.from_bytes import AT_ONCE, sample_u8
from zoombench.baselines.layers.resample import identity_grid, overview, resample, view
from zoombench.baselines.saliency_sampler import SaliencySampler

Beyond = Literal["border", "zeros"]


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names of all operations, and the largest floating-point tensor that one of them gave."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.names.add(func.name())
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, Tensor) and one.is_floating_point():
                self.largest = max(self.largest, one.numel())
        return out


def random_bytes(*shape: int, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(device)


def around(batch: int, height: int, width: int, *, reach: float = 1.3) -> Tensor:
    """Points inside and outside of the image, in no order."""
    return (torch.rand(batch, height, width, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1) * reach


def by_floats(image: Tensor, grid: Tensor, beyond: Beyond) -> Tensor:
    floats = image.to(grid.dtype) / 255
    return functional.grid_sample(floats, grid, mode="bilinear", padding_mode=beyond, align_corners=True)


def assert_same_numbers_and_gradients(image: Tensor, grid: Tensor, beyond: Beyond, tolerance: float = 1e-6) -> None:
    grid = grid.detach().requires_grad_()
    found, expected = sample_u8(image, grid, beyond=beyond), by_floats(image, grid, beyond)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    weights = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2)).to(expected)
    (gradient,), (right,) = (torch.autograd.grad((out * weights).sum(), grid) for out in (found, expected))
    assert right.abs().max() > 0
    torch.testing.assert_close(gradient, right, rtol=0, atol=tolerance * float(right.abs().max()))


@pytest.mark.parametrize("beyond", ["border", "zeros"])
@pytest.mark.parametrize("hw", [(2, 2), (7, 12), (64, 48), (255, 256), (1, 9), (9, 1)])
def test_bytes_are_read_as_their_floats_with_the_same_gradients(hw: tuple[int, int], beyond: Beyond) -> None:
    assert_same_numbers_and_gradients(random_bytes(3, 2, *hw), around(3, 11, 5), beyond)


@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_a_canvas_of_2528_px_is_read_to_the_same_last_bits(beyond: Beyond) -> None:
    # Neighbours of noise differ by up to 1, so a position may be off by a millionth of a pixel at most.
    assert_same_numbers_and_gradients(random_bytes(1, 3, 2528, 2528), around(1, 32, 32), beyond)


def test_no_gradient_flows_on_the_border_as_in_grid_sample() -> None:
    corners = torch.tensor([-1.0, 0.0, 1.0])
    grid = torch.stack(torch.meshgrid(corners, corners, indexing="xy"), dim=-1)[None]
    assert_same_numbers_and_gradients(random_bytes(1, 3, 8, 8), grid, "border")


@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_in_double_precision_both_agree_to_its_rounding(beyond: Beyond) -> None:
    assert_same_numbers_and_gradients(random_bytes(2, 3, 30, 50), around(2, 9, 9).double(), beyond, tolerance=1e-13)


def test_the_identity_grid_returns_the_bytes() -> None:
    image = random_bytes(2, 3, 12, 20)
    grid = identity_grid(12, 20).expand(2, -1, -1, -1)
    assert torch.equal((sample_u8(image, grid) * 255).round().to(torch.uint8), image)


def test_a_position_that_is_no_number_gives_none_and_does_not_crash() -> None:
    grid = torch.tensor([[[[float("nan"), 0.0], [float("inf"), float("-inf")]]]])
    read = sample_u8(random_bytes(1, 3, 8, 8), grid)
    assert read[..., 0].isnan().all()
    torch.testing.assert_close(read[..., 1], random_bytes(1, 3, 8, 8)[:, :, :1, -1] / 255)


def test_bytes_that_do_not_lie_in_a_row_are_read_alike() -> None:
    image, grid = random_bytes(2, 40, 50, 3).permute(0, 3, 1, 2), around(2, 4, 4)
    assert torch.equal(sample_u8(image, grid), sample_u8(image.contiguous(), grid))
    one = random_bytes(2, 1, 40, 50).expand(-1, 3, -1, -1)
    assert torch.equal(sample_u8(one, grid), sample_u8(one.contiguous(), grid))


@pytest.mark.parametrize("points", [4, 40])
@pytest.mark.parametrize("beyond", ["border", "zeros"])
def test_resample_takes_both_whether_the_grid_is_coarse_or_dense(points: int, beyond: Beyond) -> None:
    image, grid = random_bytes(2, 3, 60, 70), around(2, points, points)
    with Seen() as seen:
        found = resample(image, grid, beyond=beyond)
    assert ("aten::grid_sampler_2d" in seen.names) == (points == 40)
    torch.testing.assert_close(found, by_floats(image, grid, beyond), rtol=0, atol=1e-6)


def test_a_view_of_bytes_has_the_precision_of_the_grid_and_one_of_floats_the_images() -> None:
    grid = around(2, 4, 4)
    assert view(random_bytes(2, 3, 60, 70), grid).dtype == torch.float32
    assert view(torch.rand(2, 3, 60, 70).bfloat16(), grid).dtype == torch.bfloat16


@pytest.mark.parametrize("hw", [(64, 48), (61, 47), (300, 520), (700, 33)])
@pytest.mark.parametrize("size", [1, 2, 8, 13, (4, 16), (30, 33)])
def test_an_overview_of_bytes_is_the_exact_mean_of_each_area(hw: tuple[int, int], size: int | tuple[int, int]) -> None:
    image = random_bytes(2, 3, *hw)
    exact = overview(image.double() / 255, size)
    torch.testing.assert_close(overview(image, size), exact.float(), rtol=0, atol=2.5e-7)


def test_an_overview_of_bytes_is_exact_where_parts_of_it_are_summed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_bytes(2, 3, 48, 64)
    whole = overview(image, 8)
    monkeypatch.setattr("zoombench.baselines.layers.from_bytes.AT_ONCE", 48 * 64 // 3)
    with Seen() as seen:
        assert torch.equal(overview(image, 8), whole)
    assert "aten::cat" in seen.names


def test_white_stays_white_in_an_overview_of_any_size() -> None:
    for rows in (255, 256, 257, 1024, 4096):  # sums that just fit 16 bits, and that do not
        white = torch.full((1, 3, rows, 8), 255, dtype=torch.uint8)
        for height in (1, 2, 7, 8):
            torch.testing.assert_close(overview(white, (height, 4)), torch.ones(1, 3, height, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [16, 25])
def test_an_empty_batch_of_bytes_has_an_empty_overview(size: int) -> None:
    assert overview(random_bytes(0, 3, 200, 200), size).shape == (0, 3, size, size)


def test_an_overview_of_bytes_grows_as_one_of_floats() -> None:
    image = random_bytes(2, 3, 8, 13)
    torch.testing.assert_close(overview(image, (24, 5)), overview(image / 255, (24, 5)))


@pytest.mark.parametrize("size", [32, 30])
def test_no_floats_are_made_of_a_whole_canvas(size: int) -> None:
    image = random_bytes(2, 3, 1024, 1024)
    with Seen() as seen:
        overview(image, size)
        resample(image, around(2, size, size))
    assert seen.largest <= image.numel() / 20
    with Seen() as broken:
        overview(image / 255, size)
    assert broken.largest >= image.numel() > AT_ONCE


def test_autocast_changes_nothing() -> None:
    image, grid = random_bytes(2, 3, 61, 70), around(2, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample(image, grid), sample_u8(image, grid))
        low = overview(image, 7)
    assert torch.equal(low, overview(image, 7))


def layer() -> SaliencySampler:
    torch.manual_seed(0)
    task = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SaliencySampler(task, nn.Conv2d(3, 1, 3, padding=1), 12, overview_size=10, grid_size=9).eval()


def test_the_layer_takes_bytes_and_the_host_waits_for_none() -> None:
    sampler, image = layer(), random_bytes(3, 3, 120, 90)
    with Seen() as seen:
        found = sampler(image)
        found.prediction.sum().backward()
    assert not {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero"} & seen.names
    assert "aten::grid_sampler_2d" not in seen.names
    torch.testing.assert_close(found.prediction, sampler(image / 255).prediction, rtol=0, atol=1e-5)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the tests, which cannot be compiled."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("hw", [(120, 90), (121, 97)])
def test_the_layer_compiles_as_one_graph_on_bytes(hw: tuple[int, int], unchecked: None) -> None:
    sampler, image = layer(), random_bytes(3, 3, *hw)
    torch._dynamo.reset()
    compiled = torch.compile(sampler, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image).prediction, sampler(image).prediction)
    compiled(image).prediction.sum().backward()
    assert sampler.estimator.saliency_network.weight.grad.abs().max() > 0


def test_the_layer_is_exported_on_bytes() -> None:
    sampler, image = layer(), random_bytes(3, 3, 120, 90)
    program = torch.export.export(sampler, (image,))
    torch.testing.assert_close(program.module()(image).prediction, sampler(image).prediction)


@pytest.mark.gpu
def test_a_gpu_reads_bytes_as_the_cpu_does() -> None:
    image, grid = random_bytes(2, 3, 500, 400), around(2, 30, 30)
    for beyond in ("border", "zeros"):
        found = sample_u8(image.cuda(), grid.cuda(), beyond=beyond).cpu()  # type: ignore[arg-type]
        torch.testing.assert_close(found, sample_u8(image, grid, beyond=beyond), rtol=0, atol=1e-6)  # type: ignore[arg-type]
    for size in (20, 33):
        torch.testing.assert_close(overview(image.cuda(), size).cpu(), overview(image, size), rtol=0, atol=1e-6)
    torch.cuda.set_sync_debug_mode("error")
    try:
        resampling.resample(image.cuda(), grid.cuda())
    finally:
        torch.cuda.set_sync_debug_mode("default")
