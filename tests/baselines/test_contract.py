"""What every file in baselines/ promises, on every dataset that it can serve."""

import copy
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from zoombench.harness import lookup
from zoombench.harness.budget import Budget, Training
from zoombench.harness.contract import Method, Output
from zoombench.harness.recipe import recipe

METHODS, DATASETS = lookup.names("method"), lookup.names("dataset")  # before other tests add folders of their own
SMALL: dict[str, dict[str, int]] = {  # images of a few pixels, where the defaults are those of a paper
    "cub_200": {"train_size": 32},
    "gazecapture": {"frame": 32, "crop": 16},
    "inaturalist_2017": {"train_size": 32},
}
BUDGET = Budget(image_size=12, overview_size=10, epochs=1)
EXAMPLES = 6
WAITS_FOR_THE_DEVICE = {"class_activation_crop"}  # finds connected parts on the CPU, and says so


@dataclass
class Case:
    """A method with a batch that it can answer."""

    name: str
    dataset: str
    inputs: dict[str, Tensor]
    target: Tensor
    method: Method = field(init=False)

    def __post_init__(self) -> None:
        self.method = self.build()
        self.inputs = {name: self.inputs[name] for name in self.method.inputs}

    def build(self, seed: int = 0) -> Method:
        """The method with its default settings, for the dataset's task."""
        torch.manual_seed(seed)
        method, dataset = lookup.load("method", self.name), lookup.load("dataset", self.dataset)
        built = method.build(method.Config(), dataset.task(configured(self.dataset)), BUDGET)
        assert isinstance(built, Method)
        return built

    def answer(self, target: Any = None) -> Output:
        output = self.method(**self.inputs, target=target)
        assert isinstance(output, Output)
        return output

    def loss(self, method: Method | None = None) -> Tensor:
        loss = (method or self.method)(**self.inputs, target=self.target).loss
        assert loss is not None
        return loss

    def on(self, device: str) -> "Case":
        """The same on another device."""
        other = copy.copy(self)
        other.method = copy.deepcopy(self.method).to(device)
        other.inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        other.target = self.target.to(device)
        return other


def configured(dataset: str) -> Any:
    return lookup.load("dataset", dataset).Config(**SMALL.get(dataset, {}))


def served() -> list[tuple[str, str]]:
    pairs = []
    for method in METHODS:
        for dataset in DATASETS:
            asked, given = lookup.declaration("method", method), lookup.declaration("dataset", dataset)
            assert given.task is not None
            if set(asked.inputs) <= set(given.inputs) and asked.skip(given.task(given.config()), BUDGET) is None:
                pairs.append((method, dataset))
    return pairs


@pytest.fixture(scope="module")
def batches(data_root: str) -> Callable[[str], tuple[dict[str, Tensor], Tensor]]:
    """The first examples of a dataset, as the trial hands them to a method; read once."""
    read: dict[str, tuple[dict[str, Tensor], Tensor]] = {}

    def batch(name: str) -> tuple[dict[str, Tensor], Tensor]:
        if name not in read:
            module = lookup.load("dataset", name)
            examples = module.build(configured(name), data_root, "train", BUDGET.image_size)
            tensors, target = default_collate([examples[index] for index in range(EXAMPLES)])
            floats = {key: t.float() / 255 if t.dtype == torch.uint8 else t for key, t in tensors.items()}
            read[name] = floats, target
        return read[name]

    return batch


@pytest.fixture(params=served(), ids="-".join)
def case(request: pytest.FixtureRequest, batches: Callable[[str], tuple[dict[str, Tensor], Tensor]]) -> Case:
    method, dataset = request.param
    return Case(method, dataset, *batches(dataset))


