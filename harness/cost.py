"""What one method costs: parameters, floating-point operations, latency, peak memory.

Measured once a trial, outside the timed training, on a copy, so that nothing of the trial moves.
"""

import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .contract import as_floats, given
from .flops import Flops, count_flops

WARM_UP, TIMED = 10, 50
"""Forward passes before and while timing."""


@dataclass(frozen=True)
class Cost:
    """The costs of one method, in the units of the results table."""

    parameters: int
    gflops: float | None
    """1e9 floating-point operations for one image, forward; a multiply-add is two. None where it was refused."""
    gflops_pointwise: float | None
    """Of these: batch norm, activations and all else that is done element by element."""
    gflops_overhead: float | None
    """Of these: what the method adds to its task network; None where it has none of that name."""
    gflops_refused: str
    """Why there is no number; empty where there is one."""
    flop_coverage: float
    """Share of the operations that a formula counted."""
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
    before = allocated(device)
    twin = copy.deepcopy(method)
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    twin.eval()
    with torch.no_grad(), autocast():
        floats = {name: as_floats(tensor) for name, tensor in one.items()}
        flops = count_flops(lambda: twin(**floats), method=twin)
        times = time_calls(lambda: twin(**given(twin, one)), device=device)
    return Cost(
        parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        **in_gflops(flops),
        latency_ms_p50=quantile(times, 0.5),
        latency_ms_p90=quantile(times, 0.9),
        peak_memory_mib=peak_of_training_step(twin, inputs=inputs, target=target, autocast=autocast, before=before)
        / 2**20,
    )


def in_gflops(flops: Flops) -> dict[str, Any]:
    """What the results table says of operations: numbers, or why there are none."""
    refusal = flops.refusal
    told = {"gflops": flops.total, "gflops_pointwise": flops.pointwise, "gflops_overhead": flops.overhead}
    return {name: None if count is None or refusal else count / 1e9 for name, count in told.items()} | {
        "gflops_refused": refusal or "",
        "flop_coverage": flops.coverage,
    }


def quantile(times: list[float], share: float) -> float:
    """The order statistic that at least this share of the times does not exceed."""
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


def time_calls(call: Callable[[], object], *, device: torch.device) -> list[float]:
    """Milliseconds of each of TIMED calls after WARM_UP, the device idle before and after each."""
    times = []
    for turn in range(WARM_UP + TIMED):
        wait_for(device)
        start = time.perf_counter()
        call()
        wait_for(device)
        if turn >= WARM_UP:
            times.append((time.perf_counter() - start) * 1e3)
    return times


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_step(
    method: nn.Module,
    *,
    inputs: dict[str, Tensor],
    target: Tensor,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Callable[[], list[Tensor]]:
    """What takes one step of AdamW, and gives the optimizer's state. Changes the method."""
    method.train()
    optimizer = torch.optim.AdamW(method.parameters())

    def step() -> list[Tensor]:
        with autocast():
            loss = method(**given(method, inputs), target=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return [value for group in optimizer.state.values() for value in group.values() if isinstance(value, Tensor)]

    return step


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
    step = training_step(method, inputs=inputs, target=target, autocast=autocast)
    state = step()  # the optimizer's, which exists from the first step on
    return _peak(
        step, [*method.parameters(), *method.buffers(), *state], batch=[*inputs.values(), target], before=before
    )


def peak_of_inference(method: nn.Module, *, inputs: dict[str, Tensor], before: int = 0) -> float:
    """The same of one forward pass, where gradients are off."""
    resident = [*method.parameters(), *method.buffers()]
    return _peak(lambda: method(**given(method, inputs)), resident, batch=[*inputs.values()], before=before)


def _peak(call: Callable[[], object], resident: list[Tensor], *, batch: list[Tensor], before: int) -> float:
    device, given_bytes = batch[0].device, sum(tensor.nbytes for tensor in batch)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return float(torch.cuda.max_memory_allocated(device) - before + given_bytes)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler writes of its start and stop to stderr
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        call()
    alive = peak = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return float(sum(tensor.nbytes for tensor in resident) + given_bytes + peak)


def allocated(device: torch.device) -> int:
    """Bytes of tensors that the CUDA device holds for this process."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
