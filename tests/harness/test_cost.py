"""Costs against numbers worked out by hand."""

import contextlib

import torch
from torch import nn
from torch.nn import functional

from zoombench.baselines.layers.resample import resample
from zoombench.harness import cost
from zoombench.harness.contract import Output
from zoombench.harness.flops import Flops, count_flops

GRID = torch.rand(1, 8, 8, 2) * 2 - 1


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
        flops = count_flops(lambda: method(floats))
    for of_kind in measured.values():
        assert (of_kind.gflops, of_kind.flop_coverage) == (flops.total / 1e9, 1)
    assert measured[Bytes].peak_memory_mib < 1.1 * image.numel() / 2**20
    assert measured[Floats].peak_memory_mib > 4.9 * image.numel() / 2**20  # the bytes, and floats of them
    assert measured[Bytes].latency_ms_p50 < measured[Floats].latency_ms_p50


def test_a_number_that_is_refused_is_absent_with_the_reason():
    few = Flops(total=2e9, pointwise=1e9, parts={"task_network": 1e9}, coverage=0.5, unknown=("aten.cumsum",))
    assert cost.in_gflops(few) == {
        "gflops": None,
        "gflops_pointwise": None,
        "gflops_overhead": None,
        "gflops_refused": "formulas count 50%, fewer than 95%: none for aten.cumsum",
        "flop_coverage": 0.5,
    }
    all_but = Flops(total=2e9, pointwise=1e9, parts={"task_network": 0.5e9}, coverage=1, unknown=())
    assert cost.in_gflops(all_but) == {
        "gflops": 2,
        "gflops_pointwise": 1,
        "gflops_overhead": 1.5,
        "gflops_refused": "",
        "flop_coverage": 1,
    }


def test_quantiles_are_order_statistics():
    times = [float(i) for i in range(1, 101)]
    assert (cost.quantile(times, 0.5), cost.quantile(times, 0.9)) == (50, 90)
    assert cost.quantile([3.0], 0.9) == 3
