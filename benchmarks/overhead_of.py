"""One way of running the trials of benchmarks.overhead, in a process of its own; prints its window and peak memory."""

import resource
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console

from zoombench.harness import spec, tracking
from zoombench.harness.execution import execute
from zoombench.harness.ledger import Ledger
from zoombench.harness.progress import Progress

Window = tuple[float, float, float, int]
"""First start, when every process had ended its first trial, last end, trials after the first of each process."""


def bare(sweep: spec.Sweep, folder: Path) -> Window:
    """A loop over the trials, with the first one, which imports and warms up, left out."""
    from zoombench.harness import trial

    list(trial.run(sweep.trials[0], folder / "bare" / "warm-up"))
    began = time.time()
    for made in sweep.trials:
        list(trial.run(made, folder / "bare" / made.id))
    return began, began, time.time(), len(sweep.trials)


def serial(sweep: spec.Sweep, folder: Path) -> Window:
    """What `zoombench run --serial` does but for tracking, one thread each."""
    ledger = Ledger.open(folder / "serial")
    began = time.time()
    for made in sweep.trials:
        execute(made, ledger, sweep.settings, commit="")
    return began, began, time.time(), len(sweep.trials)


def ours(sweep: spec.Sweep, folder: Path) -> Window:
    """What `zoombench run` does, tracking included; from the first trial's start to the last one's end."""
    from zoombench.harness import sweep as on_ray

    ledger = Ledger.open(folder / "ours")
    progress = Progress(len(sweep.trials), 0, already=0, console=Console(quiet=True))
    with tracking.following(sweep, sweep.trials, ledger, say=print):
        on_ray.launch(sweep.trials, ledger, sweep.settings, commit="", progress=progress)
    ends: dict[int, list[float]] = {}
    starts = []
    for trial in sweep.trials:
        times = [datetime.fromisoformat(event["time"]).timestamp() for event in ledger.events(trial.id)]
        starts.append(times[0])
        ends.setdefault(ledger.events(trial.id)[0]["pid"], []).append(times[-1])
    warm = max(min(of_process) for of_process in ends.values())
    return min(starts), warm, max(max(of_process) for of_process in ends.values()), len(starts) - len(ends)


def stock(sweep: spec.Sweep, folder: Path) -> Window:
    """tune.Tuner as its documentation shows it, around the same trials."""
    import ray
    from ray import tune

    def train(config: dict[str, str]) -> None:
        began = time.time()
        from zoombench.harness import trial

        for score in trial.run(specs[config["id"]], folder / "stock" / config["id"]):
            tune.report({score.metric: score.value})
        (folder / "stock" / config["id"] / "window").write_text(f"{began} {time.time()}")

    specs = {trial.id: trial for trial in sweep.trials}
    with tempfile.TemporaryDirectory() as storage:
        tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={"id": tune.grid_search(list(specs))},
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
    ray.shutdown()
    times = [tuple(map(float, path.read_text().split())) for path in (folder / "stock").glob("*/window")]
    first = min(t[0] for t in times)
    return first, first, max(t[1] for t in times), len(times)


if __name__ == "__main__":
    way, path = {"bare": bare, "serial": serial, "ours": ours, "stock": stock}[sys.argv[1]], Path(sys.argv[2])
    window = way(spec.load(path), path.parent)
    print(*window, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
