"""What a trial costs on top of its own work: ours against stock tune.Tuner, in one run.

    python -m benchmarks.overhead [--trials 50 200 2000] [--stock 50]
    python -m benchmarks.overhead --efficiency

Both run the same trials that do next to nothing (a linear layer, one step); stock only so many of them, as each takes
seconds. `bare` is a plain loop over them in one process; a trial's overhead is what either way takes longer than that,
per trial, with the machine's slots counted: (seconds from the first trial's start to the last one's end) x slots /
trials - bare seconds a trial. `warm` leaves out the first trial of each process, which imports torch: ours reuses
processes, stock starts one a trial. `rate` is trials by seconds of that window. Starting Ray counts for the whole
process only. `driver` is the driver's own peak memory (its resident set), without Ray's processes and workers.

`--efficiency` runs 16 small real trials one after the other in one process, and then on two workers of Ray: what part
of half of the serial time the two take (1 is perfect), from the first start to the last end, and with all of it.

Wall-clock on a shared machine: trust the ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

METHOD = '''"""Next to nothing."""
from dataclasses import dataclass
from torch import nn
from zoombench.harness.contract import Method, Output

@dataclass(frozen=True)
class Config:
    """Nothing to set."""

class Nothing(Method):
    def __init__(self, task):
        super().__init__()
        self.task, self.layer = task, nn.Linear(192, task.outputs)

    def forward(self, image, target=None):
        prediction = self.layer(image.flatten(1))
        return Output(prediction, None if target is None else self.task.loss(prediction, target))

def build(config, task, budget):
    return Nothing(task)
'''
DATASET = '''"""Four grey images."""
from dataclasses import dataclass
import torch
from zoombench.harness.tasks import Classification

@dataclass(frozen=True)
class Config:
    """Nothing to set."""

def task(config):
    return Classification(2)

def build(config, root, split, image_size):
    return [({"image": torch.full((3, 8, 8), i, dtype=torch.uint8)}, i % 2) for i in range(4)]
'''
SWEEP = "methods: {nothing: }\ndatasets: {grey: }\nbudgets: {b: {image_size: 8, epochs: 1, batch: 4}}\nseeds: %d\n"
SMALL = """\
methods: {uniform: , saliency_sampler: }
datasets: {cluttered_digits: {canvas: 128, digit: 16}}
budgets: {b: {image_size: 16, epochs: 1, batch: 64}}
seeds: 8
settings: {device: cpu, trials_at_once: 2}
"""


class Measured(NamedTuple):
    """What benchmarks.overhead_of prints."""

    first: float
    """When the first trial started."""
    warm: float
    """When every process had ended its first trial."""
    last: float
    after: int
    """Trials after the first of each process."""
    driver_mib: float
    whole: float
    """Seconds that the whole process took."""


def measure(way: str, folder: Path, sweep: str) -> Measured:
    """One way of running a sweep, in a process of its own."""
    environment = os.environ | {"ZOOMBENCH_PATH": str(folder), "MLFLOW_TRACKING_URI": ""}
    path = folder / f"{way}.yaml"
    path.write_text(sweep)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead_of", way, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    first, warm, last, after, driver = map(float, done.stdout.split()[-5:])
    return Measured(first, warm, last, int(after), driver, time.monotonic() - began)


def overhead(trials: int, stock: int) -> None:
    """Print a table: seconds a trial, ours and stock."""
    counts = {"bare": min(trials, stock), "ours": trials, "stock": min(trials, stock)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, (file, code) in {"baselines": ("nothing", METHOD), "datasets": ("grey", DATASET)}.items():
            (folder / kind).mkdir()
            (folder / kind / f"{file}.py").write_text(code)
        measured = {way: measure(way, folder, SWEEP % count) for way, count in counts.items()}
    slots = os.cpu_count() or 1
    bare = (measured["bare"].last - measured["bare"].first) / counts["bare"]
    print(f"{slots} slots, bare {bare:.3f} s a trial")
    columns = ("overhead a trial, s", "warm, s", "rate, 1/s", "warm, 1/s", "whole process, s", "driver, MiB")
    print(f"{'':6}{'trials':>8}" + "".join(f"{column:>{len(column) + 3}}" for column in columns))
    for way in ("ours", "stock"):
        m, count = measured[way], counts[way]
        window, warm = m.last - m.first, m.last - m.warm
        numbers = (window * slots / count - bare, warm * slots / m.after - bare, count / window, m.after / warm)
        shown = [*(f"{number:.3f}" for number in numbers), f"{m.whole:.1f}", f"{m.driver_mib:.0f}"]
        cells = "".join(f"{cell:>{len(column) + 3}}" for cell, column in zip(shown, columns, strict=True))
        print(f"{way:6}{count:8}{cells}", flush=True)


def efficiency() -> None:
    """Print how near two workers come to half of the serial time."""
    with tempfile.TemporaryDirectory() as name:
        serial, ours = (measure(way, Path(name), SMALL) for way in ("serial", "ours"))
    half = (serial.last - serial.first) / 2
    print(
        f"16 trials: {2 * half:.1f} s one after the other; on 2 workers {ours.last - ours.first:.1f} s, of which half"
    )
    print(f"of the serial time is {half / (ours.last - ours.first):.2f}; with starting Ray and all {ours.whole:.1f} s.")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[50])
    parser.add_argument("--stock", type=int, default=50, help="at most so many trials are run by stock Tune")
    parser.add_argument("--efficiency", action="store_true")
    options = parser.parse_args()
    if options.efficiency:
        return efficiency()
    for trials in options.trials:
        overhead(trials, options.stock)


if __name__ == "__main__":
    main()
