"""One way of running the empty trials of benchmarks.overhead, in a process of its own; prints first start, last end."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from zoombench.harness import spec, tracking
from zoombench.harness.ledger import Ledger
from zoombench.harness.progress import Progress
from zoombench.harness.sweepfile import Settings


def bare(sweep: spec.Sweep, folder: Path) -> tuple[float, float]:
    """A loop over the trials, with the first one, which imports and warms up, left out."""
    from zoombench.harness import trial

    list(trial.run(sweep.trials[0], folder / "bare" / "warm-up"))
    began = time.time()
    for made in sweep.trials:
        list(trial.run(made, folder / "bare" / made.id))
    return began, time.time()


def ours(sweep: spec.Sweep, folder: Path) -> tuple[float, float]:
    """What `zoombench run` does, tracking included; from the first trial's start to the last one's end."""
    from zoombench.harness import sweep as on_ray

    ledger = Ledger.open(folder / "ours")
    progress = Progress(len(sweep.trials), 0, already=0, console=Console(quiet=True))
    with tracking.following(sweep, sweep.trials, ledger, say=print):
        on_ray.launch(sweep.trials, ledger, Settings(), commit="", progress=progress)
    return window([event for trial in sweep.trials for event in ledger.events(trial.id)])


def stock(sweep: spec.Sweep, folder: Path) -> tuple[float, float]:
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
    return min(t[0] for t in times), max(t[1] for t in times)


def window(events: list[dict[str, str]]) -> tuple[float, float]:
    """First start and last end of what the ledger noted, in seconds since the epoch."""
    from datetime import datetime

    times = [datetime.fromisoformat(event["time"]).timestamp() for event in events]
    return min(times), max(times)


if __name__ == "__main__":
    way, folder = {"bare": bare, "ours": ours, "stock": stock}[sys.argv[1]], Path(sys.argv[2])
    first, last = way(spec.load(folder / "overhead.yaml"), folder)
    print(first, last)
