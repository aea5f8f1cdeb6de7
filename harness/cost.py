"""What one method costs: parameters, floating-point operations, latency, peak memory.

Measured once a trial, outside the timed training, on a copy, so that nothing of the trial moves.
"""

import copy
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401 - brings the operator torch.ops.torchvision.deform_conv2d
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from .contract import as_floats, given

WARM_UP, TIMED = 10, 50
"""Forward passes before and while timing."""


@dataclass(frozen=True)
class Cost:
    """The costs of one method, in the units of the results table."""

    parameters: int
    gflops: float
    """1e9 floating-point operations for one image, forward; a multiply-add is two."""
    flop_coverage: float
    """Share of these operations that an exact formula counted; the rest are counted one per output element."""
    latency_ms_p50: float
    latency_ms_p90: float
    peak_memory_mib: float
    """Tensors alive at the peak of one training step, parameters and optimizer state included."""


def measure(
    method: nn.Module,
    *,
    inputs: dict[str, Tensor],
    target: Tensor,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Cost:
    """Measure a copy of the method on a batch of its own inputs; latency and operations are of a single image.

    The inputs are as the dataset gives them: latency and memory hold what the method needs to make of bytes. Operations
    are counted on floats, which a method that reads bytes reads in the same places.
    """
    device = next(iter(inputs.values())).device
    before = _allocated(device)
    twin = copy.deepcopy(method)
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    twin.eval()
    with torch.no_grad(), autocast():
        floats = {name: as_floats(tensor) for name, tensor in one.items()}
        flops, coverage = count_flops(lambda: twin(**floats))
        times = time_calls(lambda: twin(**given(twin, one)), device=device)
    return Cost(
        parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        gflops=flops / 1e9,
        flop_coverage=coverage,
        latency_ms_p50=quantile(times, 0.5),
        latency_ms_p90=quantile(times, 0.9),
        peak_memory_mib=peak_of_training_step(twin, inputs=inputs, target=target, autocast=autocast, before=before)
        / 2**20,
    )


def quantile(times: list[float], share: float) -> float:
    """The order statistic that at least this share of the times does not exceed."""
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


def time_calls(call: Callable[[], object], *, device: torch.device) -> list[float]:
    """Milliseconds of each of TIMED calls after WARM_UP, the device idle before and after each."""
    times = []
    for turn in range(WARM_UP + TIMED):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= WARM_UP:
            times.append((time.perf_counter() - start) * 1e3)
    return times


def count_flops(call: Callable[[], object]) -> tuple[float, float]:
    """Floating-point operations of a call, and the share of them that a formula counted exactly.

    torch's formulas count convolutions, products of matrices and attention; ours below add sampling through a grid,
    resizing and deformable convolutions. Of all other operations each output element is counted as one operation:
    exact for an addition or a ReLU, too few for a softmax, too many for a copy. That is why the share counted by
    formula goes along.
    """
    tally = _Tally()
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter, tally:
        call()
    exact: dict[Any, int] = dict(counter.get_flop_counts().get("Global", {}))
    counted = float(sum(exact.values()))
    rest = float(sum(elements for operation, elements in tally.elements.items() if operation not in exact))
    total = counted + rest
    return total, counted / total if total else 1.0


def peak_of_training_step(
    method: nn.Module,
    *,
    inputs: dict[str, Tensor],
    target: Tensor,
    autocast: Callable[[], AbstractContextManager[Any]],
    before: int = 0,
) -> float:
    """Bytes of tensors alive at the peak of one training step: AdamW, at the batch given. Changes the method.

    `before` is what the CUDA device held before there was the method; the batch is counted again on top.
    """
    device = next(iter(inputs.values())).device
    method.train()
    optimizer = torch.optim.AdamW(method.parameters())

    def step() -> None:
        with autocast():
            loss = method(**given(method, inputs), target=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()  # the optimizer's state exists from the first step on
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        batch = sum(tensor.numel() * tensor.element_size() for tensor in [*inputs.values(), target])
        return float(torch.cuda.max_memory_allocated(device) - before + batch)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler writes of its start and stop to stderr
    state = [value for group in optimizer.state.values() for value in group.values() if isinstance(value, Tensor)]
    resident = [*method.parameters(), *method.buffers(), *state, *inputs.values(), target]
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        step()
    alive = peak = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return float(sum(tensor.numel() * tensor.element_size() for tensor in resident) + peak)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Output elements of every operation that computes, by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            outputs = out if isinstance(out, tuple | list) else (out,)
            self.elements[func._overloadpacket] += sum(
                o.numel() for o in outputs if isinstance(o, Tensor) and o.is_floating_point()
            )
        return out


def _grid_sample_flops(image: Any, grid: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Bilinear: 4 multiply-adds for each channel; 18 operations for each location.

    The 18: unnormalise x and y (2 x 3), the fractions (2), their complements (2), four weights (4), four corners'
    coordinates (2), and two comparisons of a border (2).
    """
    channels = image[1]
    locations = math.prod(grid[:-1])
    return int(locations * (8 * channels + 18))


def _resize_flops(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Bilinear: 4 multiply-adds for each output element."""
    return int(8 * math.prod(out_shape))


def _area_flops(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Average: each input element is added once, each output element divided once."""
    return int(math.prod(image) + math.prod(out_shape))


def _deformable_flops(features: Any, weight: Any, offset: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A convolution, and what its samples cost, bilinear: as for a grid, but 14 operations for each location.

    The 14: the two offsets instead of unnormalising. A mask multiplies each sample once. A location is one for all
    channels that move together.
    """
    locations = math.prod(offset) // 2
    channels = features[1] * 2 * math.prod(weight[2:]) // offset[1]  # that move together
    with_mask = bool(args[-1])
    return int(locations * ((8 + with_mask) * channels + 14) + 2 * math.prod(out_shape) * math.prod(weight[1:]))


_aten = torch.ops.aten
_FORMULAS: dict[Any, Any] = {
    _aten.grid_sampler_2d: _grid_sample_flops,
    _aten.cudnn_grid_sampler: _grid_sample_flops,
    _aten.upsample_bilinear2d: _resize_flops,
    _aten._adaptive_avg_pool2d: _area_flops,
    _aten.avg_pool2d: _area_flops,
    _aten.mean: _area_flops,
    torch.ops.torchvision.deform_conv2d: _deformable_flops,
}
