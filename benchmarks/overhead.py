"""What a trial costs on top of its own work: ours against stock tune.Tuner, in one run.

    python -m benchmarks.overhead [--trials 50]

Both run the same trials that do next to nothing (a linear layer, one step). `bare` is a plain loop over them in one
process; a trial's overhead is what either way takes longer than that, per trial, with the machine's slots counted:
(seconds from the first trial's start to the last one's end) x slots / trials - bare seconds a trial. `warm` leaves out
the first trial of each process, which imports torch: ours reuses processes, stock starts one a trial. Starting Ray
counts for the whole process only. Wall-clock on a shared machine: trust the ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    """Print a table: seconds a trial, ours and stock."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=50)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "baselines").mkdir()
        (folder / "datasets").mkdir()
        (folder / "baselines" / "nothing.py").write_text(METHOD)
        (folder / "datasets" / "grey.py").write_text(DATASET)
        (folder / "overhead.yaml").write_text(SWEEP % trials)
        environment = os.environ | {"ZOOMBENCH_PATH": str(folder), "MLFLOW_TRACKING_URI": ""}
        measured = {}
        for way in ("bare", "ours", "stock"):
            command = [sys.executable, "-m", "benchmarks.overhead_of", way, str(folder)]
            began = time.monotonic()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            first, warm, last, after = map(float, done.stdout.split()[-4:])
            measured[way] = (last - first, last - warm, after, time.monotonic() - began)
    slots = os.cpu_count() or 1
    bare = measured["bare"][0] / trials
    print(f"{trials} trials, {slots} slots, bare {bare:.3f} s a trial")
    print(f"{'':8}{'overhead a trial, s':>22}{'warm, s':>12}{'whole process, s':>20}")
    for way in ("ours", "stock"):
        window, warm_window, after, whole = measured[way]
        warm_overhead = warm_window * slots / after - bare
        print(f"{way:8}{window * slots / trials - bare:22.3f}{warm_overhead:12.3f}{whole:20.1f}")


if __name__ == "__main__":
    main()
