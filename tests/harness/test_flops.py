"""Operations against numbers worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoombench.baselines.layers.resample import resample
from zoombench.harness import lookup, spec
from zoombench.harness.flops import COVERAGE, Flops, count_flops

IMAGE = torch.rand(1, 3, 32, 32)
PIXELS = 3 * 32 * 32
GRID = torch.rand(1, 8, 8, 2) * 2 - 1
KERNEL, MATRIX = torch.rand(4, 3, 3, 3), torch.rand(5, 7)
FEATURES, DEFORMED, BIAS = torch.rand(1, 6, 10, 10), torch.rand(4, 6, 3, 3), torch.rand(4)
OFFSET, MASK = torch.rand(1, 2 * 2 * 9, 8, 8), torch.rand(1, 2 * 9, 8, 8)  # two groups of three channels
NORM = nn.BatchNorm2d(3)


def deformable(use_mask):
    geometry = (1, 1, 0, 0, 1, 1, 1, 2)
    return torch.ops.torchvision.deform_conv2d(FEATURES, DEFORMED, OFFSET, MASK, BIAS, *geometry, use_mask)


def resized(mode, size, **how):
    return functional.interpolate(IMAGE, size=(size, size), mode=mode, **how)


BY_HAND = {
    "convolution": (lambda: functional.conv2d(IMAGE, KERNEL), 2 * 27 * 4 * 30 * 30, 0),
    "matrix": (lambda: MATRIX @ MATRIX.T, 2 * 5 * 7 * 5, 0),
    "grid_sample": (lambda: resample(IMAGE, GRID), 8 * 8 * (3 * 8 + 18), 0),
    "affine grid": (lambda: torch.ops.aten.affine_grid_generator(MATRIX[:2, :3][None], [1, 3, 9, 9], True), 6 * 162, 0),
    "bilinear": (lambda: resized("bilinear", 8, align_corners=True), 8 * 3 * 64, 0),
    "bicubic": (lambda: resized("bicubic", 8, align_corners=True), 32 * 3 * 64, 0),
    "nearest": (lambda: resized("nearest", 8), 0, 0),
    "area": (lambda: resized("area", 8), PIXELS, 0),
    # Windows of 11 pixels a side, as 32 is not shared out by 3: 0-10, 10-21, 21-31.
    "area that overlaps": (lambda: resized("area", 3), 3 * (11 + 12 + 11) ** 2, 0),
    "mean pooling": (lambda: functional.avg_pool2d(IMAGE, 3, stride=2), 9 * 3 * 15 * 15, 0),
    "maximum pooling": (lambda: functional.max_pool2d(IMAGE, (2, 4)), 8 * 3 * 16 * 8, 0),
    "adaptive maximum": (lambda: functional.adaptive_max_pool2d(IMAGE, 4), PIXELS, 0),
    "mean": (lambda: IMAGE.mean((2, 3)), PIXELS, 0),
    "largest": (lambda: IMAGE.amax((2, 3)), PIXELS, 0),
    "softmax": (lambda: IMAGE.softmax(1), 5 * PIXELS, 0),
    "batch norm": (lambda: NORM.eval()(IMAGE), 2 * PIXELS, 2 * PIXELS),
    "batch norm that learns": (lambda: NORM.train()(IMAGE), 6 * PIXELS, 6 * PIXELS),
    "layer norm": (lambda: functional.layer_norm(IMAGE, (32,)), 6 * PIXELS, 6 * PIXELS),
    "deformable": (lambda: deformable(False), 64 * (18 * (3 * 8 + 14) + 2 * 4 * 54), 0),
    "deformable with mask": (lambda: deformable(True), 64 * (18 * (3 * 9 + 14) + 2 * 4 * 54), 0),
    "elementwise": (lambda: IMAGE + 1, PIXELS, PIXELS),
    "convolution and ReLU": (
        lambda: functional.relu(functional.conv2d(IMAGE, KERNEL)),
        (2 * 27 + 1) * 4 * 30 * 30,
        4 * 30 * 30,
    ),
    "views": (lambda: IMAGE.transpose(2, 3)[:, :1], 0, 0),
    "copies": (lambda: torch.cat([IMAGE.clone(), IMAGE.double().float()]), 0, 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_operations_are_those_worked_out_by_hand(name):
    call, total, pointwise = BY_HAND[name]
    with torch.no_grad():
        counted = count_flops(call)
    assert (counted.total, counted.pointwise) == (total, pointwise)
    assert (counted.coverage, counted.unknown, counted.refusal) == (1, (), None)


def test_what_no_formula_knows_is_named_and_its_share_told():
    counted = count_flops(lambda: (functional.conv2d(IMAGE, KERNEL), torch.cumsum(torch.ones(2, 8), 1)))
    assert counted.unknown == ("aten.cumsum",)
    assert counted.total == 2 * 27 * 4 * 30 * 30 + 2 * 16 * 8
    assert counted.coverage == pytest.approx(1 - 2 * 16 * 8 / counted.total)
    assert counted.refusal is None, "a small share does not matter"


def test_a_total_that_formulas_hardly_cover_is_refused():
    counted = count_flops(lambda: torch.linalg.inv(torch.eye(20)) @ torch.eye(20))
    assert counted.coverage < COVERAGE
    assert counted.refusal == (
        f"formulas count {100 * counted.coverage:.0f}%, fewer than 95%: none for aten.linalg_inv_ex"
    )


def test_an_operator_from_elsewhere_is_refused_however_little_it_seems_to_do():
    boxes = torch.tensor([[0.0, 0, 0, 9, 9]])
    counted = count_flops(
        lambda: (
            [functional.conv2d(IMAGE.expand(99, -1, -1, -1), KERNEL) for _ in range(9)],
            torch.ops.torchvision.roi_align(FEATURES, boxes, 1.0, 1, 1, -1, False),
        )
    )
    assert counted.coverage > COVERAGE
    assert counted.refusal == "no formula for torchvision.roi_align"


class Looks(nn.Module):
    """Parts within parts, one of them twice, and something of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.estimator = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
        self.shell = nn.ModuleDict({"task_network": nn.Conv2d(3, 4, 3)})

    def forward(self, image):
        self.estimator(image), self.estimator(image)
        return self.shell["task_network"](image * 2)


