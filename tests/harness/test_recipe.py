"""The optimizer and the schedule that a sweep file asks for."""

import pytest
import torch

from zoombench.harness.budget import Training
from zoombench.harness.recipe import recipe


def rates(training: Training, *, steps: int, epochs: int) -> list[list[float]]:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [parameters[0]], "lr": 0.1}, {"params": [parameters[1]], "lr": 0.001}]
    optimizer, schedule = recipe(training, groups, steps=steps, epochs=epochs)
    seen = []
    for _ in range(steps * epochs):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def test_steps_multiply_every_groups_rate_by_the_decay():
    training = Training(optimizer="sgd", schedule="step", decay=0.5, decay_epochs=2)
    seen = rates(training, steps=3, epochs=6)
    factors = [1] * 6 + [0.5] * 6 + [0.25] * 6
    for (first, second), factor in zip(seen, factors, strict=True):
        assert first == pytest.approx(0.1 * factor)
        assert second == pytest.approx(0.001 * factor)


def test_one_cycle_rises_to_the_rate_and_falls_to_nearly_nothing():
    first = [rate for rate, _ in rates(Training(warmup=0.25), steps=10, epochs=4)]
    assert max(first) == pytest.approx(0.1)
    assert first.index(max(first)) == pytest.approx(10, abs=1)
    assert first[-1] < 1e-4


@pytest.mark.parametrize("schedule", ["one_cycle", "step"])
def test_sgd_moves_by_its_momentum_and_decays_weights(schedule):
    training = Training(optimizer="sgd", schedule=schedule, momentum=0.5, weight_decay=0.25)
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer, _ = recipe(training, [{"params": [weight], "lr": 0.1}], steps=100, epochs=1)
    rate = optimizer.param_groups[0]["lr"]
    velocity, expected = 0.0, 2.0
    for gradient in (1.0, -3.0, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.5 * velocity + gradient + 0.25 * expected
        expected -= rate * velocity
    assert weight.item() == pytest.approx(expected)
