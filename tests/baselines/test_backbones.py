"""torchvision's networks as task networks and as trunks, and the weights that they start from."""

import typing
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from zoombench.baselines import uniform
from zoombench.baselines.layers.backbones import (
    IMAGENET,
    TRUNK_CHANNELS,
    Backbone,
    Normalise,
    WithAuxiliary,
    task_network,
    trunk,
)
from zoombench.baselines.layers.warp import AUXILIARY_WEIGHT, conclude
from zoombench.harness.budget import Budget
from zoombench.harness.errors import WeightsError
from zoombench.harness.task_networks import TASK_NETWORKS, Trunk, complaint_about, complaint_about_trunk
from zoombench.harness.tasks import Classification

TORCHVISION = [name for name in TASK_NETWORKS if name != "small"]
RESNETS: list[Trunk] = ["resnet18_6", "resnet18_10", "resnet18_14"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing that was downloaded before."""

    def refuse(*given: Any, **settings: Any) -> None:
        raise urllib.request.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights as ImageNet's: a ResNet-18 with a head of a thousand classes."""
    torch.manual_seed(7)
    weights: dict[str, Tensor] = models.resnet18(weights=None).state_dict()
    return weights


def saved(content: Any, folder: Path) -> str:
    torch.save(content, folder / "checkpoint.pth")
    return str(folder / "checkpoint.pth")


def loaded(path: str, outputs: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return Backbone("resnet18", outputs, weights=path).model.state_dict()


# Trunks


@pytest.mark.parametrize(
    ("name", "channels", "side"), [("resnet18_6", 64, 56), ("resnet18_10", 128, 28), ("resnet18_14", 256, 14)]
)
def test_a_trunk_is_cut_where_the_paper_cuts_it(name: Trunk, channels: int, side: int) -> None:
    cut = trunk(name).eval()
    with torch.no_grad():
        assert cut(torch.rand(1, 3, 224, 224)).shape == (1, channels, side, side)
    assert TRUNK_CHANNELS[name] == channels
    weighted = [module for module in cut.modules() if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)]
    assert len(weighted) + 1 == int(name.split("_")[1])  # with the 1 x 1 convolution that follows


def test_the_small_trunk_keeps_the_overviews_resolution() -> None:
    assert trunk("small")(torch.rand(2, 3, 11, 9)).shape == (2, TRUNK_CHANNELS["small"], 11, 9)


@pytest.mark.parametrize("name", RESNETS)
def test_a_trunk_gives_what_the_whole_network_has_there(name: Trunk, state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = models.resnet18(weights=None)
    whole.load_state_dict(state)
    heard: list[Tensor] = []
    layer = {"resnet18_6": whole.layer1, "resnet18_10": whole.layer2, "resnet18_14": whole.layer3}[name]
    layer.register_forward_hook(lambda module, given, features: heard.append(features))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        whole.eval()(Normalise()(image))
        features = trunk(name, weights=saved(state, tmp_path)).eval()(image)
    assert torch.equal(features, heard[0])
    assert features.min() >= 0  # a ReLU comes last


def test_normalising_gives_torchvisions_weights_what_they_were_trained_on() -> None:
    image = torch.tensor(IMAGENET[0]).view(1, 3, 1, 1) + torch.tensor(IMAGENET[1]).view(1, 3, 1, 1)
    torch.testing.assert_close(Normalise()(image), torch.ones(1, 3, 1, 1))
    preset = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert (tuple(preset.mean), tuple(preset.std)) == IMAGENET


# Weights


def test_a_bare_state_dict_is_loaded(state: dict[str, Tensor], tmp_path: Path) -> None:
    found = loaded(saved(state, tmp_path), outputs=1000)
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize(
    "wrap", [lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}], ids=["model", "state_dict"]
)
def test_a_state_dict_within_a_checkpoint_is_found(wrap: Any, state: dict[str, Tensor], tmp_path: Path) -> None:
    found = loaded(saved(wrap(state), tmp_path), outputs=1000)
    assert torch.equal(found["fc.weight"], state["fc.weight"])


def test_the_prefix_of_data_parallel_training_is_taken_off(state: dict[str, Tensor], tmp_path: Path) -> None:
    found = loaded(saved({"model": {f"module.{key}": value for key, value in state.items()}}, tmp_path), outputs=1000)
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_head_of_another_size_keeps_its_random_start(state: dict[str, Tensor], tmp_path: Path) -> None:
    found = loaded(saved(state, tmp_path), outputs=10)
    assert found["fc.weight"].shape == (10, 512)
    assert torch.equal(found["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    without = {key: value for key, value in state.items() if not key.startswith("fc.")}
    assert torch.equal(loaded(saved(without, tmp_path))["fc.weight"], found["fc.weight"])


def test_a_checkpoint_from_before_batches_were_counted_is_loaded(state: dict[str, Tensor], tmp_path: Path) -> None:
    # torch's own strict loading takes them.
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    found = loaded(saved(old, tmp_path))
    assert all(torch.equal(found[key], old[key]) for key in old if not key.startswith("fc."))
    assert found["bn1.num_batches_tracked"] == 0


def test_weights_of_the_small_network_are_loaded_too(tmp_path: Path) -> None:
    budget = Budget(image_size=12, epochs=1)
    network = task_network(10, budget)
    with_weights = budget.model_copy(update={"task_weights": saved(network.state_dict(), tmp_path)})
    for outputs in (10, 4):
        again = task_network(outputs, with_weights).state_dict()
        assert torch.equal(again["features.1.0.weight"], network.state_dict()["features.1.0.weight"])
        assert again["head.3.weight"].shape == (outputs, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.weight"), r"do not fit resnet18: conv1\.weight is missing\."),
        (lambda s: s.update(conv9=torch.ones(1)), r"do not fit resnet18: conv9 is unknown\."),
        (
            lambda s: s.update({"bn1.bias": torch.ones(7)}),
            r"do not fit resnet18: bn1\.bias is \(7,\), expected \(64,\)\.",
        ),
        (
            lambda s: [s.pop(key) for key in list(s) if key.startswith("layer4.1.")],
            r"layer4\.1\.conv1\.weight is missing, .* is missing, .* is missing, and 7 more\.",
        ),
    ],
    ids=["missing", "unknown", "another shape", "many"],
)
def test_weights_that_do_not_fit_say_where(change: Any, message: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    other = dict(state)
    change(other)
    with pytest.raises(WeightsError, match=rf"^weights \S+checkpoint\.pth .*{message}$"):
        loaded(saved(other, tmp_path))


def test_a_file_that_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_text("hello")
    with pytest.raises(WeightsError, match=r"checkpoint\.pth cannot be read \(\w+\); expected a state dict"):
        loaded(str(tmp_path / "checkpoint.pth"))


class Arbitrary:
    """What a checkpoint must not make a reader build."""


@pytest.mark.parametrize("content", [Arbitrary(), {"model": Arbitrary()}])
def test_a_checkpoint_that_would_run_code_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"checkpoint\.pth cannot be read \(UnpicklingError\); expected a state dict"
    ):
        loaded(saved(content, tmp_path))


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"conv1.weight": "heavy"}], ids=str)
def test_a_checkpoint_without_a_state_dict_says_so(content: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"checkpoint\.pth hold no state dict: expected names to tensors"):
        loaded(saved(content, tmp_path))


