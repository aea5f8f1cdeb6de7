"""One configuration in a fresh process: how long a trial takes to set up, to learn from a batch and to judge one.

    python -m zoombench.harness.calibrating RESULT      reads a request as JSON from its standard input

The steps are those of a real trial in a folder of its own, which is told to end after some of them.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import lookup, parallel, precision, trial
from .batches import Loader
from .contract import given
from .errors import Preempted, TrialError, ZoombenchError
from .ledger import write_json
from .randomness import seed_everything
from .spec import TrialSpec
from .sweepfile import Settings

PIECES = 5
"""Parts of the steps whose times are compared with each other."""
BATCHES = 5
"""That are judged of a split, at most; the first of several is not timed."""
PREDICTION_BYTES = 16
"""Of one test example, about."""


def measure(spec: TrialSpec, settings: Settings, *, steps: int) -> dict[str, Any]:
    """Train for so many steps and judge some batches. Raises TrialError where no two can be timed."""
    device = trial.pick_device(spec, settings)
    ranks = parallel.processes(spec, device)
    at_a_time = 1 if ranks == 1 else trial.CHECK_EVERY  # several processes are asked only where they wait anyway
    epoch, marks = 0, list[tuple[int, float]]()

    def note(event: str, **facts: Any) -> None:
        nonlocal epoch
        epoch += event == "epoch"

    def stop() -> ZoombenchError | None:
        marks.append((epoch, time.perf_counter()))
        return Preempted("calibrated") if len(marks) * at_a_time > steps else None

    load, began = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="zoombench-calibration-") as folder:
        try:
            for _ in trial.run(spec, Path(folder), settings, note, stop):
                pass
        except Preempted:
            pass
        ended, checkpoint = time.perf_counter(), Path(folder) / "checkpoint.pt"
        checkpoint_bytes = checkpoint.stat().st_size if checkpoint.exists() else 0
    times = [(after - before) / at_a_time for (a, before), (b, after) in pairwise(marks) if a == b]
    if len(times) < 2:
        raise TrialError(
            f"{len(times)} steps of {spec.title} could be timed, expected 2 or more. Raise --steps; where an epoch has "
            "but one step run one trial, from which the others are then estimated."
        )
    pieces = [sum(times[i] for i in part) / len(part) for part in parallel.cut(range(len(times)), PIECES) if part]
    saved = ended - marks[-1][1] if checkpoint_bytes else 0.0
    return {
        "steps": len(times) * at_a_time,
        "piece_seconds": pieces,
        "set_up_seconds": max(0.0, marks[0][1] - began - at_a_time * sum(times) / len(times)),
        "save_seconds": saved,
        "checkpoint_bytes": checkpoint_bytes,
        "on_gpu": device.type == "cuda",
        "load": load,
        "cpus": os.cpu_count() or 1,
    } | _judged(spec, settings, device, ranks=ranks)


def _judged(spec: TrialSpec, settings: Settings, device: torch.device, *, ranks: int) -> dict[str, Any]:
    """Seconds of judging one example, how many there are, and what a trial leaves."""
    dataset, module = lookup.load("dataset", spec.dataset.name), lookup.load("method", spec.method.name)
    root = settings.data.folder(spec.dataset.label, spec.dataset.name)
    names = ("train", "validation", "test") if spec.judged == "test" else ("train", "validation")
    splits = {
        name: dataset.build(dataset.Config(**spec.dataset.config), root, name, spec.budget.image_size) for name in names
    }
    seed_everything(spec.seed, "initialisation")
    method = module.build(module.Config(**spec.method.config), spec.task, spec.budget).to(device).eval()
    size, batch = len(splits[spec.judged]), spec.budget.batch
    batches = [list(range(i, min(i + batch, size))) for i in range(0, size, batch)][:BATCHES]
    skips = settings.data.on_bad_file == "skip"
    loader = Loader(splits, inputs=method.inputs, workers=settings.workers, device=device, skips=skips)
    times, began = list[float](), time.perf_counter()
    try:
        for inputs, target, _ in loader.load(spec.judged, 0, batches):
            with torch.no_grad(), precision.autocast(settings.precision, device):
                prediction = method(**given(method, inputs)).prediction.float()
            for column in spec.task.judge(prediction, target).values():
                column.cpu()  # which waits for the device
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
    finally:
        loader.close()
    warm = slice(1, None) if len(times) > 1 else slice(None)
    examples = sum(len(one) for one in batches[warm])
    sizes = {name: len(splits[name]) if name in splits else 0 for name in ("validation", "test")}
    return sizes | {
        "steps_of_epoch": max(1, len(splits["train"]) // batch),
        "judge_seconds": sum(times[warm]) / examples / ranks,
        "weights_bytes": _bytes(method.state_dict().values()) if spec.judged == "test" else 0,
        "prediction_bytes": PREDICTION_BYTES * sizes["test"],
    }


def _bytes(values: Iterable[Any]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def main(arguments: Sequence[str]) -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    spec, settings = TrialSpec.from_json(request["spec"]), Settings(**request["settings"])
    write_json(Path(arguments[0]), measure(spec, settings, steps=request["steps"]))


if __name__ == "__main__":
    main(sys.argv[1:])
