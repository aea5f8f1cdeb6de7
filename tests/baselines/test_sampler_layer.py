"""The saliency sampler as a layer of somebody else's network: any networks, any shapes, any way to run it."""

import io
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoombench.baselines import saliency_sampler
from zoombench.baselines.layers.attraction import Alignment
from zoombench.baselines.layers.blur import blurred
from zoombench.baselines.layers.networks import SaliencyNetwork, TaskNetwork
from zoombench.baselines.layers.resample import identity_grid, overview, resample
from zoombench.baselines.saliency_sampler import SaliencySampler
from zoombench.harness.budget import Budget
from zoombench.harness.errors import ShapeError
from zoombench.harness.tasks import Classification


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names of all operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def task_network(channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def saliency_network(channels: int = 3, *, outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, outputs, 1))


def sampler(**settings: Any) -> SaliencySampler:
    """A layer with nothing square about it."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"task_size": (24, 32), "overview_size": (20, 28), "grid_size": (9, 13)}
    return SaliencySampler(task_network(), saliency_network(), **(sizes | settings)).eval()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 3, 50, 70, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the tests, which refuse a wrong setting in other words and cannot be compiled."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_three_lines_train_two_networks_of_ones_own(image: Tensor) -> None:
    layer = SaliencySampler(task_network(), saliency_network(), task_size=32)
    prediction, zoom = layer(image)
    nn.functional.cross_entropy(prediction, torch.tensor([0, 1, 2])).backward()
    assert zoom.resampled.shape == (3, 3, 32, 32)
    assert zoom.saliency.shape == (3, 1, 31, 31)
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        # A softmax does not see the bias of the last logits: its gradient is rounding.
        assert parameter.grad.abs().max() > 0 or name.endswith("saliency_network.2.bias"), name


def test_the_defaults_are_the_authors_sizes() -> None:
    layer = SaliencySampler(task_network(), saliency_network()).eval()
    _, zoom = layer(torch.rand(1, 3, 240, 300))
    assert zoom.grid.shape == (1, 224, 224, 2)
    assert zoom.saliency is not None
    assert zoom.saliency.shape == (1, 1, 31, 31)


@pytest.mark.parametrize("hw", [(24, 32), (17, 90), (90, 17), (13, 13)])
def test_images_may_have_any_aspect_ratio(hw: tuple[int, int]) -> None:
    _, zoom = sampler()(torch.rand(2, 3, *hw))
    assert zoom.resampled.shape == (2, 3, 24, 32)
    assert zoom.grid.shape == (2, 24, 32, 2)
    assert zoom.saliency.shape == (2, 1, 9, 13)
    torch.testing.assert_close(zoom.saliency.sum(dim=(1, 2, 3)), torch.ones(2))


def test_images_may_have_any_number_of_channels() -> None:
    layer = SaliencySampler(task_network(5), saliency_network(5), task_size=16, grid_size=8)
    assert layer(torch.rand(2, 5, 40, 30)).zoom.resampled.shape == (2, 5, 16, 16)


def test_a_task_network_may_answer_anything(image: Tensor) -> None:
    class Boxes(nn.Module):
        def forward(self, view: Tensor) -> dict[str, Any]:
            return {"boxes": [one.mean() for one in view], "size": tuple(view.shape[2:])}

    answer = SaliencySampler(Boxes(), saliency_network(), task_size=16)(image).prediction
    assert answer["size"] == (16, 16)
    assert len(answer["boxes"]) == 3


def test_uniform_saliency_resamples_the_image_uniformly(image: Tensor) -> None:
    class Flat(nn.Module):
        def forward(self, overview: Tensor) -> Tensor:
            return overview.new_zeros(overview.shape[0], 1, 4, 6)

    _, zoom = SaliencySampler(nn.Identity(), Flat(), task_size=(50, 70), grid_size=(9, 13))(image)
    torch.testing.assert_close(zoom.grid[0], identity_grid(50, 70), rtol=0, atol=2e-6)
    torch.testing.assert_close(zoom.resampled, image, rtol=0, atol=2e-4)


def test_the_saliency_network_sees_the_area_average(image: Tensor) -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, overview: Tensor) -> Tensor:
            seen.append(overview)
            return overview.mean(dim=1, keepdim=True)

    _, zoom = SaliencySampler(nn.Identity(), Spy(), task_size=16, overview_size=(10, 14))(image)
    torch.testing.assert_close(seen[0], overview(image, (10, 14)))
    torch.testing.assert_close(zoom.resampled, resample(image, zoom.grid))


@pytest.mark.parametrize("outputs", [2, 3])
def test_more_than_one_channel_of_logits_is_refused(image: Tensor, outputs: int) -> None:
    layer = SaliencySampler(task_network(), saliency_network(outputs=outputs), task_size=16)
    with pytest.raises(ShapeError, match=rf"gave \(3, {outputs}, 8, 8\); expected \(3, 1, rows, columns\).*1 x 1 conv"):
        layer(image)


def test_logits_without_places_are_refused(image: Tensor) -> None:
    layer = SaliencySampler(task_network(), task_network(), task_size=16)
    with pytest.raises(ShapeError, match=r"the saliency network gave \(3, 5\); expected \(3, 1, rows, columns\)"):
        layer(image)


def test_an_image_without_a_batch_is_refused(image: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"the image has shape \(3, 50, 70\); expected \(batch, channels, height"):
        sampler()(image[0])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sigma": "papr"}, ValueError, "sigma is 'papr': expected 'code', 'paper' or a share of the map's width"),
        ({"sigma": 0.0}, ValueError, r"sigma must be positive, found 0\.0"),
        ({"sigma": math.nan}, ValueError, "sigma must be positive, found nan"),
        ({"sigma_cells": -1.0}, ValueError, r"sigma must be positive, found -1\.0"),
        ({"border": "zeros"}, ValueError, "border is 'zeros': expected one of replicate, reflect"),
        ({"alignment": "centres"}, ValueError, "alignment is 'centres': expected one of corners, code"),
        ({"grid_size": (1, 9)}, ShapeError, "at least 2 cells along each axis, found 1"),
    ],
)
def test_a_setting_that_makes_no_grid_says_why(
    settings: dict[str, Any], error: type[Exception], message: str, unchecked: None
) -> None:
    with pytest.raises(error, match=message):
        sampler(**settings)


def test_the_width_of_the_kernel_is_a_share_of_the_maps_width() -> None:
    named, given = sampler(sigma="paper"), sampler(sigma=1 / 3)
    assert torch.equal(named.estimator.attraction.weights_x, given.estimator.attraction.weights_x)
    cells = named.estimator.attraction.weights_x[0, 1:4]  # replication adds to the first column only
    torch.testing.assert_close(cells, torch.exp(-(torch.arange(1, 4.0) ** 2) / (2 * (13 / 3) ** 2)))


def test_the_width_of_the_kernel_may_be_given_in_cells() -> None:
    in_cells, as_share = sampler(sigma_cells=2.6), sampler(sigma=0.2)  # of 13 columns
    torch.testing.assert_close(in_cells.estimator.attraction.weights_y, as_share.estimator.attraction.weights_y)


@pytest.mark.parametrize("alignment", ["corners", "code"])
def test_the_benchmarks_method_is_this_layer(image: Tensor, alignment: Alignment) -> None:
    budget = Budget(image_size=12, overview_size=10, epochs=1)
    config = saliency_sampler.Config(grid_size=9, sigma="paper", border="reflect", alignment=alignment)
    method = saliency_sampler.build(config, Classification(classes=10), budget).eval()
    layer = SaliencySampler(
        TaskNetwork(10),
        SaliencyNetwork(),
        12,
        overview_size=10,
        grid_size=9,
        sigma="paper",
        border="reflect",
        alignment=alignment,
    ).eval()
    layer.load_state_dict(method.state_dict())
    prediction, zoom = layer(image)
    assert torch.equal(prediction, method(image).prediction)
    assert torch.equal(zoom.grid, method(image).zooms[0].grid)


def test_the_task_network_sees_each_image_as_blurred_as_it_is_told(image: Tensor) -> None:
    layer, shares = sampler(), torch.tensor([0.0, 0.5, 1.0])
    prediction, zoom = layer(image, blur=shares)
    sharp = layer(image).zoom
    assert torch.equal(zoom.grid, sharp.grid)
    assert torch.equal(zoom.resampled, blurred(sharp.resampled, shares))
    assert torch.equal(prediction, layer.task_network(zoom.resampled))


def test_a_blur_for_another_batch_is_refused(image: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"blur has shape \(2,\); expected \(3,\), one an image"):
        sampler()(image, blur=torch.rand(2))


def test_a_state_dict_holds_weights_and_no_constants(image: Tensor) -> None:
    layer = sampler()
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = SaliencySampler(task_network(), saliency_network(), (24, 32), overview_size=(20, 28), grid_size=(9, 13))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(image).prediction, layer(image).prediction)


def test_the_gradient_through_the_whole_layer_is_right() -> None:
    torch.manual_seed(0)
    layer = SaliencySampler(nn.Identity(), nn.Conv2d(1, 1, 1), 4, overview_size=3, grid_size=(3, 4)).double()
    image = torch.rand(1, 1, 7, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert layer(image).zoom.grid.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda image: layer(image).prediction, image.requires_grad_())


def test_the_grid_keeps_float32_under_autocast_and_the_networks_do_not(image: Tensor) -> None:
    layer = sampler()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction, zoom = layer(image)
    assert prediction.dtype == torch.bfloat16
    assert zoom.grid.dtype == zoom.saliency.dtype == zoom.resampled.dtype == torch.float32
    exact = layer.estimator.attraction(zoom.saliency, (24, 32))
    assert torch.equal(zoom.grid, exact)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_made_half_keeps_its_grid_in_float32(image: Tensor, dtype: torch.dtype) -> None:
    layer = sampler()
    constants = layer.estimator.attraction.weights_x.clone()
    prediction, zoom = layer.to(dtype)(image.to(dtype))
    assert prediction.dtype == zoom.resampled.dtype == dtype
    assert zoom.grid.dtype == torch.float32
    assert torch.equal(layer.estimator.attraction.weights_x, constants)


@pytest.mark.parametrize(("autocast", "blur"), [(False, None), (True, None), (True, 0.5)])
def test_it_compiles_as_one_graph(image: Tensor, autocast: bool, blur: float | None, unchecked: None) -> None:
    layer = sampler()
    shares = None if blur is None else torch.full((3,), blur)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        prediction, zoom = compiled(image, blur=shares)
        expected = layer(image, blur=shares)
    assert zoom.grid.dtype == torch.float32
    torch.testing.assert_close(zoom.grid, expected.zoom.grid)
    torch.testing.assert_close(prediction, expected.prediction)
    prediction.float().sum().backward()
    assert layer.estimator.saliency_network[0].weight.grad.isfinite().all()


def test_an_exported_graph_takes_any_batch(image: Tensor) -> None:
    layer = sampler()
    program = torch.export.export(layer, (image,), dynamic_shapes={"image": {0: torch.export.Dim("batch")}})
    more = torch.rand(7, 3, 50, 70, generator=torch.Generator().manual_seed(3))
    prediction, zoom = program.module()(more)
    torch.testing.assert_close(prediction, layer(more).prediction)
    torch.testing.assert_close(zoom.grid, layer(more).zoom.grid)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # the exporter's own, about its own future
def test_onnx_gives_the_same_numbers_for_any_batch(image: Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = sampler()
    shapes = {"image": {0: torch.export.Dim("batch")}}
    program = torch.onnx.export(layer, (image,), dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    program.save(tmp_path / "sampler.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "sampler.onnx", providers=["CPUExecutionProvider"])
    more = torch.rand(7, 3, 50, 70, generator=torch.Generator().manual_seed(3))
    found = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    prediction, zoom = layer(more)
    for array, tensor in zip(found, (prediction, *zoom), strict=True):
        torch.testing.assert_close(torch.from_numpy(array), tensor.detach(), rtol=0, atol=1e-4)


def test_the_host_never_waits_for_a_number(image: Tensor) -> None:
    with Operations() as forward:
        prediction, _ = sampler()(image, blur=torch.rand(3))
        prediction.sum().backward()
    assert "aten::grid_sampler_2d_backward" in forward.names
    reads = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero"}
    assert not reads & forward.names
    with Operations() as broken:
        image.sum().item()
    assert reads & broken.names


def test_forward_makes_no_constant_on_the_host() -> None:
    # What a forward pass builds on the CPU is copied to the GPU each time, and cannot be captured in a CUDA graph.
    attraction = sampler().estimator.attraction
    with Operations() as operations:
        attraction(torch.rand(2, 1, 9, 13), (24, 32))
    assert "aten::upsample_bilinear2d" in operations.names
    assert not operations.names & {"aten::_to_copy", "aten::linspace", "aten::arange", "aten::copy_"}


def test_forward_draws_nothing_at_random(image: Tensor) -> None:
    layer = sampler().train()
    pythons, torchs = random.getstate(), torch.get_rng_state()
    layer(image)
    assert random.getstate() == pythons
    assert torch.equal(torch.get_rng_state(), torchs)


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one_on_the_joined_batch(in_two_processes: Any) -> None:
    layer = sampler()
    image, label = torch.rand(8, 3, 30, 50), torch.randint(5, (8,))
    two = in_two_processes({"layer": (layer, {"image": image}, label)})["layer"]
    assert isinstance(two, dict), two
    nn.functional.cross_entropy(layer(image).prediction, label).backward()
    assert len(two) > 4
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(two[name], parameter.grad, rtol=1e-4, atol=1e-6)