def test_parts_add_up_to_the_total_and_the_rest_is_overhead():
    counted = count_flops(lambda: Looks()(IMAGE))
    assert counted.total == sum(counted.parts.values())
    method = Looks()
    with torch.no_grad():
        counted = count_flops(lambda: method(IMAGE), method=method)
    looking, answering = 2 * (2 * 27 + 1) * 2 * 30 * 30, 2 * 27 * 4 * 30 * 30
    assert counted.parts == {"": PIXELS, "estimator": looking, "task_network": answering}
    assert counted.overhead == looking + PIXELS
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in method.modules())


def test_without_a_task_network_no_overhead_is_claimed():
    assert Flops(total=9, pointwise=0, parts={"head": 9}, coverage=1, unknown=()).overhead is None


def test_every_method_of_the_sweeps_is_covered_by_formulas():
    sweeps = [spec.load(name) for name in ("quickstart", "embedded", "learning_to_zoom_small")]
    found = {(one.method.label, one.dataset.name): one for sweep in sweeps for one in sweep.runnable}
    for (label, dataset), one in found.items():
        module = lookup.load("method", one.method.name)
        method = module.build(module.Config(**one.method.config), one.task, one.budget).eval()
        made = lookup.load("dataset", dataset)
        inputs, _ = made.build(made.Config(**one.dataset.config), None, "test", one.budget.image_size)[0]
        batch = {name: inputs[name][None].float() for name in method.inputs}
        with torch.no_grad():
            counted = count_flops(lambda method=method, batch=batch: method(**batch), method=method)
        assert (counted.coverage, counted.unknown) == (1, ()), label
