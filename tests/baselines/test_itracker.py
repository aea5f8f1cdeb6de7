"""iTracker: the published architecture, the mean images, the sizes of crops."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoombench.baselines import itracker
from zoombench.baselines.itracker import Config, ITracker, MeanImage, build, paper_trunk, remark
from zoombench.harness.budget import Budget
from zoombench.harness.errors import ShapeError
from zoombench.harness.tasks import Classification, Gaze

BUDGET = Budget(image_size=24, epochs=1)


def crops(sizes: tuple[int, int] = (40, 20), *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    face, eye = sizes
    return {
        "face": torch.rand(2, 3, face, face, generator=generator),
        "eye_left": torch.rand(2, 3, eye, eye, generator=generator),
        "eye_right": torch.rand(2, 3, eye, eye, generator=generator),
        "face_grid": (torch.rand(2, 25, 25, generator=generator) > 0.5).float(),
    }


@pytest.fixture(scope="module")
def paper() -> ITracker:
    torch.manual_seed(0)
    return build(Config(network="paper"), Gaze(), BUDGET).eval()


def test_the_papers_network_has_the_published_number_of_parameters(paper: ITracker) -> None:
    # Weights and biases, layer by layer, as Krafka et al. 2016 name them in section 4.1.
    convolutions = (
        (96 * 3 * 11 * 11 + 96)  # CONV-1
        + (256 * (96 // 2) * 5 * 5 + 256)  # CONV-2, in two groups
        + (384 * 256 * 3 * 3 + 384)  # CONV-3
        + (64 * 384 + 64)  # CONV-4, 1 x 1
    )
    assert convolutions == 1_252_160
    flat = 12 * 12 * 64
    fully_connected = (
        (2 * flat * 128 + 128)  # FC-E1, both eyes
        + (flat * 128 + 128)  # FC-F1
        + (128 * 64 + 64)  # FC-F2
        + (25 * 25 * 256 + 256)  # FC-FG1
        + (256 * 128 + 128)  # FC-FG2
        + ((128 + 64 + 128) * 128 + 128)  # FC1
        + (128 * 2 + 2)  # FC2
    )
    whole = 2 * convolutions + fully_connected  # one trunk for both eyes, one for the face
    assert whole == 6_286_274
    assert sum(parameter.numel() for parameter in paper.parameters()) == whole


def test_every_layer_of_the_papers_trunk_has_the_published_shape() -> None:
    view, shapes = torch.rand(1, 3, 224, 224), []
    for layer in paper_trunk():
        view = layer(view)
        shapes.append((type(layer).__name__, tuple(view.shape[1:])))
    assert shapes == [
        ("Conv2d", (96, 54, 54)),
        ("ReLU", (96, 54, 54)),
        ("MaxPool2d", (96, 26, 26)),
        ("LocalResponseNorm", (96, 26, 26)),
        ("Conv2d", (256, 26, 26)),
        ("ReLU", (256, 26, 26)),
        ("MaxPool2d", (256, 12, 12)),
        ("LocalResponseNorm", (256, 12, 12)),
        ("Conv2d", (384, 12, 12)),
        ("ReLU", (384, 12, 12)),
        ("Conv2d", (64, 12, 12)),
        ("ReLU", (64, 12, 12)),
        ("Flatten", (9216,)),
    ]


def normalised_over_channels(view: Tensor) -> Tensor:
    """Krizhevsky et al. 2012, section 3.3, with Caffe's alpha / n: n = 5, k = 1, alpha = 0.0001, beta = 0.75."""
    result, channels = torch.empty_like(view), view.shape[1]
    for channel in range(channels):
        near = [view[:, other] ** 2 for other in range(max(0, channel - 2), min(channels, channel + 3))]
        result[:, channel] = view[:, channel] / (1 + 0.0001 / 5 * sum(near)) ** 0.75
    return result


