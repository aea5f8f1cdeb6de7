"""The blur of the first epochs: each example by a size of its own, and by the same sizes when a trial goes on."""

import copy
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoombench.baselines.layers.blur import Blur, blurred
from zoombench.baselines.layers.resample import overview
from zoombench.harness import spec, trial
from zoombench.harness.sweepfile import Settings


def views(*, batch: int = 3, height: int = 28, width: int = 20) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def by_hand(view: Tensor, height: int, width: int) -> Tensor:
    """Area average, then bilinear with half-pixel centres."""
    small = overview(view, (height, width))
    return functional.interpolate(small, size=view.shape[2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("side", [28, 224])
def test_every_size_from_64_of_224_to_the_whole_is_as_likely_as_another(side: int) -> None:
    least = side * 64 // 224
    view = views(batch=1, height=side, width=side)
    sizes = range(least, side + 1) if side < 100 else (64, 65, 100, 112, 223, 224)
    for size in sizes:
        for within in (0.02, 0.98):  # the sizes share 0 to 1 equally
            share = torch.tensor([(size - least + within) / (side - least + 1)])
            torch.testing.assert_close(blurred(view, share), by_hand(view, size, size), rtol=0, atol=2e-4)


def test_each_example_has_its_own_size_along_both_axes() -> None:
    view = views()
    found = blurred(view, torch.tensor([0.0, 0.5, 1.0]))
    for index, (height, width) in enumerate([(8, 6), (18, 13), (28, 20)]):  # 8 of 8..28, and 6 of 6..20, lie lowest
        expected = by_hand(view[index : index + 1], height, width)
        torch.testing.assert_close(found[index : index + 1], expected, rtol=0, atol=1e-5)


def test_a_share_of_one_changes_nothing() -> None:
    assert torch.equal(blurred(views(), torch.ones(3)), views())


def test_a_view_of_one_colour_keeps_it() -> None:
    shares = torch.rand(50, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(blurred(torch.full((50, 1, 21, 9), 0.7), shares), torch.full((50, 1, 21, 9), 0.7))


def test_the_gradient_is_right() -> None:
    view = views(batch=2, height=7, width=5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda view: blurred(view, torch.tensor([0.1, 0.6])), view)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixed_precision_blurs_in_float32(dtype: torch.dtype) -> None:
    view, shares = views().to(dtype), torch.tensor([0.0, 0.4, 0.9])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = blurred(view, shares)
    assert found.dtype == dtype
    assert torch.equal(found, blurred(view.float(), shares).to(dtype))


def test_it_blurs_in_training_and_in_its_epochs_only() -> None:
    blur, view = Blur(epochs_share=0.2583), views()
    active = []
    for epoch in range(120):
        blur.start_epoch(epoch, 120)
        active.append(blur.active)
    assert active == [True] * 31 + [False] * 89  # the authors': epochs 0 to 30 of 120
    assert torch.equal(blur(view), view)
    blur.start_epoch(0, 120)
    assert not torch.equal(blur(view), view)
    assert torch.equal(blur.eval()(view), view)


def active(seed: int) -> Blur:
    torch.manual_seed(seed)
    blur = Blur(epochs_share=1.0)
    blur.start_epoch(0, 1)
    return blur


def test_the_seed_decides_the_sizes_and_nothing_else_is_drawn() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first, same, other = active(4), active(4), active(5)
    results = [blur(views()) for blur in (first, same, other)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert not torch.equal(first(views()), results[0]), "another batch has other sizes"
    torch.manual_seed(4)
    assert torch.equal(torch.get_rng_state(), before)
    first(views())
    Blur(epochs_share=1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_state_dict_goes_on_with_the_same_sizes() -> None:
    blur, other, file = active(0), active(1), io.BytesIO()
    blur(views())
    torch.save(blur.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(views()), blur(views()))


def test_a_copy_whose_cost_is_measured_leaves_the_generator_alone() -> None:
    blur = active(0)
    state = blur.generator.get_state()
    copy.deepcopy(blur)(views())
    assert torch.equal(blur.generator.get_state(), state)


def test_a_blurred_trial_that_is_stopped_within_an_epoch_goes_on_to_the_same_numbers(
    sweep_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = {"b": {"image_size": 8, "epochs": 2, "batch": 16}}
    made = [
        spec.load(sweep_file(methods={"saliency_sampler": {"blur_epochs": share}}, budgets=budgets)).trials[0]
        for share in (0.5, 0.0)
    ]

    def numbers(one: spec.TrialSpec, folder: str) -> tuple[list[trial.Score], str]:
        scores = list(trial.run(one, tmp_path / folder, Settings(checkpoint_seconds=0)))
        return scores, json.loads((tmp_path / folder / "facts.json").read_text())["weights_sha256"]

    whole, sharp = numbers(made[0], "whole"), numbers(made[1], "sharp")
    step = trial._Trial._step
    steps = []

    def step_and_stop(self: trial._Trial, inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        steps.append(self.step)
        if len(steps) == 3:  # in the first of two epochs of four steps
            raise KeyboardInterrupt
        return step(self, inputs, target)

    monkeypatch.setattr(trial._Trial, "_step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        numbers(made[0], "stopped")
    assert numbers(made[0], "stopped") == whole
    assert steps[2:4] == [2, 2], "the interrupted step is the only one that is done again"
    assert whole != sharp
    assert all(math.isfinite(score.value) for score in whole[0])
