"""The laws of every warp: an estimator takes the overview and says where the image is read."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from zoombench.baselines.grid_estimator import GridEstimator
from zoombench.baselines.layers.resample import identity_grid
from zoombench.baselines.saliency_sampler import SaliencyEstimator
from zoombench.baselines.spatial_transformer import AffineEstimator
from zoombench.baselines.thin_plate_spline import SplineEstimator
from zoombench.harness import lookup
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

SMALL, RESNET = 10, 33  # side of the overview; 33 stays odd under every stride, and only then has a mirror image


@dataclass(frozen=True)
class Warp:
    """A method with settings; a trunk that is not the small one is named apart, as each method has its own key."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    trunk: str = "small"

    def __str__(self) -> str:
        return "-".join([self.method, *(f"{key}={value}" for key, value in self.settings.items()), self.trunk])

    def estimator(self, *, view: int = 12, overview: int | None = None) -> nn.Module:
        """As it starts, but for statistics of BatchNorm that fit the images below."""
        module = lookup.load("method", self.method)
        key = "saliency_network" if self.method == "saliency_sampler" else "network"
        size = overview or self.overview
        budget = Budget(image_size=view, overview_size=size, epochs=1)
        torch.manual_seed(0)
        config = module.Config(**{key: self.trunk}, **self.settings)
        estimator = module.build(config, Classification(classes=10), budget).estimator
        assert isinstance(estimator, nn.Module)
        return settled(estimator, size)

    def stirred(self, *, view: int = 12, overview: int | None = None) -> nn.Module:
        """With every parameter moved at random, so that no law holds because of a zero."""
        estimator = self.estimator(view=view, overview=overview)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in estimator.parameters():
                parameter += (
                    0.1 * parameter.std(correction=0).clamp(min=0.3) * torch.randn(parameter.shape, generator=generator)
                )
        return settled(estimator, overview or self.overview)

    @property
    def overview(self) -> int:
        return SMALL if self.trunk == "small" else RESNET