def test_torchvisions_weights_that_cannot_be_downloaded_say_what_to_put_where(offline: None, tmp_path: Path) -> None:
    message = (
        rf"weights IMAGENET1K_V1 of resnet18 are not whole in {tmp_path}/checkpoints and cannot be downloaded "
        r"\(.*no route to host.*\)\. Put resnet18-\w+\.pth there, from https://\S+, or name a checkpoint's path"
    )
    with pytest.raises(WeightsError, match=message):
        trunk("resnet18_6", weights="IMAGENET1K_V1")


def test_torchvisions_weights_are_read_from_the_folder_named_there(
    offline: None, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = models.ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / chosen.url.rsplit("/", 1)[1])
    found = trunk("resnet18_14", weights="IMAGENET1K_V1").state_dict()
    assert torch.equal(found["layer3.0.conv1.weight"], state["layer3.0.conv1.weight"])


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04"], ids=["empty", "page", "cut off"])
def test_torchvisions_weights_that_are_damaged_on_disk_say_where(content: bytes, offline: None, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    name = models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    (tmp_path / "checkpoints" / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"not whole in {tmp_path}/checkpoints"):
        trunk("resnet18_6", weights="IMAGENET1K_V1")


# The table of task networks


def test_the_table_has_the_networks_that_a_budget_may_name() -> None:
    assert set(TASK_NETWORKS) == set(typing.get_args(Budget.model_fields["task_network"].annotation))
    assert set(TRUNK_CHANNELS) == set(typing.get_args(Trunk))


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_table_has_torchvisions_names_of_weights(name: str) -> None:
    assert set(TASK_NETWORKS[name].weights) == {weights.name for weights in models.get_model_weights(name)}


@pytest.mark.parametrize(
    ("weights", "network", "complaint"),
    [
        ("IMAGENET1K_V1", "resnet18", None),
        ("here/imagenet", "resnet18", None),
        ("imagenet.pt", "small", None),
        (
            "IMAGENET1K_V2",
            "resnet18",
            "resnet18 has no such weights: expected torchvision's IMAGENET1K_V1, or the path",
        ),
        ("IMAGENET1K_V9", "resnet50", "expected torchvision's IMAGENET1K_V1 or IMAGENET1K_V2, or the path of a check"),
        ("IMAGENET1K_V1", "small", "small has no such weights: expected the path of a checkpoint (.pt, .pth)"),
    ],
)
def test_weights_that_a_network_does_not_have_are_told_without_torch(
    weights: str, network: str, complaint: str | None
) -> None:
    found = complaint_about(weights, network)
    assert found is None if complaint is None else complaint in str(found)


@pytest.mark.parametrize(
    ("weights", "name", "complaint"),
    [
        (None, "small", None),
        ("IMAGENET1K_V1", "resnet18_6", None),
        ("imagenet.pth", "resnet18_14", None),
        ("IMAGENET1K_V2", "resnet18_10", "resnet18 has no such weights"),
        ("imagenet.pth", "small", "the small trunk starts at random: leave them out"),
    ],
)
def test_weights_that_a_trunk_does_not_have_are_told_without_torch(
    weights: str | None, name: str, complaint: str | None
) -> None:
    found = complaint_about_trunk(weights, name)
    assert found is None if complaint is None else complaint in str(found)


@pytest.mark.parametrize("name", TASK_NETWORKS)
def test_a_network_takes_its_least_size_in_training(name: str) -> None:
    least = TASK_NETWORKS[name].least_size
    network = task_network(7, Budget(image_size=least, task_network=name, epochs=1)).train()  # type: ignore[arg-type]
    answer = network(torch.rand(2, 3, least, least))
    numbers = answer.numbers if isinstance(answer, WithAuxiliary) else answer
    assert numbers.shape == (2, 7)


@pytest.mark.parametrize("name", ["alexnet", "inception_v3"])
def test_below_its_least_size_a_network_fails_and_a_budget_says_so_before(name: str) -> None:
    least = TASK_NETWORKS[name].least_size
    with pytest.raises(ValueError, match=f"an image_size of {least - 1} is too small, it needs at least {least}"):
        Budget(image_size=least - 1, task_network=name, epochs=1)  # type: ignore[arg-type]
    network = Backbone(name, 7).train()
    with pytest.raises(RuntimeError, match=r"(?i)size"):
        network(torch.rand(2, 3, least - 1, least - 1))


def test_inceptions_auxiliary_head_counts_in_training_only() -> None:
    torch.manual_seed(0)
    budget = Budget(image_size=299, task_network="inception_v3", epochs=1)
    task = Classification(classes=5)
    method = uniform.build(uniform.Config(), task, budget)
    assert isinstance(method.task_network, Backbone)
    image, label = torch.rand(2, 3, 310, 300), torch.tensor([1, 4])
    raw: list[Any] = []
    method.task_network.register_forward_hook(lambda module, given, answer: raw.append(answer))
    output = method.train()(image, label)
    both = raw[0]
    assert isinstance(both, WithAuxiliary)
    assert torch.equal(output.prediction, both.numbers)
    expected = task.loss(both.numbers, label) + AUXILIARY_WEIGHT * task.loss(both.auxiliary, label)
    assert output.loss is not None
    torch.testing.assert_close(output.loss, expected)
    assert conclude(both, task=task, target=None)[1] is None
    with torch.no_grad():
        output = method.eval()(image, label)
    assert isinstance(raw[1], Tensor)
    assert output.loss is not None
    torch.testing.assert_close(output.loss, task.loss(raw[1], label))
