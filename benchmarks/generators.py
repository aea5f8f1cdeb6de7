"""How fast the embedded datasets draw their examples, and what share of a trial that takes.

    python -m benchmarks.generators [--examples 1024] [--rounds 5] [--epochs 2]

CPU time of one process and one thread (not of other processes; but on a shared machine cores wait for one another's
memory, so trust ratios):

    drawn    one example after the other, with all inputs, the least of `--rounds` rounds
    loaded   images alone, in batches of 64 through torch's DataLoader, as a trial without workers loads them
    shares   of loading in what loading, training and judging take together, in a trial of each method of the
             quickstart, within its budget but for the epochs, and with default settings of method and dataset. The test
             split is judged after so few epochs, and judging takes less than training: rather too large than too small.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import yaml
from torch.utils.data import DataLoader

from zoombench.harness import lookup, spec, sweepfile, trial
from zoombench.harness.batches import Batches

BATCH = 64


class Speed(NamedTuple):
    """CPU microseconds an example of one dataset with its default settings."""

    name: str
    drawn: float
    loaded: float
    trials: dict[str, tuple[float, float]]
    """CPU seconds of loading and of the rest, by method."""


def generators(examples: int = 1024, *, rounds: int = 5, epochs: int = 2) -> Iterator[Speed]:
    """Measure every dataset that says it is embedded."""
    for name in lookup.names("dataset"):
        module = lookup.load("dataset", name)
        if getattr(module, "TERMS", {}).get("access") != "embedded":
            continue
        dataset = module.build(module.Config(), None, "train", 16)
        indices = range(min(examples, len(dataset)) // BATCH * BATCH)
        batches = [indices[at : at + BATCH] for at in range(0, len(indices), BATCH)]

        def draw(dataset: Any = dataset, indices: range = indices) -> None:
            for index in indices:
                dataset[index]

        def load(dataset: Any = dataset, batches: list[range] = batches) -> None:
            for _ in DataLoader(Batches(dataset, ("image",)), batch_size=None, sampler=batches):
                pass

        drawn, loaded = (least(call, rounds) / len(indices) for call in (draw, load))
        yield Speed(name, drawn, loaded, trials(name, epochs=epochs))


def trials(dataset: str, *, epochs: int) -> dict[str, tuple[float, float]]:
    """Run the quickstart's methods on a dataset, and take the time."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = yaml.safe_load(sweepfile.locate("quickstart").read_text())
        sweep |= {"datasets": {dataset: None}, "seeds": [0]}
        for budget in sweep["budgets"].values():
            budget |= {"epochs": epochs, "gpus": 0}
        file = Path(folder) / "sweep.yaml"
        file.write_text(yaml.safe_dump(sweep))
        return {one.method.label: timed(one, Path(folder) / one.id) for one in spec.load(file).trials}


def timed(one: spec.TrialSpec, workdir: Path) -> tuple[float, float]:
    """CPU seconds of a trial's loading, and of what it does with each batch."""
    loading = rest = 0.0

    def loader(*args: Any, **settings: Any) -> Iterator[Any]:
        nonlocal loading, rest
        batches = iter(DataLoader(*args, **settings))
        while True:
            asked = time.process_time()
            batch = next(batches, None)
            given = time.process_time()
            loading += given - asked
            if batch is None:
                return
            yield batch
            rest += time.process_time() - given

    with patch.object(trial, "DataLoader", loader):
        for _ in trial.run(one, workdir):
            pass
    return loading, rest


def least(call: Callable[[], None], rounds: int) -> float:
    """CPU microseconds of the quickest call, after one that is not timed."""
    call()
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return min(taken) * 1e6


def main() -> None:
    """Measure as the command line says, and show it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    show(generators(arguments.examples, rounds=arguments.rounds, epochs=arguments.epochs))


def show(speeds: Iterable[Speed]) -> None:
    """Print one line a dataset, with the share of all trials together last."""
    for place, one in enumerate(speeds):
        if place == 0:
            print(20 * " " + "".join(f"{word:>20}" for word in ("drawn us", "loaded us", *one.trials, "together")))
        sums = [sum(column) for column in zip(*one.trials.values(), strict=True)]
        shares = [loading / (loading + rest) for loading, rest in (*one.trials.values(), sums)]
        print(
            f"{one.name:20}{one.drawn:20.1f}{one.loaded:20.1f}" + "".join(f"{share:20.1%}" for share in shares),
            flush=True,
        )


if __name__ == "__main__":
    main()