def test_the_papers_trunk_computes_what_its_layers_say_one_by_one() -> None:
    torch.manual_seed(1)
    trunk = paper_trunk().double()
    first, second, third, fourth = (layer for layer in trunk if isinstance(layer, nn.Conv2d))
    image = 40 * torch.rand(2, 3, 224, 224, dtype=torch.float64)  # large, so that the normalisation changes something
    view = functional.relu(functional.conv2d(image, first.weight, first.bias, stride=4))
    view = normalised_over_channels(functional.max_pool2d(view, 3, 2))
    halves = zip(view.chunk(2, dim=1), second.weight.chunk(2), second.bias.chunk(2), strict=True)
    view = functional.relu(torch.cat([functional.conv2d(*half, padding=2) for half in halves], dim=1))
    view = normalised_over_channels(functional.max_pool2d(view, 3, 2))
    view = functional.relu(functional.conv2d(view, third.weight, third.bias, padding=1))
    view = functional.relu(torch.einsum("bchw,oc->bohw", view, fourth.weight[..., 0, 0]) + fourth.bias[:, None, None])
    torch.testing.assert_close(trunk(image), view.flatten(1))


def test_the_papers_network_takes_crops_of_any_size_whatever_the_budget(paper: ITracker) -> None:
    for sizes in ((224, 224), (300, 32)):
        assert paper(**crops(sizes)).prediction.shape == (2, 2)


@pytest.mark.parametrize("network", ["paper", "small"])
def test_both_eyes_pass_through_the_same_weights(network: str) -> None:
    torch.manual_seed(0)
    tracker = build(Config(network=network), Gaze(), BUDGET).eval()  # type: ignore[arg-type]
    given = crops()
    swapped = given | {"eye_left": given["eye_right"], "eye_right": given["eye_left"]}
    before = tracker(**given).prediction
    assert not torch.allclose(tracker(**swapped).prediction, before, rtol=0, atol=1e-5)
    joined = tracker.eyes[0]  # the first layer that tells them apart
    with torch.no_grad():
        joined.weight.copy_(torch.cat(joined.weight.chunk(2, dim=1)[::-1], dim=1))
    torch.testing.assert_close(tracker(**swapped).prediction, before)


@pytest.mark.parametrize("name", itracker.INPUTS)
def test_every_input_matters(name: str) -> None:
    torch.manual_seed(0)
    tracker = build(Config(), Gaze(), BUDGET).eval()
    given = crops()
    other = given | {name: crops(seed=1)[name]}
    assert not torch.allclose(tracker(**given).prediction, tracker(**other).prediction, rtol=0, atol=1e-5)


def test_a_mean_image_is_the_mean_of_all_it_was_trained_on() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(size, 3, 6, 6, generator=generator) for size in (5, 1, 64, 3)]
    layer = MeanImage(6)
    for batch in batches:
        centred = layer(batch)
    mean = torch.cat(batches).mean(dim=0)
    torch.testing.assert_close(layer.mean, mean)
    torch.testing.assert_close(centred, batches[-1] - mean)
    layer.eval()
    torch.testing.assert_close(layer(batches[0] + 1), batches[0] + 1 - mean)
    torch.testing.assert_close(layer.mean, mean)


def test_a_mean_image_goes_on_from_its_saved_state_to_the_same_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(7, 3, 6, 6, generator=generator) for _ in range(4)]
    whole, begun, resumed = MeanImage(6), MeanImage(6), MeanImage(6)
    for batch in batches:
        whole(batch)
    for batch in batches[:2]:
        begun(batch)
    resumed.load_state_dict(begun.state_dict())
    for batch in batches[2:]:
        resumed(batch)
    assert torch.equal(resumed.mean, whole.mean)


def test_a_mean_image_stays_in_float32_under_mixed_precision() -> None:
    layer = MeanImage(6)
    layer(torch.rand(4, 3, 6, 6).bfloat16())
    assert layer.mean.dtype == torch.float32


def test_it_answers_whatever_task_has_these_inputs() -> None:
    output = build(Config(), Classification(classes=7), BUDGET)(**crops(), target=torch.tensor([3, 6]))
    assert output.prediction.shape == (2, 7)
    assert output.loss is not None
    assert output.zooms == ()


def test_a_face_grid_of_another_size_is_refused() -> None:
    given = crops() | {"face_grid": torch.zeros(2, 20, 25)}
    with pytest.raises(ShapeError, match=r"face_grid is \(20, 25\); expected \(25, 25\) for each example"):
        build(Config(), Gaze(), BUDGET)(**given)


def test_the_report_says_that_it_is_told_where_to_look() -> None:
    assert "is given crops of the face and of both eyes" in remark(Config())
    assert "224 px" in remark(Config(network="paper"))
