"""One configuration in a fresh process: time, memory, energy and operations of one method, and of nothing else.

    python -m zoombench.harness.timing RESULT        reads a request as JSON from its standard input
    python -m zoombench.harness.timing               tells the device that it would measure on, as JSON

A reference network, the same for all methods, is timed before and after: where it changes, the machine did.
"""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from . import cost, energy, lookup, precision
from .batches import Batches
from .contract import Method, as_floats, given
from .flops import count_flops
from .ledger import write_json
from .randomness import seed_everything
from .spec import TrialSpec
from .sweepfile import Settings
from .trial import cpu_name, cpu_threads, pick_device

WARM_UP = 10
"""Calls before the first that is timed."""
REFERENCE_CALLS = 100
FEWEST = 10
"""Calls that are timed however long they take."""
METERED_SECONDS = 3.0
"""A GPU's counter moves some ten times a second."""


def measure(spec: TrialSpec, settings: Settings, *, calls: int, seconds: float) -> dict[str, Any]:
    """Measure one configuration; each kind of call is timed so often, or for so long if that ends first.

    Latency is of one image, and of the model alone: its inputs lie on the device. The pipeline begins where an image is
    read; for one image it has no processes to load in, as nothing could be loaded ahead of a single question. The
    files are read many times, so that they come from the operating system's cache.
    """
    device = pick_device(spec, settings)
    torch.set_num_threads(cpu_threads(spec, settings))
    autocast = partial(precision.autocast, settings.precision, device)
    timed = partial(time_calls, device=device, most=calls, seconds=seconds)
    before = _reference(device)
    resident, allocated = _status_mib("VmRSS"), cost.allocated(device)
    method, split = _build(spec, settings, device)
    together = min(spec.budget.batch, len(split))
    batch = math.ceil(together / spec.budget.pieces(together))
    load = partial(_load, method, split, device)
    inputs, target = next(load(batch=batch, workers=0))
    allocated += sum(tensor.nbytes for tensor in (*inputs.values(), target))
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    method.eval()
    with torch.no_grad(), autocast():
        floats = {name: as_floats(tensor) for name, tensor in one.items()}
        flops = count_flops(lambda: method(**floats), method=method)
        found: dict[str, Any] = {
            "batch": batch,
            "flops": cost.in_gflops(flops),
            "gflops_by_part": {part: count / 1e9 for part, count in flops.parts.items()},
            "latency_ms": timed(lambda: method(**given(method, one))),
            "batch_ms": timed(lambda: method(**given(method, inputs))),
            "energy_j": _joules(lambda: method(**given(method, inputs)), batch, device),
        }
        found["pipeline_ms"] = timed(_pipeline(method, load(batch=1, workers=0)), by_clock=True)
        each = timed(_pipeline(method, load(batch=batch, workers=settings.workers)), by_clock=True)
        found["pipeline_images_per_second"] = batch * len(each) * 1e3 / sum(each)
        of_inference = cost.peak_of_inference(method, inputs=inputs, before=allocated)
    cost.training_step(method, inputs=inputs, target=target, autocast=autocast)()
    grown = _status_mib("VmHWM")
    of_training = cost.peak_of_training_step(method, inputs=inputs, target=target, autocast=autocast, before=allocated)
    return found | {
        "inference_memory_mib": of_inference / 2**20,
        "peak_memory_mib": of_training / 2**20,
        "host_memory_mib": None if grown is None or resident is None else max(0.0, grown - resident),
        "reference_ms": [before, _reference(device)],
    }


def time_calls(
    call: Callable[[], object], *, device: torch.device, most: int, seconds: float, by_clock: bool = False
) -> list[float]:
    """Milliseconds of each call after the warm-up, the device idle before and after each.

    On CUDA by its own events, which leave out the way to the device and back, unless by_clock says otherwise.
    """
    events = device.type == "cuda" and not by_clock
    times: list[float] = []
    for _ in range(WARM_UP):
        call()
    began = time.perf_counter()
    while len(times) < most and (len(times) < FEWEST or time.perf_counter() - began < seconds):
        cost.wait_for(device)
        if events:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            first.record()
            call()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last))
        else:
            start = time.perf_counter()
            call()
            cost.wait_for(device)
            times.append((time.perf_counter() - start) * 1e3)
    return times


def _reference(device: torch.device) -> float:
    """Median milliseconds of a network that is the same for all methods, sizes and versions of ours."""
    generator = torch.Generator().manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3)]
    network = nn.Sequential(*layers).to(device).eval()
    images = torch.rand(4, 3, 64, 64, generator=generator).to(device)
    with torch.no_grad():
        times = time_calls(lambda: network(images), device=device, most=REFERENCE_CALLS, seconds=math.inf)
    return cost.quantile(times, 0.5)


def _build(spec: TrialSpec, settings: Settings, device: torch.device) -> tuple[Method, Any]:
    """The method as a trial begins it, and the training split."""
    dataset, module = lookup.load("dataset", spec.dataset.name), lookup.load("method", spec.method.name)
    root = settings.data.folder(spec.dataset.label, spec.dataset.name)
    split = dataset.build(dataset.Config(**spec.dataset.config), root, "train", spec.budget.image_size)
    seed_everything(spec.seed, "initialisation")
    return module.build(module.Config(**spec.method.config), spec.task, spec.budget).to(device), split


def _load(
    method: Method, split: Any, device: torch.device, *, batch: int, workers: int
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Batches of the training split on the device, round and round."""
    indices = cycle(range(len(split)))
    loader: DataLoader[Any] = DataLoader(
        Batches(split, tuple(method.inputs)),
        sampler=iter(lambda: list(islice(indices, batch)), []),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),
    )
    for tensors, target, *_ in loader:
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        yield inputs, target.to(device, non_blocking=True)


def _pipeline(method: Method, batches: Iterator[tuple[dict[str, Tensor], Tensor]]) -> Callable[[], object]:
    """What reads the next batch and answers it."""
    return lambda: method(**given(method, next(batches)[0]))


def _joules(call: Callable[[], object], images: int, device: torch.device) -> float | None:
    """Joules of one image, at the training batch: all that the GPU used meanwhile, idling included."""
    meter = energy.meter(energy.uuids_of(1)) if device.type == "cuda" else None
    if meter is None:
        return None
    with meter:
        count, began = 0, time.perf_counter()
        start = meter.joules()
        while time.perf_counter() - began < METERED_SECONDS:
            call()
            cost.wait_for(device)
            count += images
        end = meter.joules()
    return None if start is None or end is None else (end - start) / count


def _status_mib(name: str) -> float | None:
    """Resident memory of this process in MiB, now (VmRSS) or at its peak (VmHWM); None where Linux does not say.

    Not ru_maxrss, which begins with what the parent held.
    """
    path = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return int(found.group(1)) / 1024 if found else None


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    spec, settings = TrialSpec.from_json(request["spec"]), Settings(**request["settings"])
    if len(sys.argv) < 2:
        device = pick_device(spec, settings)
        name = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
        print(json.dumps({"device": name, "torch": torch.__version__}))
        return
    write_json(Path(sys.argv[1]), measure(spec, settings, calls=request["calls"], seconds=request["seconds"]))


if __name__ == "__main__":
    main()
