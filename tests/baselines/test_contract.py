"""What every file in baselines/ promises, on every dataset that it can serve."""

import io
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from zoombench.harness import lookup
from zoombench.harness.budget import Budget
from zoombench.harness.contract import Method, Output
from zoombench.harness.tasks import Task

METHODS, DATASETS = lookup.names("method"), lookup.names("dataset")  # before other tests add folders of their own
SMALL: dict[str, dict[str, int]] = {  # images of a few pixels, where the defaults are those of a paper
    "cub_200": {"train_size": 32},
    "gazecapture": {"frame": 32, "crop": 16},
    "inaturalist_2017": {"train_size": 32},
}
BUDGET = Budget(image_size=12, overview_size=10, epochs=1)


@dataclass
class Case:
    """A method with a batch that it can answer."""

    method: Method
    inputs: dict[str, Tensor]
    target: Tensor
    declared: tuple[str, ...]

    def answer(self, target: Any = None) -> Output:
        output = self.method(**self.inputs, target=target)
        assert isinstance(output, Output)
        return output


def served() -> list[tuple[str, str]]:
    pairs = []
    for method in METHODS:
        for dataset in DATASETS:
            asked, given = lookup.declaration("method", method), lookup.declaration("dataset", dataset)
            assert given.task is not None
            if set(asked.inputs) <= set(given.inputs) and asked.skip(given.task(given.config()), BUDGET) is None:
                pairs.append((method, dataset))
    return pairs


def build(method: str, task: Task, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    module = lookup.load("method", method)
    built = module.build(module.Config(), task, BUDGET)
    assert isinstance(built, Method)
    return built


@pytest.fixture(params=served(), ids="-".join)
def case(request: pytest.FixtureRequest, data_root: str) -> Case:
    method, dataset = request.param
    module = lookup.load("dataset", dataset)
    config = module.Config(**SMALL.get(dataset, {}))
    examples = module.build(config, data_root, "train", BUDGET.image_size)
    tensors, target = default_collate([examples[index] for index in range(6)])
    tensors = {k: tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor for k, tensor in tensors.items()}
    built = build(method, module.task(config))
    declared = lookup.declaration("method", method).inputs
    return Case(built, {name: tensors[name] for name in built.inputs}, target, declared)


def test_every_method_serves_some_dataset() -> None:
    assert {method for method, _ in served()} == set(METHODS)


def test_the_declared_inputs_are_those_of_the_class(case: Case) -> None:
    assert case.method.inputs == case.declared


def test_there_is_a_loss_exactly_when_there_is_a_target(case: Case) -> None:
    assert case.answer().loss is None
    loss = case.answer(case.target).loss
    assert loss is not None
    assert loss.shape == ()
    assert loss.isfinite()


def test_there_is_one_answer_for_every_example(case: Case) -> None:
    assert len(case.answer().prediction) == len(case.target)


def test_zooms_show_what_was_seen_and_where(case: Case) -> None:
    for zoom in case.answer().zooms:
        batch, channels, height, width = zoom.resampled.shape
        assert (batch, channels) == (len(case.target), 3)
        assert (height, width) == (BUDGET.image_size, BUDGET.image_size)
        assert zoom.grid.shape == (batch, height, width, 2)
        assert zoom.grid.isfinite().all()
        assert zoom.grid.dtype == torch.float32
        if zoom.saliency is not None:
            assert zoom.saliency.shape[:2] == (batch, 1)
            assert (zoom.saliency >= 0).all()
            torch.testing.assert_close(zoom.saliency.sum(dim=(1, 2, 3)), torch.ones(batch))


def test_gradients_reach_every_parameter(case: Case) -> None:
    # Moved a little first: a layer that starts from zeros hides those behind it from the first gradient.
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in case.method.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    loss = case.answer(case.target).loss
    assert loss is not None
    loss.backward()
    for name, parameter in case.method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_optimizer_is_given_every_parameter_once(case: Case) -> None:
    groups = case.method.parameter_groups(0.003)
    given = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(given) == sorted(id(parameter) for parameter in case.method.parameters())
    assert all(group["lr"] > 0 for group in groups)


def test_the_same_seed_builds_the_same_method(case: Case, request: pytest.FixtureRequest) -> None:
    method, dataset = request.node.callspec.params["case"]
    module = lookup.load("dataset", dataset)
    again = build(method, module.task(module.Config()))
    for name, tensor in case.method.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_evaluation_gives_the_same_answer_twice(case: Case) -> None:
    case.method.eval()
    assert torch.equal(case.answer().prediction, case.answer().prediction)


def test_a_batch_gives_the_same_answers_as_its_examples_one_by_one(case: Case) -> None:
    case.method.eval()
    together = case.answer().prediction
    singles = [
        case.method(**{name: tensor[index : index + 1] for name, tensor in case.inputs.items()}).prediction
        for index in range(len(case.target))
    ]
    torch.testing.assert_close(together, torch.cat(singles), rtol=1e-4, atol=1e-5)


def test_saved_weights_give_the_same_answers(case: Case, request: pytest.FixtureRequest) -> None:
    case.answer(case.target)  # moves the running statistics, so that a fresh method differs
    case.method.eval()
    file = io.BytesIO()
    torch.save(case.method.state_dict(), file)
    file.seek(0)
    method, dataset = request.node.callspec.params["case"]
    module = lookup.load("dataset", dataset)
    other = build(method, module.task(module.Config()), seed=1).eval()
    before = other(**case.inputs).prediction
    assert not torch.equal(before, case.answer().prediction)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(**case.inputs).prediction, case.answer().prediction)


def test_forward_draws_nothing_from_pythons_generator(case: Case) -> None:
    state = random.getstate()
    case.answer(case.target)
    assert random.getstate() == state


def test_mixed_precision_keeps_the_grid_in_float32(case: Case) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = case.answer(case.target)
    assert output.loss is not None
    assert output.loss.isfinite()
    assert all(zoom.grid.dtype == torch.float32 for zoom in output.zooms)
