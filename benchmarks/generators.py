"""How fast the embedded datasets draw their examples, beside what it takes to train on them.

    python -m benchmarks.generators [--examples 1024] [--rounds 5] [--size 16]

CPU time of one process and one thread (not of other processes; but on a shared machine cores wait for one another's
memory, so trust ratios), the least of `--rounds` rounds:

    drawn    one example after the other
    loaded   in batches of 64 through torch's DataLoader, as a trial without workers does
    training a step of `uniform` with the small task network, the cheapest method that there is, on a batch that lies
             ready as float, an example
    share    of loading in what loading and training take together
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, default_collate

from zoombench.baselines import uniform
from zoombench.harness import lookup
from zoombench.harness.batches import Collate
from zoombench.harness.budget import Budget

BATCH = 64


class Speed(NamedTuple):
    """CPU microseconds an example of one dataset with its default settings."""

    name: str
    drawn: float
    loaded: float
    training: float


def generators(examples: int = 1024, *, rounds: int = 5, size: int = 16) -> Iterator[Speed]:
    """Measure every dataset that says it is embedded."""
    for name in lookup.names("dataset"):
        module = lookup.load("dataset", name)
        if getattr(module, "TERMS", {}).get("access") != "embedded":
            continue
        dataset = module.build(module.Config(), None, "train", size)
        indices = range(min(examples, len(dataset)) // BATCH * BATCH)
        batches = [list(indices[at : at + BATCH]) for at in range(0, len(indices), BATCH)]

        def draw(dataset: Any = dataset, indices: range = indices) -> None:
            for index in indices:
                dataset[index]

        def load(dataset: Any = dataset, batches: list[list[int]] = batches) -> None:
            for _ in DataLoader(dataset, batch_sampler=batches, collate_fn=Collate(("image",))):
                pass

        train = _training_step(module, dataset, size)
        drawn, loaded = (least(call, rounds) / len(indices) for call in (draw, load))
        yield Speed(name, drawn, loaded, least(train, 5 * rounds) / BATCH)


def _training_step(module: Any, dataset: Any, size: int) -> Callable[[], None]:
    torch.manual_seed(0)
    budget = Budget(image_size=size, epochs=1, batch=BATCH)
    method = uniform.build(uniform.Config(), module.task(module.Config()), budget)
    optimizer = torch.optim.AdamW(method.parameters())
    inputs, target = default_collate([dataset[index] for index in range(BATCH)])
    image = inputs["image"].float() / 255

    def step() -> None:
        loss = method(image, target).loss
        assert loss is not None
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


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
    parser.add_argument("--size", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    show(generators(arguments.examples, rounds=arguments.rounds, size=arguments.size))


def show(speeds: Iterable[Speed]) -> None:
    """Print one line a dataset."""
    print(
        f"{'dataset':20}{'drawn/s':>10}{'loaded/s':>10}{'drawn us':>10}{'loaded us':>11}{'training us':>13}{'share':>8}"
    )
    for one in speeds:
        share = one.loaded / (one.loaded + one.training)
        print(
            f"{one.name:20}{1e6 / one.drawn:10.0f}{1e6 / one.loaded:10.0f}"
            f"{one.drawn:10.1f}{one.loaded:11.1f}{one.training:13.1f}{share:8.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
