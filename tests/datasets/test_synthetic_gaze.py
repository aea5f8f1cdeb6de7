"""What is particular to synthetic gaze."""

import hashlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoombench.baselines.layers.resample import box_grid, resample
from zoombench.datasets.synthetic_gaze import CELLS, FINE, SCREEN, Config, Ellipse, SyntheticGaze, _lay, build, task

CLEAR = Config(noise=0)


def pupil(tensors: dict[str, Tensor], which: int) -> tuple[float, float, float]:
    """Found in the picture: the middle of what is black within an eye, from the eye's middle, and the eye's width."""
    image, (x0, y0, x1, y1) = tensors["image"][0].double(), tensors["boxes"][which].tolist()
    eye = (x1 - x0) / 1.25
    at = torch.arange(len(image)) + 0.5
    x, y = at - (x0 + x1) / 2, at - (y0 + y1) / 2
    inside = ((x / (0.5 * eye)) ** 2 + ((y / (0.4 * eye)) ** 2)[:, None]) < 1
    black = (70 - image).clamp(min=0) * inside
    right, down = (black * x).sum() / black.sum(), (black * y[:, None]).sum() / black.sum()
    return float(right), float(down), eye


@pytest.mark.parametrize("which", [0, 1])
def test_the_pupils_alone_say_the_target(which: int) -> None:
    dataset = build(replace(CLEAR, canvas=420, eye=60), None, "train", 16)
    for index in range(60):
        tensors, target = dataset[index]
        right, down, eye = pupil(tensors, which)
        # Their play is a quarter of the eye's width to either side, and three sixteenths up and down.
        seen = torch.tensor([-10 * right / (eye / 4), -7.5 * (1 + down / (eye * 3 / 16))])
        torch.testing.assert_close(seen, target, rtol=0, atol=0.35)  # in a corner it is not all inside


def test_targets_fill_the_screen_and_nothing_else_says_where() -> None:
    dataset = build(Config(canvas=56, eye=8), None, "test", 16)
    examples = [dataset[index] for index in range(len(dataset))]
    x0, y0, x1, y1 = SCREEN
    targets = torch.stack([target for _, target in examples])
    share = (targets - torch.tensor([x0, y0])) / torch.tensor([x1 - x0, y1 - y0])
    assert share.min() >= 0
    assert share.max() <= 1
    for axis in (0, 1):
        counts = torch.histc(share[:, axis], bins=8, min=0, max=1)
        assert counts.min() > 0.8 * len(dataset) / 8
    boxes = torch.stack([tensors["boxes"].flatten() for tensors, _ in examples])
    light = torch.stack([tensors["image"][0, :: 56 - 1, :: 56 - 1].flatten().float() for tensors, _ in examples])
    together = torch.corrcoef(torch.cat((share, boxes, light), dim=1).T)
    assert together[:2, 2:].abs().max() < 0.07  # three standard deviations of an independent pair
    assert together[0, 1].abs() < 0.07


def test_the_task_is_gaze_within_the_screen() -> None:
    assert task(Config()).screen == SCREEN
    assert task(Config()).metric.unit == "cm"


def test_left_is_the_subjects_left_which_is_right_in_the_frame() -> None:
    dataset = build(CLEAR, None, "validation", 16)
    for index in range(20):
        tensors, _ = dataset[index]
        assert tensors["boxes"][0, 0] < tensors["boxes"][1, 0]
        for name, box in (("eye_right", tensors["boxes"][:1]), ("eye_left", tensors["boxes"][1:])):
            grid = box_grid(box, image_hw=(128, 128), size=(32, 32))
            cut = resample(tensors["image"][None].float(), grid)[0]
            torch.testing.assert_close(tensors[name].float(), cut, rtol=0, atol=1.5)


def face_box(tensors: dict[str, Tensor]) -> tuple[float, float, float, float]:
    """Six eyes a side, around the middle of both eyes."""
    (x0, y0, _, y1), x1 = tensors["boxes"][0].tolist(), float(tensors["boxes"][1, 2])
    x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, 3 * (y1 - y0) / 1.25
    return x - half, y - half, x + half, y + half


def test_the_face_lies_in_its_crop_and_in_its_grid() -> None:
    dataset = build(CLEAR, None, "train", 16)
    cell = 128 / CELLS
    for index in range(40):
        tensors, _ = dataset[index]
        x0, y0, x1, y1 = face_box(tensors)
        assert min(x0, y0) > -0.1
        assert max(x1, y1) < 128.1
        for row in range(CELLS):
            for column in range(CELLS):
                # An edge within 0.2 px of a cell's may count either way: the box was found from rounded boxes.
                overlap = min(
                    min(x1, (column + 1) * cell) - max(x0, column * cell),
                    min(y1, (row + 1) * cell) - max(y0, row * cell),
                )
                if abs(overlap) > 0.2:
                    assert tensors["face_grid"][row, column] == float(overlap > 0)
        box = torch.tensor([[x0, y0, x1, y1]])
        cut = resample(tensors["image"][None].float(), box_grid(box, image_hw=(128, 128), size=(64, 64)))[0]
        assert (tensors["face"].float() - cut).abs().mean() < 3


