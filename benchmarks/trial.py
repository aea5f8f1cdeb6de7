"""What our training loop costs on top of a bare one: images per second of both, in one run.

    python -m benchmarks.trial [--rounds 15] [--threads 1] [--network small --size 16] [--workers 0]

Both train the same method on the same cluttered digits (128 px, batch 64), drawn before and held in memory as bytes.

    bare    what one would write: rows of one tensor, method, loss, backward, clip, optimizer, schedule; nothing is read
            back, nothing checked, nothing kept
    ours    an epoch of harness/trial.py: the loader and its collation, the losses looked at, clocks and signals
    rest    what follows an epoch of a trial: the validation split judged (an eighth of the images), a checkpoint

They take turns, an epoch each, in both orders alike, after two rounds that do not count. Printed are medians and
quartiles of images per second, by CPU time (process time: not that of other processes, nor of loader processes) and by
wall-clock, and the median over the rounds of bare's time over ours, which is the share of the bare loop's speed that we
reach. On CUDA, where host time says nothing, it is of wall-clock times, with the device idle before and after.
On a shared machine trust the share.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from zoombench.harness import lookup, spec, trial
from zoombench.harness.batches import collate
from zoombench.harness.contract import given
from zoombench.harness.parallel import Ranks
from zoombench.harness.recipe import recipe
from zoombench.harness.sweepfile import Settings

BATCH, TRAIN, WARM_UP = 64, 1024, 2
METHODS = ("uniform", "saliency_sampler")
DATASET = f'''"""Cluttered digits that were drawn before."""
from dataclasses import dataclass
from zoombench.datasets import cluttered_digits
from zoombench.harness.tasks import Classification

SIZES = {{"train": {TRAIN}, "validation": {TRAIN // 8}, "test": 64}}

@dataclass(frozen=True)
class Config:
    """Nothing to set."""

def task(config):
    return Classification(10)

def build(config, root, split, image_size):
    drawn = cluttered_digits.build(cluttered_digits.Config(), None, split, image_size)
    held = (drawn[index] for index in range(SIZES[split]))
    return [({{"image": inputs["image"].contiguous()}}, target) for inputs, target in held]
'''


class Bare:
    """The loop that one would write without us."""

    def __init__(self, made: spec.TrialSpec, device: torch.device) -> None:
        self.made, self.device = made, device
        dataset, method = (lookup.load(kind, getattr(made, kind).name) for kind in ("dataset", "method"))
        examples = dataset.build(dataset.Config(), None, "train", made.budget.image_size)
        inputs, self.targets = collate(examples, ("image",))
        self.images = inputs["image"]
        torch.manual_seed(made.seed)
        self.method = method.build(method.Config(), made.task, made.budget).to(device)
        self.steps = len(examples) // BATCH
        groups = self.method.parameter_groups(made.training.learning_rate)
        self.optimizer, self.schedule = recipe(made.training, groups, steps=self.steps, epochs=made.budget.epochs)

    def train_epoch(self) -> None:
        """Every batch once."""
        self.method.train()
        for indices in torch.randperm(len(self.images))[: self.steps * BATCH].split(BATCH):
            inputs = {"image": self.images.index_select(0, indices).to(self.device)}
            loss = self.method(**given(self.method, inputs), target=self.targets[indices].to(self.device)).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.made.training.clip)
            self.optimizer.step()
            self.schedule.step()


def measure(call: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """CPU and wall-clock seconds of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(made: spec.TrialSpec, device: torch.device, *, rounds: int, settings: Settings, workdir: Path) -> None:
    """Print a line each for bare, ours and rest."""
    running = trial._Trial.build(made, workdir, settings, Ranks(), trial.never)
    running.begin()
    bare = Bare(made, device)

    def rest() -> None:
        running.judge_epoch()
        running.save()

    times: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": [], "rest": []}
    for turn in range(WARM_UP + rounds):
        taken = {}
        for name in ("bare", "ours") if turn % 2 else ("ours", "bare"):
            taken[name] = measure(bare.train_epoch if name == "bare" else running.train_epoch, device)
        taken["rest"] = measure(rest, device)
        if turn >= WARM_UP:
            for name, seconds in taken.items():
                times[name].append(seconds)
    clock = 1 if device.type == "cuda" or settings.workers else 0
    for name, taken_by in times.items():
        images = TRAIN // 8 if name == "rest" else bare.steps * BATCH
        cpu, wall = (quartiles([images / seconds[which] for seconds in taken_by]) for which in (0, 1))
        shares = [one[clock] / other[clock] for one, other in zip(times["bare"], taken_by, strict=True)]
        share = f"{statistics.median(shares):7.3f}" if name != "rest" else ""
        seconds = statistics.median(one[clock] for one in taken_by)
        print(f"{made.method.label:18}{name:6}{cpu}   {wall}   {seconds:8.3f}   {share}", flush=True)


def quartiles(values: list[float]) -> str:
    """Median [first quartile, third quartile]."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:8.0f} [{low:7.0f}, {high:7.0f}]"


def main() -> None:
    """Print a table for each device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--network", default="small")
    parser.add_argument("--size", type=int, default=16)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    epochs = WARM_UP + asked.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "datasets").mkdir()
        (folder / "datasets" / "held.py").write_text(DATASET)
        budget = f"{{image_size: {asked.size}, epochs: {epochs}, batch: {BATCH}, task_network: {asked.network}}}"
        methods = ", ".join(f"{method}: " for method in METHODS)
        sweep = folder / "trial.yaml"
        sweep.write_text(f"methods: {{{methods}}}\ndatasets: {{held: }}\nbudgets: {{b: {budget}}}\nseeds: 1\n")
        os.environ["ZOOMBENCH_PATH"] = str(folder)
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            what = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {os.cpu_count()} cores"
            print(f"\n{device}: {what}; torch {torch.__version__}, {asked.threads} threads, {asked.rounds} rounds")
            print(f"{asked.network} at {asked.size} px, batch {BATCH}, {asked.workers} loader processes")
            print(f"{'':24}{'images/s, CPU time':26}   {'images/s, wall-clock':26}   {'s':>8}   {'share':>7}")
            settings = Settings(device=device, workers=asked.workers)
            for made in spec.load(sweep).trials:
                compare(
                    made,
                    torch.device(device),
                    rounds=asked.rounds,
                    settings=settings,
                    workdir=folder / device / made.id,
                )


if __name__ == "__main__":
    main()
