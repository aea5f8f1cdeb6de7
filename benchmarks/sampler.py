"""What the saliency sampler costs on top of its floor, ours and as a dense convolution, in one run.

    python -m benchmarks.sampler [--rounds 30] [--threads 1]

Batch 8, images of 3 x 512 x 512 to 224 x 224 through a grid of 31 x 31 nodes, in float32 and under autocast (bfloat16
on the CPU, float16 on CUDA), forward and forward + backward (gradients for saliency, none for the image), on the CPU
and, where there is one, on CUDA. Three parts:

    nodes   saliency to 31 x 31 nodes
    grid    nodes and their upsampling to 224 x 224
    layer   grid and reading the image through it

and in each, as far as it has them,

    ours    baselines/layers: two products of small matrices, resample
    dense   equations 2 and 3 as three 61 x 61 convolutions over the map, padded by replication to 91 x 91, which is
            how the authors' layer computes them; written here from the paper, to be read beside theirs
    floor   what no sampler can leave out: upsampling nodes that are given, the same ones, and grid_sample

All take turns, in all orders alike, for `--rounds` rounds after six of warm-up that do not count. Each timed call
directly follows two untimed ones of its own, and malloc keeps what it is given back (glibc), or a way pays for memory
that another returned.
Printed are median and quartiles of CPU time (process time: all threads, not other processes) and of wall-clock time
per call, and the ratio of median CPU times to the part's first line (the floor; nodes have none). On CUDA, where host
time says nothing, it is the ratio of wall-clock times, with the device idle before and after each call. On a shared
machine trust ratios of CPU time.
"""

import argparse
import ctypes
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoombench.baselines.layers.attraction import SIGMA, Attraction, attract, upsample_nodes
from zoombench.baselines.layers.resample import resample

CELLS, BATCH, IMAGE, VIEW, WARM_UP = 31, 8, 512, (224, 224), 6
Call = Callable[[], Tensor]


class Dense(nn.Module):
    """Saliency to nodes by convolution, the Gaussian as a constant."""

    kernel: Tensor
    ramp: Tensor

    def __init__(self) -> None:
        super().__init__()
        offsets = torch.arange(2 * CELLS - 1) - (CELLS - 1.0)
        sigma = SIGMA["code"] * CELLS
        gaussian = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
        positions = (torch.arange(3 * CELLS - 2) - (CELLS - 1.0)) / (CELLS - 1)
        self.register_buffer("kernel", gaussian[None, None])
        self.register_buffer("ramp", torch.stack(torch.meshgrid(positions, positions, indexing="xy"))[:, None])

    def forward(self, saliency: Tensor) -> Tensor:
        """(B, 1, 31, 31) to (B, 31, 31, 2)."""
        padded = functional.pad(saliency, (CELLS - 1,) * 4, mode="replicate")
        mass = functional.conv2d(padded, self.kernel)
        moments = [functional.conv2d(padded * ramp, self.kernel) / mass for ramp in self.ramp]
        return (torch.cat(moments, dim=1) * 2 - 1).clamp(-1, 1).movedim(1, -1)


def contenders(device: torch.device) -> tuple[list[Tensor], dict[str, dict[str, Call]]]:
    """What gradients go to, and for each part its ways."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(BATCH, 3, IMAGE, IMAGE, generator=generator).to(device)
    saliency = torch.randn(BATCH, CELLS**2, generator=generator).softmax(1).view(BATCH, 1, CELLS, CELLS).to(device)
    ours, dense = Attraction(CELLS, CELLS, sigma=SIGMA["code"] * CELLS).to(device), Dense().to(device)
    torch.testing.assert_close(ours(saliency, (CELLS, CELLS)), dense(saliency), rtol=0, atol=1e-4)
    given = dense(saliency)  # for the floor: another grid would read the image in another order
    leaves = [saliency.requires_grad_(), given.requires_grad_()]

    def nodes() -> Tensor:
        with torch.autocast(device.type, enabled=False):
            return attract(
                saliency,
                down=(ours.weights_y, ours.moments_y),
                across=(ours.weights_x, ours.moments_x),
                identity=ours.identity,
            )

    def dense_grid() -> Tensor:
        return upsample_nodes(dense(saliency), VIEW)

    def floor_grid() -> Tensor:
        return upsample_nodes(given, VIEW)

    return leaves, {
        "nodes": {"ours": nodes, "dense": lambda: dense(saliency)},
        "grid": {"floor": floor_grid, "ours": lambda: ours(saliency, VIEW), "dense": dense_grid},
        "layer": {
            "floor": lambda: resample(image, floor_grid()),
            "ours": lambda: resample(image, ours(saliency, VIEW)),
            "dense": lambda: resample(image, dense_grid()),
        },
    }


def forward_and_backward(call: Call, leaves: list[Tensor], *, autocast: bool, device: torch.device) -> None:
    """As in training: the backward pass runs outside autocast."""
    with torch.autocast(device.type, enabled=autocast):
        out = call()
    out.backward(torch.ones_like(out))
    for leaf in leaves:
        leaf.grad = None


def forward_only(call: Call, *, autocast: bool, device: torch.device) -> None:
    """As in inference: no graph is kept."""
    with torch.no_grad(), torch.autocast(device.type, enabled=autocast):
        call()


def take_turns(
    calls: dict[str, Callable[[], None]], *, rounds: int, device: torch.device
) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall-clock milliseconds of every call in every round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    orders = itertools.cycle(itertools.permutations(calls))
    for turn, order in enumerate(itertools.islice(orders, WARM_UP + rounds)):
        for name in order:
            call = calls[name]
            for _ in range(2):  # not timed: caches and memory are then as this way leaves them, not as the one before
                call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= WARM_UP:
                times[name].append(((time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3))
    return times


def compare(device: torch.device, *, rounds: int) -> None:
    """Print one line for each part, precision, direction and way."""
    leaves, parts = contenders(device)
    for part, ways in parts.items():
        for precision in ("float32", "amp"):
            for backward in (False, True):
                calls = {
                    name: partial(forward_and_backward, call, leaves) if backward else partial(forward_only, call)
                    for name, call in ways.items()
                }
                calls = {n: partial(c, autocast=precision == "amp", device=device) for n, c in calls.items()}
                times = take_turns(calls, rounds=rounds, device=device)
                clock = 1 if device.type == "cuda" else 0
                medians = {name: statistics.median(t[clock] for t in taken) for name, taken in times.items()}
                base = medians[next(iter(medians))]
                for name, taken in times.items():
                    cpu, wall = (quartiles([t[which] for t in taken]) for which in (0, 1))
                    direction = "f+b" if backward else "f"
                    head = f"{part:6}{precision:8}{direction:4}{name:6}"
                    print(f"{head}{cpu}   {wall}   {medians[name] / base:7.2f}", flush=True)


def keep_memory() -> None:
    """Ask malloc never to give memory back, where it can be asked."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**30)
        mallopt(mmap_threshold, 2**30)


def quartiles(values: list[float]) -> str:
    """Median [first quartile, third quartile]."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:9.3f} [{low:8.3f}, {high:8.3f}]"


def main() -> None:
    """Print a table for each device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    for device in devices:
        name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {os.cpu_count()} cores"
        print(f"\n{device}: {name}; torch {torch.__version__}, {arguments.threads} threads, {arguments.rounds} rounds")
        print(f"{'part':6}{'':8}{'':4}{'':6}{'CPU ms, median [quartiles]':31}   {'wall ms':31}   {'ratio':>7}")
        compare(torch.device(device), rounds=arguments.rounds)


if __name__ == "__main__":
    main()
