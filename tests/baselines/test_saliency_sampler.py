"""The saliency sampler's presets, as a method of the benchmark."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from zoombench.baselines import saliency_sampler
from zoombench.baselines.layers.attraction import SIGMA
from zoombench.baselines.layers.blur import Blur
from zoombench.baselines.layers.resample import identity_grid, resample
from zoombench.baselines.layers.warp import Warp
from zoombench.baselines.saliency_sampler import PRESETS, Config, SaliencyEstimator, remark
from zoombench.harness import lookup
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

BUDGET = Budget(image_size=24, overview_size=40, epochs=1)


def build(*, budget: Budget = BUDGET, **settings: Any) -> Warp:
    torch.manual_seed(0)
    settings = {"saliency_weights": "random"} | settings
    return saliency_sampler.build(Config(**settings), Classification(classes=10), budget)


def estimator_of(method: Warp) -> SaliencyEstimator:
    assert isinstance(method.estimator, SaliencyEstimator)
    return method.estimator


@pytest.mark.parametrize("preset", ["ours", "paper", "code"])
def test_a_preset_fills_every_setting_that_is_left_out(preset: str) -> None:
    filled = dataclasses.asdict(Config(preset=preset))  # type: ignore[arg-type]
    assert filled == {"preset": preset, "sigma_cells": None} | PRESETS[preset]


def test_every_setting_but_the_kernels_second_name_has_a_value_in_every_preset() -> None:
    names = {field.name for field in dataclasses.fields(Config)} - {"preset", "sigma_cells"}
    assert all(set(values) == names for values in PRESETS.values())


def test_a_setting_that_is_given_stands_before_the_presets() -> None:
    config = Config(preset="code", border="reflect", blur_epochs=0.0, saliency_network="resnet18_6")
    assert (config.border, config.blur_epochs, config.saliency_network) == ("reflect", 0.0, "resnet18_6")
    assert config.alignment == "code"


def test_a_preset_asks_no_weights_of_the_small_network() -> None:
    assert Config(preset="paper", saliency_network="small").saliency_weights is None


def test_a_width_in_cells_stands_for_sigma() -> None:
    assert Config(preset="paper", sigma_cells=4.0).sigma is None
    in_cells, as_share = build(sigma_cells=4.0, grid_size=16), build(sigma=0.25, grid_size=16)
    weights = [estimator_of(method).attraction.weights_x for method in (in_cells, as_share)]
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "paper"}, {"preset": "code", "sigma_cells": 3.0, "saliency_weights": "random"}]
)
def test_a_filled_config_that_is_read_again_stays_as_it_is(settings: dict[str, Any]) -> None:
    declared = lookup.declaration("method", "saliency_sampler")
    filled = declared.resolve(settings)
    assert declared.resolve(filled) == filled


def test_the_preset_code_is_what_the_authors_run() -> None:
    method = build(preset="code")
    estimator = estimator_of(method)
    assert estimator.cells == (31, 31)
    assert estimator.attraction.alignment == "code"
    reach = torch.arange(1, 5) ** 2
    cells = estimator.attraction.weights_x[0, 1:5]  # replication adds to the first column only
    torch.testing.assert_close(cells, torch.exp(-reach * 4 * torch.tensor(2.0).log() / 13**2))
    network = estimator.saliency_network
    assert isinstance(network, saliency_sampler.SaliencyNetwork)
    assert sum(isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1) for module in network.modules()) == 13
    assert network.to_logits.weight.shape == (1, 256, 1, 1)
    assert network.to_logits.weight.min() < 0 < network.to_logits.weight.max()
    assert network.to_logits.bias is not None
    assert [group["lr"] for group in method.parameter_groups(0.1)] == pytest.approx([0.1, 1e-4, 1e-3])
    assert isinstance(method.blur, Blur)
    assert method.blur.epochs_share == 0.2583
    assert Config(preset="code").saliency_weights == "IMAGENET1K_V1"


def test_the_preset_paper_has_a_wider_kernel_and_its_uniform_saliency_is_the_identity() -> None:
    method = build(preset="paper")
    estimator = estimator_of(method)
    cells = estimator.attraction.weights_x[0, 1:5]
    torch.testing.assert_close(cells, torch.exp(-(torch.arange(1, 5.0) ** 2) / (2 * (SIGMA["paper"] * 31) ** 2)))
    assert isinstance(estimator.saliency_network, saliency_sampler.SaliencyNetwork)
    nn.init.zeros_(estimator.saliency_network.to_logits.weight)
    (zoom,) = method(torch.rand(2, 3, 50, 60)).zooms
    torch.testing.assert_close(zoom.grid[1], identity_grid(24, 24), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("network", "layers", "side"), [("resnet18_6", 5, 10), ("resnet18_10", 9, 5), ("resnet18_14", 13, 3)]
)
def test_a_resnets_map_is_resized_to_the_grid(network: str, layers: int, side: int) -> None:
    method = build(saliency_network=network, grid_size=31)
    seen: list[tuple[int, ...]] = []
    estimator = estimator_of(method)
    estimator.saliency_network.register_forward_hook(lambda module, given, logits: seen.append(tuple(logits.shape)))
    (zoom,) = method(torch.rand(2, 3, 80, 80)).zooms
    assert seen == [(2, 1, side, side)]
    assert zoom.saliency is not None
    assert zoom.saliency.shape == (2, 1, 31, 31)
    convolutions = [one for one in estimator.modules() if isinstance(one, nn.Conv2d) and one.kernel_size != (1, 1)]
    assert len(convolutions) == layers  # and the 1 x 1 convolution that is counted with them


@pytest.mark.parametrize("gap", [1.0, 30.0, 300.0, 1e4])
@pytest.mark.parametrize("network", ["small", "resnet18_6", "resnet18_14"])
def test_peaky_saliency_gives_no_nan_under_bfloat16(network: str, gap: float) -> None:
    method = build(saliency_network=network, first_logits="any_sign", preset="code").train()
    assert isinstance(estimator_of(method).saliency_network, saliency_sampler.SaliencyNetwork)
    with torch.no_grad():
        estimator_of(method).saliency_network.to_logits.weight.mul_(gap)
    image = torch.rand(4, 3, 80, 80, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = method(image, torch.tensor([1, 2, 3, 4]))
    assert output.loss is not None
    output.loss.backward()
    (zoom,) = output.zooms
    assert zoom.grid.dtype == torch.float32
    assert zoom.grid.isfinite().all()
    assert zoom.grid.abs().max() <= 1 + 1e-6  # the nodes are clamped, and the weights of an upsampling are rounded
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_the_task_network_sees_the_blurred_image_in_the_first_epochs_of_training() -> None:
    method = build(blur_epochs=0.5)
    image = torch.rand(2, 3, 60, 60, generator=torch.Generator().manual_seed(1))
    blurs = []
    for epoch, training in ((0, True), (1, True), (0, False)):
        method.start_epoch(epoch, 2)
        (zoom,) = method.train(training)(image).zooms
        blurs.append(not torch.equal(zoom.resampled, resample(image, zoom.grid)))
    assert blurs == [True, False, False]


def test_ours_says_nothing_in_the_report() -> None:
    assert remark(Config()) is None
    assert remark(Config(border="reflect")) is None


def test_a_preset_says_in_the_report_how_it_differs_from_ours() -> None:
    assert remark(Config(preset="code", saliency_network="small", blur_epochs=0.0, sigma_cells=4.0)) == (
        "preset code, which differs from ours in sigma_cells 4.0, first_logits any_sign, grid_size 31, alignment code, "
        "trunk_learning_rate_multiplier 0.001, last_learning_rate_multiplier 0.01; the authors' restart of the "
        "learning rate after epoch 30 is left out."
    )
    said = remark(Config(preset="paper"))
    assert said is not None
    assert "sigma paper" in said
    assert "alignment" not in said


def test_the_default_gives_the_grid_that_it_gave_before_it_had_presets() -> None:
    # From commit 9c5831b, torch 2.15 on a CPU: the same lines, there without `preset`.
    method = build(budget=Budget(image_size=12, overview_size=10, epochs=1), preset="ours")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    output = method.eval()(torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)))
    grid = torch.tensor([[-0.449058, -0.61417], [0.442028, -0.086354], [0.087688, 0.626151]])
    torch.testing.assert_close(output.zooms[0].grid[1, [2, 5, 9], [3, 8, 6]], grid, rtol=0, atol=2e-6)
    torch.testing.assert_close(output.prediction[0, :2], torch.tensor([0.077663, 0.021652]), rtol=0, atol=1e-5)
