"""What is particular to the tiny part."""

import hashlib
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zoombench.datasets.reading.drawing import labels, sprite
from zoombench.datasets.tiny_part import BODIES, DARK, HEAD, LIGHT, Config, _body, build, task

SMALL = Config(canvas=64, digit=8, train_examples=2000, validation_examples=200, test_examples=400)


def test_the_class_is_the_digit_in_the_box() -> None:
    dataset = build(Config(), None, "test", 16)
    for index in range(100):
        tensors, target = dataset[index]
        x0, y0, x1, y1 = tensors["boxes"][0].int().tolist()
        assert (x1 - x0, y1 - y0) == (16, 16)
        head = dataset.integers(index, dataset._ranges)[-1]
        ink = np.maximum(sprite(dataset.source(index), 16), head)
        assert np.array_equal(tensors["image"][0, y0:y1, x0:x1], ink)
        assert target == labels()[dataset.source(index)]


def test_without_the_digit_nothing_tells_the_classes_apart() -> None:
    dataset = build(replace(SMALL, train_examples=3000), None, "train", 16)
    drawn = np.array([dataset.integers(index, dataset._ranges) for index in range(len(dataset))])
    classes = np.array([labels()[source] for source in drawn[:, 0]])
    one_hot = (classes[:, None] == np.arange(10)).astype(float)
    together = np.corrcoef(np.hstack((one_hot, drawn[:, 1:])), rowvar=False)[:10, 10:]
    assert np.abs(together).max() < 0.08  # four standard deviations of an independent pair


def test_splits_share_no_source_digit() -> None:
    used = {}
    for split in ("train", "validation", "test"):
        dataset = build(SMALL, None, split, 16)
        used[split] = {dataset.source(index) for index in range(len(dataset))}
        assert len(used[split]) > 100
    assert not used["train"] & used["validation"]
    assert not used["validation"] & used["test"]
    assert not used["train"] & used["test"]


def test_every_class_body_and_pose_is_drawn() -> None:
    dataset = build(replace(SMALL, train_examples=4000), None, "train", 16)
    plans = [dataset.integers(index, dataset._ranges) for index in range(len(dataset))]
    classes = Counter(labels()[plan[0]] for plan in plans)
    assert set(classes) == set(range(10))
    assert max(classes.values()) < 1.5 * min(classes.values())
    assert {tuple(plan[1:5]) for plan in plans if plan[1] == 0} == {
        (0, a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)
    }
    assert {plan[1] for plan in plans} == set(range(BODIES))


@pytest.mark.parametrize("config", [Config(), SMALL, Config(canvas=64, digit=16), Config(canvas=500, digit=20)])
def test_body_and_head_are_drawn_whole(config: Config) -> None:
    for which in range(BODIES):
        body = _body(which, canvas=config.canvas, digit=config.digit)
        assert max(body.picture.shape) <= config.canvas
        assert (body.picture == HEAD).sum() == pytest.approx(math.pi * (0.75 * config.digit + 1) ** 2, rel=0.06)
        rows, columns = np.nonzero(body.picture == HEAD)
        assert (rows.mean(), columns.mean()) == pytest.approx((body.head_y, body.head_x), abs=0.6)
        assert (body.picture == LIGHT).any()
        assert (body.picture == DARK).any()
    dataset = build(config, None, "train", 16)
    for index in range(100):
        tensors, _ = dataset[index]
        assert tensors["image"].shape == (3, config.canvas, config.canvas)
        x0, y0, x1, y1 = tensors["boxes"][0].tolist()
        assert 0 <= min(x0, y0) < max(x1, y1) <= config.canvas


def test_the_body_is_much_larger_than_the_digit_and_no_two_are_the_same() -> None:
    pictures = [_body(which, canvas=128, digit=16).picture for which in range(BODIES)]
    assert min((picture > 0).sum() for picture in pictures) > 5 * 16**2
    assert len({(picture.shape, picture.tobytes()) for picture in pictures}) == BODIES


def test_another_seed_gives_other_examples() -> None:
    one, other = build(SMALL, None, "train", 16), build(replace(SMALL, seed=1), None, "train", 16)
    assert not any(torch.equal(one[index][0]["image"], other[index][0]["image"]) for index in range(20))


def test_the_task_has_a_class_for_each_digit() -> None:
    assert task(Config()).classes == 10


# sha256 over image, boxes and target of examples 0, 1 and 99; numpy 2.4.6, Pillow 13.0, scikit-learn 1.9.1, x86-64:
#   for index in (0, 1, 99): hash.update(image[0].tobytes() + boxes.tobytes() + bytes([target]))
# The bits come from Philox, the body from whole numbers, the sprites from Pillow's integer filter: a platform that
# differs draws other examples.
GOLDEN = {
    ("train", 0): "db1cd8260d61084349e27275cd212ef010a2d8bc3173e2d9e7c2085d0538b5a5",
    ("train", 3): "8eca24c062c63a564f774b7a2128e8b29cca67131900b5c69d30a5c4c10332a3",
    ("validation", 0): "7927a3cb0fd690d9e56a75b47ef163da8e97b9794fdad51aa9b3bd9d6866006f",
    ("test", 0): "b81dee8d2ec3f3660f15ad5039d9705fce6316ce9841ec3a7df298dd74d0fe20",
}


@pytest.mark.parametrize(("split", "epoch"), GOLDEN)
def test_every_platform_draws_the_same_examples(split: str, epoch: int) -> None:
    dataset = build(Config(), None, split, 16)
    dataset.set_epoch(epoch)
    content = hashlib.sha256()
    for index in (0, 1, 99):
        tensors, target = dataset[index]
        content.update(tensors["image"][0].numpy().tobytes() + tensors["boxes"].numpy().tobytes() + bytes([target]))
    assert content.hexdigest() == GOLDEN[split, epoch]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"digit": 7}, "digit is 7 px: the source digits have 8"),
        ({"canvas": 63}, "a digit of 16 px does not fit a canvas of 63 px: four digits a side are needed"),
        ({"test_examples": 0}, "test_examples is 0: it must be at least 1"),
        ({"seed": -1}, "seed is -1: it must be between 0 and"),
    ],
)
def test_a_setting_that_cannot_be_drawn_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
