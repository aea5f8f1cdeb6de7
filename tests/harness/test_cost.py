"""Costs against numbers worked out by hand."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoombench.baselines.layers.resample import resample
from zoombench.harness import cost
from zoombench.harness.contract import Output

IMAGE = torch.rand(1, 3, 32, 32)
GRID = torch.rand(1, 8, 8, 2) * 2 - 1
KERNEL, MATRIX = torch.rand(4, 3, 3, 3), torch.rand(5, 7)
FEATURES, DEFORMED, BIAS = torch.rand(1, 6, 10, 10), torch.rand(4, 6, 3, 3), torch.rand(4)
OFFSET, MASK = torch.rand(1, 2 * 2 * 9, 8, 8), torch.rand(1, 2 * 9, 8, 8)  # two groups of three channels


def deformable(use_mask):
    geometry = (1, 1, 0, 0, 1, 1, 1, 2)
    return torch.ops.torchvision.deform_conv2d(FEATURES, DEFORMED, OFFSET, MASK, BIAS, *geometry, use_mask)


@pytest.mark.parametrize(
    ("call", "flops", "coverage"),
    [
        (lambda: functional.conv2d(IMAGE, KERNEL), 2 * 27 * 4 * 30 * 30, 1),
        (lambda: MATRIX @ MATRIX.T, 2 * 5 * 7 * 5, 1),
        (lambda: resample(IMAGE, GRID), 8 * 8 * (3 * 8 + 18), 1),
        (lambda: functional.interpolate(IMAGE, size=(8, 8), mode="bilinear", align_corners=True), 8 * 3 * 8 * 8, 1),
        (lambda: functional.interpolate(IMAGE, size=(8, 8), mode="area"), 3 * 32 * 32 + 3 * 8 * 8, 1),
        (lambda: deformable(False), 64 * (18 * (3 * 8 + 14) + 2 * 4 * 54), 1),
        (lambda: deformable(True), 64 * (18 * (3 * 9 + 14) + 2 * 4 * 54), 1),
        (lambda: IMAGE + 1, 3 * 32 * 32, 0),
        (lambda: functional.relu(functional.conv2d(IMAGE, KERNEL)), (2 * 27 + 1) * 4 * 30 * 30, 54 / 55),
        (lambda: IMAGE.transpose(2, 3)[:, :1], 0, 1),
    ],
    ids=[
        "convolution",
        "matrix",
        "grid_sample",
        "bilinear",
        "area",
        "deformable",
        "deformable with mask",
        "elementwise",
        "convolution and ReLU",
        "views",
    ],
)
def test_operations_are_those_worked_out_by_hand(call, flops, coverage):
    counted, covered = cost.count_flops(call)
    assert counted == flops
    assert covered == pytest.approx(coverage)


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 3)

    def forward(self, image, target=None):
        prediction = self.convolution(image).mean((2, 3))
        return Output(prediction, None if target is None else functional.cross_entropy(prediction, target))


def test_measuring_leaves_the_method_as_it_was():
    method = Convolution()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    measured = cost.measure(
        method,
        inputs={"image": torch.rand(8, 3, 64, 64)},
        target=torch.zeros(8, dtype=torch.long),
        autocast=contextlib.nullcontext,
    )
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert measured.parameters == 3 * 16 * 9 + 16
    assert 0 < measured.latency_ms_p50 <= measured.latency_ms_p90
    activations = 8 * 16 * 62 * 62 * 4 / 2**20
    assert activations < measured.peak_memory_mib < 4 * activations + 2


def test_peak_memory_grows_with_the_batch():
    peaks = [
        cost.peak_of_training_step(
            Convolution(),
            inputs={"image": torch.rand(batch, 3, 64, 64)},
            target=torch.zeros(batch, dtype=torch.long),
            autocast=contextlib.nullcontext,
        )
        for batch in (4, 8)
    ]
    assert 1.8 < peaks[1] / peaks[0] < 2.2


class Bytes(nn.Module):
    """Reads an image through a grid, whether it is bytes or floats."""

    takes_bytes = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image, target=None):
        prediction = self.scale * resample(image, GRID.expand(len(image), -1, -1, -1)).mean((2, 3))
        return Output(prediction, None if target is None else functional.cross_entropy(prediction, target))


class Floats(Bytes):
    takes_bytes = False


def test_bytes_cost_the_operations_of_floats_and_less_memory_and_time():
    image = torch.randint(0, 256, (4, 3, 640, 640), dtype=torch.uint8)
    measured = {
        kind: cost.measure(
            kind(),
            inputs={"image": image},
            target=torch.zeros(4, dtype=torch.long),
            autocast=contextlib.nullcontext,
        )
        for kind in (Bytes, Floats)
    }
    with torch.no_grad():
        floats, method = image[:1] / 255, Floats()
        flops, coverage = cost.count_flops(lambda: method(floats))
    for of_kind in measured.values():
        assert (of_kind.gflops, of_kind.flop_coverage) == (flops / 1e9, coverage)
    assert measured[Bytes].peak_memory_mib < 1.1 * image.numel() / 2**20
    assert measured[Floats].peak_memory_mib > 4.9 * image.numel() / 2**20  # the bytes, and floats of them
    assert measured[Bytes].latency_ms_p50 < measured[Floats].latency_ms_p50


def test_quantiles_are_order_statistics():
    times = [float(i) for i in range(1, 101)]
    assert (cost.quantile(times, 0.5), cost.quantile(times, 0.9)) == (50, 90)
    assert cost.quantile([3.0], 0.9) == 3
