"""What is particular to the thin-plate spline as a method; the laws of its layer are in test_thin_plate.py."""

from typing import Any

import pytest
import torch

from zoombench.baselines import thin_plate_spline
from zoombench.baselines.layers.resample import identity_grid
from zoombench.baselines.layers.warp import Warp
from zoombench.baselines.thin_plate_spline import SplineEstimator
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

BUDGET = Budget(image_size=12, overview_size=10, epochs=1)


def build(**settings: Any) -> Warp:
    return thin_plate_spline.build(thin_plate_spline.Config(**settings), Classification(classes=10), BUDGET)


def stirred(method: Warp, by: float) -> SplineEstimator:
    """Its estimator, with every parameter moved at random."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    estimator = method.estimator
    assert isinstance(estimator, SplineEstimator)
    return estimator.eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("settings", [{}, {"bounded": False}, {"control_points": 7}, {"smoothing": 0.5}])
def test_it_starts_from_the_identity(image: torch.Tensor, settings: dict[str, Any]) -> None:
    (zoom,) = build(**settings)(image).zooms
    torch.testing.assert_close(zoom.grid, identity_grid(12, 12).expand(4, -1, -1, -1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("bounded", "inside"), [(True, True), (False, False)])
def test_bounded_control_points_read_inside_the_image(image: torch.Tensor, bounded: bool, inside: bool) -> None:
    estimator = stirred(build(bounded=bounded), by=1.0)
    heard = []
    estimator.thin_plate.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
    grid, _ = estimator(image)
    assert (heard[0].abs().max() <= 1) == inside
    assert grid.isfinite().all()


def test_autocast_changes_the_grid_by_no_more_than_the_features_rounding(image: torch.Tensor) -> None:
    estimator = stirred(build(), by=0.02)
    grid, _ = estimator(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = estimator(image)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, grid, rtol=0, atol=0.01)


def test_the_learning_rate_multiplier_is_the_localization_networks() -> None:
    assert [group["lr"] for group in build(learning_rate_multiplier=0.25).parameter_groups(0.5)] == [0.5, 0.125]