def saved(method: Method) -> dict[str, Any]:
    """Its state by way of a file, read as a trial reads a checkpoint."""
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def stir(method: nn.Module) -> None:
    """Move every parameter a little: a layer that starts from zeros hides those behind it from the first gradient."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)


def test_every_method_serves_some_dataset() -> None:
    assert {method for method, _ in served()} == set(METHODS)


def test_the_declared_inputs_are_those_of_the_class(case: Case) -> None:
    assert case.method.inputs == lookup.declaration("method", case.name).inputs


def test_there_is_a_loss_exactly_when_there_is_a_target(case: Case) -> None:
    assert case.answer().loss is None
    assert case.loss().shape == ()
    assert case.loss().isfinite()


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
    stir(case.method)
    case.loss().backward()
    for name, parameter in case.method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_optimizer_is_given_every_parameter_once(case: Case) -> None:
    groups = case.method.parameter_groups(0.003)
    given = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(given) == sorted(id(parameter) for parameter in case.method.parameters())
    assert all(group["lr"] > 0 for group in groups)


def test_the_same_seed_builds_the_same_method(case: Case) -> None:
    again = case.build().state_dict()
    for name, value in case.method.state_dict().items():
        assert not isinstance(value, Tensor) or torch.equal(value, again[name]), name


def test_a_few_steps_of_the_usual_training_lower_the_loss(case: Case) -> None:
    steps = 20
    training = Training()
    groups = case.method.parameter_groups(training.learning_rate)
    optimizer, schedule = recipe(training, groups, steps=steps, epochs=1)
    case.method.start_epoch(0, 1)
    losses = []
    for _ in range(steps):
        loss = case.loss()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(case.method.parameters(), training.clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    assert torch.stack(losses).isfinite().all()
    assert losses[-1] < losses[0]
    case.method.eval()
    assert case.answer().prediction.isfinite().all()


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


def test_saved_weights_give_the_same_answers(case: Case) -> None:
    case.answer(case.target)  # moves the running statistics, so that a fresh method differs
    case.method.eval()
    other = case.build(seed=1).eval()
    before = other(**case.inputs).prediction
    assert not torch.equal(before, case.answer().prediction)
    other.load_state_dict(saved(case.method))
    assert torch.equal(other(**case.inputs).prediction, case.answer().prediction)


def test_a_method_that_was_saved_in_an_early_epoch_goes_on_with_the_same_numbers(case: Case) -> None:
    case.method.start_epoch(0, 8)
    case.loss()
    other = case.build(seed=1)  # is told of no epoch: a trial that was killed after its last one is only judged
    other.load_state_dict(saved(case.method))
    numbers = []
    for method in (case.method, other):
        torch.manual_seed(9)
        loss = case.loss(method)
        loss.backward()
        gradients = [p.grad.clone() for p in method.parameters() if p.grad is not None]
        numbers.append([loss.detach(), *gradients, method.eval()(**case.inputs).prediction])
    assert len(numbers[0]) > 2
    assert all(torch.equal(one, same) for one, same in zip(*numbers, strict=True))


def test_forward_draws_nothing_from_pythons_generator(case: Case) -> None:
    state = random.getstate()
    case.answer(case.target)
    assert random.getstate() == state


def waves(shape: torch.Size) -> Tensor:
    """Bytes that change slowly from pixel to pixel: of one colour, or of noise, gradients of a grid are of rounding."""
    batch, channels, rows, columns = (torch.arange(size, dtype=torch.float32) for size in shape)
    phase = batch.view(-1, 1, 1, 1) + 2 * channels.view(-1, 1, 1)
    return (127.5 + 100 * torch.sin(phase + 0.11 * rows.view(-1, 1) + 0.07 * columns)).round().to(torch.uint8)


def test_bytes_give_the_answer_and_the_gradients_of_their_floats(case: Case) -> None:
    assert case.method.takes_bytes
    images = [name for name, tensor in case.inputs.items() if tensor.ndim == 4 and name != "boxes"]
    found = []
    for bytewise in (True, False):
        levels = {name: waves(case.inputs[name].shape) for name in images}
        method = case.build()
        stir(method)
        given = levels if bytewise else {name: tensor.float() / 255 for name, tensor in levels.items()}
        output = method.eval()(**case.inputs | given, target=case.target)
        assert output.loss is not None
        output.loss.backward()
        assert all(zoom.resampled.dtype == torch.float32 for zoom in output.zooms)
        found.append([output.prediction.detach(), *(p.grad for p in method.parameters() if p.grad is not None)])
    assert len(found[0]) > 2
    for one, same in zip(*found, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-7 + 1e-3 * float(same.abs().max()))


def test_mixed_precision_keeps_the_grid_in_float32(case: Case) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = case.answer(case.target)
    assert output.loss is not None
    assert output.loss.isfinite()
    assert all(zoom.grid.dtype == torch.float32 for zoom in output.zooms)


@pytest.fixture(scope="module")
def of_two_processes(
    batches: Callable[[str], tuple[dict[str, Tensor], Tensor]], in_two_processes: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """The gradients of every case from one pair of processes."""
    cases = {}
    for method, dataset in served():
        case = Case(method, dataset, *batches(dataset))
        stir(case.method)
        cases[f"{method}-{dataset}"] = (case.method.eval(), case.inputs, case.target)
    return in_two_processes(cases)


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one_on_the_joined_batch(
    case: Case, of_two_processes: dict[str, Any]
) -> None:
    stir(case.method)
    case.method.eval()  # statistics and dropout of the halves are not those of the whole
    case.loss().backward()
    found = of_two_processes[f"{case.name}-{case.dataset}"]
    assert isinstance(found, dict), found
    for name, parameter in case.method.named_parameters():
        assert parameter.grad is not None
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5 * max(scale, 1e-3), msg=name)


@pytest.mark.gpu
def test_a_gpu_gives_the_answers_of_the_cpu(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    stir(case.method)
    case.method.eval()
    there = case.on("cuda").answer(case.target.cuda())
    here = case.answer(case.target)
    torch.testing.assert_close(there.prediction.cpu(), here.prediction, rtol=1e-3, atol=1e-4)
    assert there.loss is not None
    assert here.loss is not None
    torch.testing.assert_close(there.loss.cpu(), here.loss, rtol=1e-3, atol=1e-4)
    for one, other in zip(there.zooms, here.zooms, strict=True):
        torch.testing.assert_close(one.grid.cpu(), other.grid, rtol=0, atol=1e-4)


@pytest.mark.gpu
def test_a_training_step_in_mixed_precision_does_not_make_the_host_wait(case: Case) -> None:
    there = case.on("cuda")
    there.method.train()

    def step() -> Output:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            output = there.answer(there.target)
        assert output.loss is not None
        output.loss.backward()
        return output

    step()  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("default" if case.name in WAITS_FOR_THE_DEVICE else "error")
    try:
        output = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert output.loss is not None
    assert output.loss.isfinite()
    assert all(parameter.grad is not None for parameter in there.method.parameters())
    assert all(zoom.grid.dtype == torch.float32 for zoom in output.zooms)
