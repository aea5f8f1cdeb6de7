"""What is particular to the thin-plate spline as a method; its laws are in test_warp_laws.py and test_thin_plate.py."""

from typing import Any

import pytest
import torch

from zoombench.baselines import thin_plate_spline
from zoombench.baselines.layers.warp import Warp
from zoombench.baselines.thin_plate_spline import SplineEstimator
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

BUDGET = Budget(image_size=12, overview_size=10, epochs=1)


def build(**settings: Any) -> Warp:
    return thin_plate_spline.build(thin_plate_spline.Config(**settings), Classification(classes=10), BUDGET)


@pytest.mark.parametrize(("bounded", "inside"), [(True, True), (False, False)])
def test_bounded_control_points_read_inside_the_image(bounded: bool, inside: bool) -> None:
    estimator = build(bounded=bounded).eval().estimator
    assert isinstance(estimator, SplineEstimator)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    heard: list[torch.Tensor] = []
    estimator.thin_plate.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
    grid, _ = estimator(torch.rand(4, 3, 40, 40, generator=generator))
    assert (heard[0].abs().max() <= 1) == inside
    assert grid.isfinite().all()


def test_the_learning_rate_multiplier_is_the_localization_networks() -> None:
    assert [group["lr"] for group in build(learning_rate_multiplier=0.25).parameter_groups(0.5)] == [0.5, 0.125]
