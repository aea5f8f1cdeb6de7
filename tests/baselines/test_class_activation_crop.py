"""What is particular to the class activation crop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoombench.baselines import class_activation_crop
from zoombench.baselines.class_activation_crop import ClassActivationCrop, Config
from zoombench.baselines.layers.backbones import WithAuxiliary, task_network
from zoombench.baselines.layers.class_activation import ClassActivationNetwork, as_saliency, at_least, boxes_around
from zoombench.baselines.layers.resample import box_grid, identity_grid, overview, resample
from zoombench.harness.budget import Budget
from zoombench.harness.tasks import Classification, Gaze

TASK = Classification(classes=10)
BUDGET = Budget(image_size=12, epochs=1)


def method(budget: Budget = BUDGET, **settings: float) -> ClassActivationCrop:
    torch.manual_seed(0)
    return class_activation_crop.build(Config(**settings), TASK, budget)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(4, 3, 40, 60, generator=torch.Generator().manual_seed(0))


def test_the_second_pass_sees_the_box_cut_from_the_full_image(image: Tensor) -> None:
    crops = method(threshold=0.9).eval()
    (zoom,) = crops(image).zooms
    activation = crops.network.strongest_map(crops.network(overview(image, 12)).features)
    fine = torch.nn.functional.interpolate(activation[:, None], (12, 12), mode="bilinear", align_corners=False)[:, 0]
    boxes = at_least(boxes_around(fine, threshold=0.9), 0.1) * torch.tensor([60.0, 40.0, 60.0, 40.0])
    assert (boxes[:, 2:] - boxes[:, :2] < torch.tensor([40.0, 30.0])).any()
    grid = box_grid(boxes, image_hw=(40, 60), size=(12, 12))
    torch.testing.assert_close(zoom.grid, grid)
    torch.testing.assert_close(zoom.resampled, resample(image, grid))
    torch.testing.assert_close(crops(image).prediction, crops.network(zoom.resampled).numbers)
    assert zoom.saliency is not None
    torch.testing.assert_close(zoom.saliency, as_saliency(activation))


def test_the_loss_is_the_mean_of_both_passes(image: Tensor) -> None:
    crops, label = method(threshold=0.9).eval(), torch.tensor([1, 2, 3, 4])
    output = crops(image, label)
    first = TASK.loss(crops.network(overview(image, 12)).numbers, label)
    assert output.loss is not None
    torch.testing.assert_close(output.loss, (first + TASK.loss(output.prediction, label)) / 2)


def test_no_gradient_says_where_to_look(image: Tensor) -> None:
    assert not method()(image).zooms[0].grid.requires_grad


@pytest.mark.parametrize(
    ("whole_views", "stages"), [(0.5, [0, 0, 1, 1]), (0.0, [1, 1, 1, 1]), (1.0, [0, 0, 0, 0]), (0.9, [0, 0, 0, 1])]
)
def test_it_crops_from_the_second_stage_on(image: Tensor, whole_views: float, stages: list[int]) -> None:
    crops = method(whole_views=whole_views, threshold=0.9).eval()
    for epoch, cropping in enumerate(stages):
        crops.start_epoch(epoch, 4)
        (zoom,) = crops(image).zooms
        assert torch.equal(zoom.grid[0], identity_grid(12, 12)) != bool(cropping)
        if not cropping:
            torch.testing.assert_close(zoom.resampled, overview(image, 12))


def test_a_method_that_was_told_of_no_epoch_goes_on_in_the_stage_of_its_state(image: Tensor) -> None:
    first, other = method(), method()
    first.start_epoch(0, 4)
    other.load_state_dict(first.state_dict())
    assert torch.equal(other.eval()(image).zooms[0].grid[0], identity_grid(12, 12))


def test_the_chosen_class_has_the_highest_map_not_the_largest_number() -> None:
    network = ClassActivationNetwork(2, BUDGET)
    features = torch.zeros(1, 64, 3, 3)
    features[0, 0] = 1.0  # class 0: everywhere a little
    features[0, 1, 2, 1] = 5.0  # class 1: at one place, much
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.weight[0, 0] = network.head.weight[1, 1] = 1.0
    numbers = network.head.weight @ features.mean(dim=(2, 3))[0]
    assert numbers.argmax() == 0
    chosen = network.strongest_map(features)
    assert chosen[0, 2, 1] == 5
    assert chosen.sum() == 5


def test_a_map_without_a_positive_place_looks_at_the_whole() -> None:
    for value in (0.0, -1.0, torch.nan):
        assert boxes_around(torch.full((1, 4, 5), value), threshold=0.2).tolist() == [[0, 0, 1, 1]]
    for value in (0.0, -1.0):
        torch.testing.assert_close(as_saliency(torch.full((1, 4, 5), value)), torch.full((1, 1, 4, 5), 1 / 20))


def test_a_flat_map_looks_at_the_whole() -> None:
    assert boxes_around(torch.full((1, 4, 5), 0.3), threshold=0.2).tolist() == [[0, 0, 1, 1]]


def test_one_bright_place_hides_what_is_below_the_threshold() -> None:
    maps = torch.zeros(1, 4, 10)
    maps[0, 0, :5] = 0.2
    maps[0, 2, 8] = 1.0
    boxes = boxes_around(maps, threshold=0.2)
    torch.testing.assert_close(boxes, torch.tensor([[0.8, 0.5, 0.9, 0.75]]))


def test_a_part_of_one_place_is_not_magnified_without_end() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.51, 0.9], [0.0, 0.98, 0.01, 1.0], [0.3, 0.3, 0.8, 0.9]])
    wider = at_least(boxes, 0.25)
    expected = torch.tensor([[0.38, 0.5, 0.63, 0.9], [0.0, 0.75, 0.25, 1.0], [0.3, 0.3, 0.8, 0.9]])
    torch.testing.assert_close(wider, expected, rtol=0, atol=0.006)
    assert ((wider[:, 2:] - wider[:, :2]) >= 0.25 - 1e-6).all()


@pytest.mark.parametrize(("network", "size"), [("resnet18", 33), ("inception_v3", 299)])
def test_a_network_that_has_the_form_gives_its_own_answers(network: str, size: int) -> None:
    budget = Budget(image_size=size, task_network=network, epochs=1)
    view = torch.rand(2, 3, size, size)
    torch.manual_seed(3)
    whole = task_network(7, budget)
    torch.manual_seed(3)
    activated = ClassActivationNetwork(7, budget)
    with torch.no_grad():
        torch.testing.assert_close(activated.eval()(view).numbers, whole.eval()(view))
    if network == "inception_v3":
        numbers = activated.train()(view).numbers
        assert isinstance(numbers, WithAuxiliary)
        assert numbers.auxiliary.shape == numbers.numbers.shape == (2, 7)


@pytest.mark.parametrize(
    ("network", "size", "channels", "cells"),
    [("small", 24, 64, 6), ("alexnet", 227, 1024, 13), ("resnet18", 64, 512, 2)],
)
def test_the_head_is_one_linear_layer_on_the_mean_of_the_features(
    network: str, size: int, channels: int, cells: int
) -> None:
    activated = ClassActivationNetwork(7, Budget(image_size=size, task_network=network, epochs=1)).eval()
    with torch.no_grad():
        numbers, features = activated(torch.rand(2, 3, size, size))
        maps = torch.einsum("ck,nkyx->ncyx", activated.head.weight, features)
    assert features.shape == (2, channels, cells, cells)
    torch.testing.assert_close(numbers, maps.mean(dim=(2, 3)) + activated.head.bias, rtol=1e-4, atol=1e-5)


def test_weights_are_loaded_before_a_network_is_given_the_form(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = task_network(10, Budget(image_size=33, task_network="resnet18", epochs=1)).model
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    weights = str(tmp_path / "weights.pt")
    found = ClassActivationNetwork(10, Budget(image_size=33, task_network="resnet18", task_weights=weights, epochs=1))
    assert torch.equal(found.trunk.get_submodule("layer4.1.conv2").weight, trained.layer4[1].conv2.weight)
    assert torch.equal(found.head.weight, trained.fc.weight)


def test_a_task_without_classes_is_skipped() -> None:
    assert class_activation_crop.skip(TASK, BUDGET) is None
    assert class_activation_crop.skip(Gaze(), BUDGET) == "a class activation map needs classes"


def test_the_report_hears_that_the_network_is_another() -> None:
    assert "AlexNet" in class_activation_crop.remark(Config())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.0}, "threshold is 1.0: a share of the maximum lies from 0 to below 1"),
        ({"smallest_box": 0.0}, "smallest_box is 0.0: a share of the side lies above 0 and at most at 1"),
        ({"whole_views": 1.1}, "whole_views is 1.1: a share of the epochs lies from 0 to 1"),
    ],
)
def test_a_setting_that_cannot_work_says_why(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        Config(**settings)
