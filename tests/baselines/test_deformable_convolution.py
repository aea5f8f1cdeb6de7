"""What is particular to deformable convolutions."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from zoombench.baselines import deformable_convolution, uniform
from zoombench.baselines.deformable_convolution import Config, DeformableConvolution
from zoombench.baselines.layers.deformable import Deformable
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification

TASK = Classification(classes=10)
NETWORKS = [("small", 12), ("small", 4), ("alexnet", 63), ("resnet18", 40), ("resnet18", 4), ("resnet50", 40)]
PLAIN: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 2, "groups": 2, "bias": False},
    {"kernel_size": (3, 5), "padding": (0, 2), "stride": (1, 2)},
]


def budget(network: str = "small", size: int = 12, **settings: Any) -> Budget:
    return Budget(image_size=size, task_network=network, epochs=1, **settings)


def build(where: Budget, **settings: Any) -> DeformableConvolution:
    torch.manual_seed(0)
    return deformable_convolution.build(Config(**settings), TASK, where)


def deformed(method: nn.Module) -> dict[str, Deformable]:
    return {name: module for name, module in method.named_modules() if isinstance(module, Deformable)}


def stir(method: nn.Module, scale: float = 0.1) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in deformed(method).values():
            for parameter in module.to_offset.parameters():
                parameter += scale * torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 3, 80, 90, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("network", "size"), NETWORKS)
def test_at_the_start_it_is_the_network_that_it_was_made_from(image: Tensor, network: str, size: int) -> None:
    where = budget(network, size)
    method = build(where).eval()
    torch.manual_seed(0)
    plain = uniform.build(uniform.Config(), TASK, where).eval()
    torch.testing.assert_close(method(image).prediction, plain(image).prediction, rtol=1e-5, atol=1e-5)
    stir(method)
    assert (method(image).prediction - plain(image).prediction).abs().max() > 1e-4


def test_it_is_made_from_the_weights_that_were_loaded(image: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained = uniform.build(uniform.Config(), TASK, budget("resnet18", 40)).eval()
    torch.save(trained.task_network.model.state_dict(), tmp_path / "weights.pt")
    method = build(budget("resnet18", 40, task_weights=str(tmp_path / "weights.pt"))).eval()
    torch.testing.assert_close(method(image).prediction, trained(image).prediction, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["small", "alexnet"])
def test_with_a_mask_each_sample_first_counts_half(image: Tensor, network: str) -> None:
    where = budget(network, 63)
    method = build(where, mask=True).eval()
    torch.manual_seed(0)
    plain = uniform.build(uniform.Config(), TASK, where).eval()
    with torch.no_grad():
        for name in deformed(method.uniform):
            plain.get_submodule(name).weight.mul_(0.5)
    torch.testing.assert_close(method(image).prediction, plain(image).prediction, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "size", "names"),
    [
        ("small", 12, ["features.2.0", "features.3.0", "features.5.0"]),
        ("alexnet", 63, ["model.features.6", "model.features.8", "model.features.10"]),
        ("resnet18", 33, ["model.layer4.0.conv2", "model.layer4.1.conv1", "model.layer4.1.conv2"]),
        ("resnet50", 33, [f"model.layer4.{block}.conv2" for block in range(3)]),
        ("resnet101", 33, [f"model.layer4.{block}.conv2" for block in range(3)]),
    ],
)
def test_the_convolutions_of_the_papers_are_deformed(network: str, size: int, names: list[str]) -> None:
    where = budget(network, size)
    method = build(where)
    plain = uniform.build(uniform.Config(), TASK, where).task_network
    found = deformed(method.uniform.task_network)
    assert list(found) == names
    for name, module in found.items():
        old = plain.get_submodule(name)
        for kept in ("stride", "padding", "dilation", "kernel_size", "groups"):
            assert getattr(module, kept) == getattr(old, kept)
        assert (module.bias is None) == (old.bias is None)
        assert module.to_offset.out_channels == 72  # of the authors' code: 2 x 9 cells x 4 groups


@pytest.mark.parametrize(("network", "strided"), [("resnet18", "layer4.0.conv1"), ("resnet50", "layer4.0.conv2")])
def test_dilated_keeps_the_resolution_of_the_stage_before(network: str, strided: str) -> None:
    model = build(budget(network, 64), dilated=True).uniform.task_network.model
    assert model.get_submodule(strided).stride == (1, 1)
    features = torch.rand(2, model.layer4[0].conv1.in_channels, 4, 5)
    assert model.layer4(features).shape[2:] == (4, 5)
    for module in deformed(model).values():
        assert module.dilation == module.padding == module.to_offset.dilation == module.to_offset.padding == (2, 2)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("geometry", PLAIN)
@pytest.mark.parametrize("size", [(9, 7), (6, 4), (3, 9)])
def test_resampling_gives_what_torchvision_computes(
    geometry: dict[str, Any], mask: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    module = Deformable(nn.Conv2d(8, 12, **geometry), groups=4, mask=mask).double()
    features = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    shape = list(module.to_offset(features).shape)
    offset = 2 * torch.randn(shape[0], module.parts[0], *shape[2:], dtype=torch.float64)
    weights = torch.rand(shape[0], module.parts[1], *shape[2:], dtype=torch.float64) if mask else None
    results, gradients = [], []
    for convolve in (module.by_resampling, lambda *these: DeformConv2d.forward(module, *these)):
        inputs = [one.detach().clone().requires_grad_() for one in (features, offset, weights) if one is not None]
        results.append(convolve(*inputs))
        gradients.append(torch.autograd.grad(results[-1].square().sum(), [*inputs, module.weight]))
    torch.testing.assert_close(*results)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 3)])
def test_a_map_of_one_cell_has_zeros_around_it(size: tuple[int, int]) -> None:
    plain = nn.Conv2d(4, 5, 3, padding=1)
    features = torch.randn(2, 4, *size)
    torch.testing.assert_close(Deformable(plain, groups=2, mask=False)(features), plain(features))


def test_an_offset_of_whole_cells_moves_the_convolution() -> None:
    plain = nn.Conv2d(4, 6, 3, padding=1)
    features = torch.randn(1, 4, 8, 9)
    module = Deformable(plain, groups=1, mask=False)
    with torch.no_grad():
        module.to_offset.bias.copy_(torch.tensor([1.0, -2.0] * 9))  # type: ignore[union-attr]  # (y, x): down, left
    moved = module(features)
    torch.testing.assert_close(moved[:, :, 1:6, 3:7], plain(features)[:, :, 2:7, 1:5])


def test_the_gradient_is_right() -> None:
    torch.manual_seed(0)
    module = Deformable(nn.Conv2d(4, 2, 3, padding=1), groups=2, mask=True).double()
    with torch.no_grad():
        for parameter in module.to_offset.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    features = torch.rand(1, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, features)


def test_autocast_changes_the_answer_by_no_more_than_the_features_rounding() -> None:
    torch.manual_seed(0)
    module = Deformable(nn.Conv2d(8, 12, 3, padding=1), groups=4, mask=True)
    nn.init.normal_(module.to_offset.weight, std=0.1)
    features = torch.randn(2, 8, 9, 9).bfloat16()
    exact = module(features.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module(features)
    assert mixed.dtype == torch.bfloat16
    assert (mixed.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_the_offsets_learning_rate_is_a_multiple_of_the_networks() -> None:
    method = build(budget(), learning_rate_multiplier=0.25)
    network, offsets = method.parameter_groups(0.4)
    assert (network["lr"], offsets["lr"]) == (0.4, 0.1)
    assert len(offsets["params"]) == 6
    assert sum(p.numel() for p in offsets["params"]) == sum(72 * (9 * channels + 1) for channels in (16, 32, 48))


def test_a_copy_shares_nothing(image: Tensor) -> None:
    method = build(budget()).eval()
    before = method(image).prediction
    stir(copy.deepcopy(method))
    assert torch.equal(method(image).prediction, before)


def test_inception_is_skipped_with_the_reason() -> None:
    reason = deformable_convolution.skip(TASK, budget("inception_v3", 299))
    assert reason is not None
    assert "which convolutions of Inception V3" in reason
    assert all(deformable_convolution.skip(TASK, budget(*network)) is None for network in NETWORKS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 0}, "groups is 0: it must be positive"),
        ({"learning_rate_multiplier": 0.0}, "learning_rate_multiplier is 0.0: it must be positive"),
        ({"groups": 5}, "groups is 5: 16 channels cannot be shared out to them"),
        ({"dilated": True}, "dilated is true: only ResNets have the res5 that it is about"),
    ],
)
def test_a_setting_that_cannot_work_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        build(budget(), **settings)