def test_an_ellipse_has_its_area_and_a_mirrored_place_mirrors_it() -> None:
    for across, down, x, y in ((10.0, 6.0, 20.3, 19.8), (1.5, 4.25, 12.0, 30.5), (0.7, 0.7, 8.4, 8.1)):
        left, right = (np.zeros((40, 40), dtype=np.int32) for _ in range(2))
        ax, dn, px, py = (round(FINE * length) for length in (across, down, x, y))
        _lay(left, [Ellipse(200, px, py, ax, dn)])
        assert left.sum() / 200 == pytest.approx(math.pi * across * down, rel=0.08)
        _lay(right, [Ellipse(200, 40 * FINE - px, py, ax, dn)])
        assert np.array_equal(left, right[:, ::-1])


def test_an_ellipse_that_reaches_over_the_edge_is_cut() -> None:
    frame = np.zeros((20, 20), dtype=np.int32)
    _lay(frame, [Ellipse(100, 0, 20 * FINE, 10 * FINE, 10 * FINE)])
    assert frame.sum() / 100 == pytest.approx(math.pi * 100 / 4, rel=0.02)


@pytest.mark.parametrize("noise", [1, 8, 127])
def test_noise_is_off_either_way_and_no_more_than_said(noise: int) -> None:
    bare, noisy = (build(replace(CLEAR, noise=level), None, "train", 16) for level in (0, noise))
    for index in range(5):
        off = noisy[index][0]["image"][0].int() - bare[index][0]["image"][0].int()
        assert off.abs().max() <= noise
        if noise < 30:  # more is cut at black
            assert (off.min(), off.max()) == (-noise, noise)
            assert off.float().mean().abs() < 0.1 * noise


@pytest.mark.parametrize(
    "config", [Config(canvas=28, eye=4), Config(canvas=84), Config(canvas=300, eye=40, eye_crop=1)]
)
def test_faces_of_every_size_are_drawn_whole(config: Config) -> None:
    dataset = build(replace(config, noise=0, seed=3), None, "train", 16)
    for index in range(50):
        tensors, _ = dataset[index]
        assert tensors["image"].shape == (3, config.canvas, config.canvas)
        assert tensors["face"].shape == (3, config.face_crop, config.face_crop)
        assert tensors["eye_left"].shape == (3, config.eye_crop, config.eye_crop)
        x0, y0, x1, y1 = face_box(tensors)
        assert -0.2 < min(x0, y0) < max(x1, y1) < config.canvas + 0.2


def test_another_seed_gives_other_examples() -> None:
    one, other = build(CLEAR, None, "train", 16), build(replace(CLEAR, seed=1), None, "train", 16)
    assert not any(torch.equal(one[index][1], other[index][1]) for index in range(20))


def test_the_number_of_examples_does_not_change_the_examples() -> None:
    few, many = build(CLEAR, None, "train", 16), build(replace(CLEAR, train_examples=5000), None, "train", 16)
    assert all(torch.equal(few[index][0]["image"], many[index][0]["image"]) for index in range(20))


# sha256 over all tensors, by name, and the target of examples 0, 1 and 99; numpy 2.4.6, Pillow 13.0, x86-64.
# The bits come from Philox, the frame from whole numbers, the crops from Pillow's integer filter: a platform that
# differs draws other examples.
GOLDEN = {
    ("train", 0): "63d04e2a08833cd77306aad807fecee493cc573811fa1001706dc3859cf6a1e7",
    ("train", 3): "db642508375cf64029b69414d1958d97959cf346aef8bea416104566b9473083",
    ("validation", 0): "4d1821586025a9270585364ce25d71dfe845b92d801fe594cc41054f94a339e1",
    ("test", 0): "2340b471ca220f1f311a7638a4f0def26906f8a81b80825f99c70ffda4888ae5",
}


def digest(dataset: SyntheticGaze) -> str:
    content = hashlib.sha256()
    for index in (0, 1, 99):
        tensors, target = dataset[index]
        for name in sorted(tensors):
            content.update(tensors[name].contiguous().numpy().tobytes())
        content.update(target.numpy().tobytes())
    return content.hexdigest()


@pytest.mark.parametrize(("split", "epoch"), GOLDEN)
def test_every_platform_draws_the_same_examples(split: str, epoch: int) -> None:
    dataset = build(Config(), None, split, 16)
    dataset.set_epoch(epoch)
    assert digest(dataset) == GOLDEN[split, epoch]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eye": 3}, "eye is 3 px: it is drawn from 4 px, for a pupil to be seen, to 1024 px"),
        ({"eye": 1025, "canvas": 9000}, "eye is 1025 px: it is drawn from 4 px"),
        ({"canvas": 83}, "a face with eyes of 12 px does not fit a frame of 83 px: 7 eyes are needed"),
        ({"noise": 128}, "noise is 128: it lies between 0 and 127 grey levels"),
        ({"eye_crop": 0}, "eye_crop is 0: it must be at least 1"),
        ({"test_examples": 0}, "test_examples is 0: it must be at least 1"),
        ({"seed": -1}, "seed is -1: it must be between 0 and"),
    ],
)
def test_a_setting_that_cannot_be_drawn_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
