"""What is particular to each method."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoombench.baselines import (
    grid_estimator,
    oracle_crop,
    saliency_sampler,
    spatial_transformer,
    thin_plate_spline,
    uniform,
)
from zoombench.baselines.layers.resample import identity_grid, overview
from zoombench.harness import cli, spec
from zoombench.harness.budget import Budget
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.sweepfile import Settings
from zoombench.harness.tasks import Classification

TASK = Classification(classes=10)
BUDGET = Budget(image_size=12, overview_size=10, epochs=1)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_uniform_sees_the_area_average_and_says_so_with_the_identity_grid(image: torch.Tensor) -> None:
    (zoom,) = uniform.build(uniform.Config(), TASK, BUDGET)(image).zooms
    torch.testing.assert_close(zoom.resampled, overview(image, 12))
    torch.testing.assert_close(zoom.grid[0], identity_grid(12, 12))


def test_the_report_says_how_a_method_departs_from_its_default(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    methods = {
        "uniform": {},
        "skipping": {"method": "uniform", "antialias": False},
        "theirs": {"method": "saliency_sampler", "preset": "code", "saliency_network": "small"},
    }
    path = sweep_file(methods=methods, budgets={"b": {"image_size": 8, "epochs": 1, "batch": 16}})
    assert execute(spec.load(path).trials[1], Ledger.open(tmp_path / "results"), Settings(), commit="abc") == "done"
    cli.main(["report", str(path), "--results", str(tmp_path / "results")])
    said = (tmp_path / "results" / "sweeps" / "small" / "report.html").read_text()
    assert "skipping: resizes without antialiasing: pixels are skipped, as the warps skip them." in said
    assert "theirs: preset code, which differs from ours in first_logits any_sign, grid_size 31, alignment code" in said
    assert said.count("resizes without antialiasing") == 1, "of uniform as it is by default there is nothing to say"


def test_without_antialiasing_uniform_reads_single_pixels(image: torch.Tensor) -> None:
    # 12 corner-aligned pixels of 34 stand three apart.
    (zoom,) = uniform.build(uniform.Config(antialias=False), TASK, BUDGET)(image[..., :34, :34]).zooms
    torch.testing.assert_close(zoom.resampled, image[..., :34:3, :34:3], rtol=0, atol=1e-5)
    torch.testing.assert_close(zoom.grid[0], identity_grid(12, 12))


def test_a_blank_image_is_sampled_uniformly_away_from_the_border() -> None:
    sampler = saliency_sampler.build(saliency_sampler.Config(), TASK, BUDGET).eval()
    (zoom,) = sampler(torch.zeros(1, 3, 40, 40)).zooms
    assert zoom.saliency is not None
    inner = zoom.saliency[0, 0, 2:-2, 2:-2]
    torch.testing.assert_close(inner, inner.mean().expand_as(inner))


@pytest.mark.parametrize("grid_size", [None, 7, 15])
def test_the_samplers_grid_size_defaults_to_the_overviews(image: torch.Tensor, grid_size: int | None) -> None:
    config = saliency_sampler.Config(grid_size=grid_size)
    (zoom,) = saliency_sampler.build(config, TASK, BUDGET)(image).zooms
    assert zoom.saliency is not None
    assert zoom.saliency.shape == (4, 1, grid_size or 10, grid_size or 10)


@pytest.mark.parametrize(("sigma", "same"), [("code", 0.178083), ("paper", 1 / 3)])
def test_a_named_sigma_is_a_share_of_the_width(image: torch.Tensor, sigma: str, same: float) -> None:
    grids = []
    for setting in (sigma, same):
        torch.manual_seed(0)
        sampler = saliency_sampler.build(saliency_sampler.Config(sigma=setting), TASK, BUDGET)  # type: ignore[arg-type]
        grids.append(sampler(image).zooms[0].grid)
    torch.testing.assert_close(*grids, rtol=0, atol=1e-5)


def test_the_estimators_learning_rate_is_a_multiple_of_the_task_networks() -> None:
    estimator = grid_estimator.build(grid_estimator.Config(learning_rate_multiplier=0.001), TASK, BUDGET)
    assert [group["lr"] for group in estimator.parameter_groups(0.5)] == [0.5, 0.0005]


def test_the_trunk_and_the_last_layer_of_the_saliency_network_learn_at_rates_of_their_own() -> None:
    config = saliency_sampler.Config(trunk_learning_rate_multiplier=0.001, last_learning_rate_multiplier=0.01)
    sampler = saliency_sampler.build(config, TASK, BUDGET)
    task, trunk, last = sampler.parameter_groups(0.5)
    assert (task["lr"], trunk["lr"], last["lr"]) == (0.5, 0.0005, 0.005)
    assert [parameter.shape for parameter in last["params"]] == [(1, 16, 1, 1)]
    assert len(trunk["params"]) + len(last["params"]) == len(list(sampler.estimator.parameters()))


def test_an_image_need_not_be_square() -> None:
    wide = torch.rand(2, 3, 24, 50, generator=torch.Generator().manual_seed(0))
    for module in (uniform, saliency_sampler, spatial_transformer, thin_plate_spline, grid_estimator):
        assert module.build(module.Config(), TASK, BUDGET)(wide).prediction.shape == (2, 10)


def test_the_oracle_puts_the_boxes_side_by_side(image: torch.Tensor) -> None:
    boxes = torch.tensor([[[4.0, 9.0, 10.0, 21.0], [30.0, 13.0, 36.0, 25.0]]]).expand(4, -1, -1)
    (zoom,) = oracle_crop.build(oracle_crop.Config(), TASK, BUDGET)(image, boxes).zooms
    both = torch.cat((image[:, :, 9:21, 4:10], image[:, :, 13:25, 30:36]), dim=3)
    torch.testing.assert_close(zoom.resampled, both, rtol=0, atol=1e-5)


def test_the_oracles_margin_is_a_share_of_the_box(image: torch.Tensor) -> None:
    boxes = torch.tensor([[[10.0, 10.0, 18.0, 18.0]]]).expand(4, -1, -1)
    (zoom,) = oracle_crop.build(oracle_crop.Config(margin=0.25), TASK, BUDGET)(image, boxes).zooms
    torch.testing.assert_close(zoom.resampled, image[:, :, 8:20, 8:20], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (saliency_sampler, {"sigma": 0.0}, "sigma is 0.0: a share of the map's width lies above 0"),
        (saliency_sampler, {"grid_size": 1}, "grid_size is 1: a grid needs at least 2 cells"),
        (saliency_sampler, {"sigma_cells": 0.0}, "sigma_cells is 0.0: it must be positive"),
        (saliency_sampler, {"sigma": 0.2, "sigma_cells": 3.0}, "sigma is 0.2 and sigma_cells is 3.0: give one of the"),
        (saliency_sampler, {"blur_epochs": 1.5}, "blur_epochs is 1.5: a share of the epochs lies between 0 and 1"),
        (
            saliency_sampler,
            {"trunk_learning_rate_multiplier": 0.0},
            "trunk_learning_rate_multiplier is 0.0: it must be positive",
        ),
        (
            saliency_sampler,
            {"last_learning_rate_multiplier": -1.0},
            "last_learning_rate_multiplier is -1.0: it must be positive",
        ),
        (
            saliency_sampler,
            {"saliency_weights": "IMAGENET1K_V1"},
            "saliency_weights is 'IMAGENET1K_V1': the small trunk starts at random: leave them out",
        ),
        (
            saliency_sampler,
            {"preset": "code", "saliency_weights": "IMAGENET1K_V7"},
            "saliency_weights is 'IMAGENET1K_V7': resnet18 has no such weights: expected torchvision's IMAGENET1K_V1",
        ),
        *(
            (module, {"weights": "imagenet.pth"}, "weights is 'imagenet.pth': the small trunk starts at random")
            for module in (spatial_transformer, thin_plate_spline, grid_estimator)
        ),
        (spatial_transformer, {"hidden": 0}, "hidden is 0: it must be positive"),
        (thin_plate_spline, {"control_points": 1}, "control_points is 1: a spline needs at least 2 a side"),
        (thin_plate_spline, {"smoothing": -0.1}, "smoothing is -0.1: it cannot be negative"),
        (thin_plate_spline, {"cells": 0}, "cells is 0: it must be positive"),
        (grid_estimator, {"grid_size": 1}, "grid_size is 1: a grid needs at least 2 nodes"),
        (grid_estimator, {"learning_rate_multiplier": 0.0}, "learning_rate_multiplier is 0.0: it must be positive"),
        (oracle_crop, {"margin": -0.5}, "margin is -0.5: at -0.5 and below nothing is left"),
    ],
)
def test_a_setting_that_cannot_work_says_why(module: object, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        module.Config(**settings)  # type: ignore[attr-defined]