def images(side: int, *, batch: int = 4) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def settled(estimator: nn.Module, side: int) -> nn.Module:
    norms = [module for module in estimator.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        estimator.train()(images(side))
    return estimator.eval()


WARPS = [
    Warp("saliency_sampler"),
    Warp("saliency_sampler", {"border": "reflect", "sigma": "paper", "grid_size": 7}),
    Warp("saliency_sampler", {"first_logits": "any_sign", "sigma_cells": 1.5}),
    Warp("saliency_sampler", {"alignment": "code", "grid_size": 5}),
    Warp("saliency_sampler", trunk="resnet18_14"),
    Warp("spatial_transformer"),
    Warp("spatial_transformer", trunk="resnet18_14"),
    Warp("thin_plate_spline"),
    Warp("thin_plate_spline", {"bounded": False}),
    Warp("thin_plate_spline", {"control_points": 7, "smoothing": 0.5}),
    Warp("thin_plate_spline", trunk="resnet18_10"),
    Warp("grid_estimator"),
    Warp("grid_estimator", {"grid_size": 5}),
    Warp("grid_estimator", {"grid_size": 17}),
    Warp("grid_estimator", trunk="resnet18_6"),
]


class Symmetry(NamedTuple):
    """Of the square: what it does to maps (..., rows, columns), and its matrix for (x, y), which is its own inverse."""

    name: str
    maps: Callable[[Tensor], Tensor]
    matrix: Tensor

    def grids(self, grid: Tensor) -> Tensor:
        """A grid (B, height, width, 2) in the mirror."""
        return self.maps(grid.movedim(3, 1)).movedim(1, 3) @ self.matrix

    def affines(self, affine: Tensor) -> Tensor:
        """A transformation (B, 2, 3) in the mirror."""
        return self.matrix @ affine @ torch.block_diag(self.matrix, torch.ones(1, 1))

    def network(self, estimator: nn.Module) -> nn.Module:
        """The estimator that sees in the mirror what this one sees without: the same in all but places."""
        twin = copy.deepcopy(estimator)
        with torch.no_grad():
            for module in twin.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.copy_(self.maps(module.weight).clone())
            if isinstance(twin, AffineEstimator | SplineEstimator):
                flattened = twin.localization_network[3].weight
                flattened.copy_(self.maps(flattened.unflatten(1, (-1, 8, 8))).flatten(1).clone())
            if isinstance(twin, GridEstimator):
                self._turn(twin.to_shift, lambda shifts: shifts @ self.matrix)
            if isinstance(twin, AffineEstimator):
                self._turn(twin.to_affine, lambda numbers: self.affines(numbers.unflatten(1, (2, 3))))
            if isinstance(twin, SplineEstimator):
                side = round((twin.to_sources.out_features / 2) ** 0.5)
                self._turn(twin.to_sources, lambda numbers: self.grids(numbers.unflatten(1, (side, side, 2))))
        return twin

    @staticmethod
    def _turn(layer: nn.Linear | nn.Conv2d, change: Callable[[Tensor], Tensor]) -> None:
        """Change, by something linear, what a layer gives."""
        matrix = change(torch.eye(len(layer.weight))).flatten(1).mT
        for parameter in (layer.weight, layer.bias):
            assert parameter is not None
            parameter.copy_(
                (matrix @ parameter.flatten(1) if parameter.ndim > 1 else matrix @ parameter).view_as(parameter)
            )


SYMMETRIES = [
    Symmetry("left and right", lambda maps: maps.flip(-1), torch.tensor([[-1.0, 0.0], [0.0, 1.0]])),
    Symmetry("up and down", lambda maps: maps.flip(-2), torch.tensor([[1.0, 0.0], [0.0, -1.0]])),
    Symmetry("transposed", lambda maps: maps.mT, torch.tensor([[0.0, 1.0], [1.0, 0.0]])),
]
every_warp = pytest.mark.parametrize("warp", WARPS, ids=str)


@every_warp
def test_it_starts_from_the_identity(warp: Warp) -> None:
    estimator = warp.estimator()
    if isinstance(estimator, SaliencyEstimator):
        nn.init.zeros_(estimator.saliency_network.to_logits.weight)  # type: ignore[union-attr, arg-type]
    grid, _ = estimator(images(warp.overview))
    off = (grid - identity_grid(12, 12)).abs().max()
    assert off > 0.02 if warp.settings.get("alignment") == "code" else off < 1e-5


@every_warp
@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=lambda symmetry: symmetry.name)
def test_a_mirrored_network_gives_a_mirrored_overview_the_mirrored_grid(warp: Warp, symmetry: Symmetry) -> None:
    estimator, overview = warp.stirred(), images(warp.overview)
    grid, _ = estimator(overview)
    assert (grid - identity_grid(12, 12)).abs().amax(dim=(1, 2, 3)).min() > 0.02, "nothing is bent"
    assert (symmetry.grids(grid) - grid).abs().max() > 0.02, "the grid is its own mirror image"
    mirrored, _ = symmetry.network(estimator)(symmetry.maps(overview))
    torch.testing.assert_close(mirrored, symmetry.grids(grid), rtol=0, atol=2e-5)


@every_warp
def test_a_batch_gives_the_same_grids_as_its_examples_one_by_one(warp: Warp) -> None:
    estimator, overview = warp.stirred(), images(warp.overview)
    grid, _ = estimator(overview)
    singles = torch.cat([estimator(one)[0] for one in overview.split(1)])
    assert (grid[0] - grid[1]).abs().max() > 1e-4
    torch.testing.assert_close(grid, singles, rtol=0, atol=2e-5)


@every_warp
def test_gradients_reach_every_parameter(warp: Warp) -> None:
    estimator = warp.stirred()
    grid, _ = estimator(images(warp.overview))
    (grid * torch.randn(grid.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    for name, parameter in estimator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A softmax does not see the bias of its logits: that gradient is rounding.
        assert parameter.grad.abs().max() > 1e-7 or name == "saliency_network.to_logits.bias", name


@pytest.mark.parametrize("warp", [warp for warp in WARPS if warp.trunk == "small"], ids=str)
def test_the_gradient_is_right(warp: Warp) -> None:
    estimator = warp.stirred(view=4, overview=5).double()
    view = images(5, batch=2).double().requires_grad_()

    assert torch.autograd.gradcheck(lambda view: estimator(view)[0], view)


@every_warp
def test_under_autocast_what_follows_the_features_stays_in_float32(warp: Warp) -> None:
    estimator, overview = warp.stirred(), images(warp.overview)
    grid, _ = estimator(overview)
    features = next(estimator.children())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = estimator(overview)
        features.forward = torch.autocast("cpu", enabled=False)(features.forward)
        mixed, _ = estimator(overview)
    assert not torch.equal(rounded, grid), "autocast has nothing to do with it"
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, grid, rtol=0, atol=1e-6)
