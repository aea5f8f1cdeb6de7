"""What is particular to counting."""

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from zoombench.datasets.counting import Config, build, task
from zoombench.datasets.reading.drawing import labels, sprite

SMALL = Config(canvas=64, digit=12, train_examples=2000, validation_examples=100, test_examples=300)


def test_the_answer_is_the_number_of_zeros() -> None:
    dataset = build(Config(), None, "test", 16)
    for index in range(100):
        shown = [labels()[source] for source in dataset.sources(index)]
        assert len(shown) == 6
        tensors, target = dataset[index]
        assert target == shown.count(0)
        assert tensors["counted"].tolist() == [int(one == 0) for one in shown]


def test_every_thing_is_whole_in_its_box_and_no_two_overlap() -> None:
    for config in (Config(), SMALL, Config(canvas=100, digit=20, things=12), Config(canvas=16, digit=8, things=2)):
        dataset = build(config, None, "train", 16)
        for index in range(50):
            image = dataset[index][0]["image"][0].clone()
            boxes = dataset[index][0]["boxes"].int().tolist()
            assert len(boxes) == config.things
            assert boxes == sorted(boxes)
            for source, (x0, y0, x1, y1) in zip(dataset.sources(index), boxes, strict=True):
                assert (image[y0:y1, x0:x1].numpy() == sprite(source, config.digit)).all()
                image[y0:y1, x0:x1] = 0  # so that what another one overlaps is missed
            assert not image.any()


def test_instances_say_whose_ink_each_pixel_is() -> None:
    dataset = build(Config(), None, "train", 16)
    for index in range(20):
        tensors, _ = dataset[index]
        assert torch.equal(tensors["instances"] > 0, tensors["image"][0] > 0)
        for number, (x0, y0, x1, y1) in enumerate(tensors["boxes"].int().tolist(), start=1):
            inside = tensors["instances"][y0:y1, x0:x1]
            assert set(inside.unique().tolist()) <= {0, number}
            assert (inside == number).sum() == (tensors["instances"] == number).sum() > 0


def test_examples_of_every_number_collate() -> None:
    dataset = build(SMALL, None, "train", 16)
    inputs, targets = default_collate([dataset[index] for index in range(64)])
    assert set(targets.tolist()) == set(range(7))
    assert inputs["boxes"].shape == (64, 6, 4)
    assert inputs["counted"].sum(dim=1).tolist() == targets.tolist()
    assert inputs["instances"].shape == (64, 64, 64)


def test_every_number_and_every_cell_comes_equally_often() -> None:
    dataset = build(SMALL, None, "train", 16)
    targets = Counter(sum(zero for *_, zero in dataset._plan(index)) for index in range(len(dataset)))
    assert set(targets) == set(range(7))
    assert max(targets.values()) < 1.4 * min(targets.values())
    cells = Counter((x // 16, y // 16) for index in range(len(dataset)) for x, y, *_ in dataset._plan(index))
    assert len(cells) == 16
    assert max(cells.values()) < 1.2 * min(cells.values())


def test_zeros_lie_where_the_others_do() -> None:
    dataset = build(SMALL, None, "train", 16)
    mean = {}
    for wanted in (0, 1):
        places = [(x, y) for i in range(len(dataset)) for x, y, _, zero in dataset._plan(i) if zero == wanted]
        mean[wanted] = torch.tensor(places).double().mean(dim=0)
    assert (mean[0] - mean[1]).abs().max() < 1  # px; three standard deviations


def test_splits_share_no_source_digit() -> None:
    used = {}
    for split in ("train", "validation", "test"):
        dataset = build(SMALL, None, split, 16)
        used[split] = {source for index in range(len(dataset)) for source in dataset.sources(index)}
        assert len(used[split]) > 100
    assert not used["train"] & used["validation"]
    assert not used["validation"] & used["test"]
    assert not used["train"] & used["test"]


def test_another_seed_gives_other_examples() -> None:
    one, other = build(SMALL, None, "train", 16), build(replace(SMALL, seed=1), None, "train", 16)
    assert not any(torch.equal(one[index][0]["image"], other[index][0]["image"]) for index in range(20))


def test_the_task_has_a_class_for_each_number_from_zero() -> None:
    assert task(Config(things=4)).classes == 5


# sha256 over all tensors, by name, and the target of examples 0, 1 and 99; numpy 2.4.6, Pillow 13.0, scikit-learn
# 1.9.1, x86-64. The bits come from Philox, the sprites from Pillow's integer filter: a platform that differs draws
# other examples.
GOLDEN = {
    ("train", 0): "0f57d5de036b91a800413af2d6a9cb9f2959530b0e8a45a13c679e02bc82bed4",
    ("train", 3): "cff07550cba77045bd12aa7085a8a69a81febf4f8ce980a60b3ff9fa81145343",
    ("validation", 0): "1fb0be607293bbba0fa533b5ae22e107d2693122a9814c51399b0a4ebad0bcae",
    ("test", 0): "7d43b8fce3025bc089e6baec7a783deceb46669283bd8cbfdc7d84dbfc8bb3de",
}


@pytest.mark.parametrize(("split", "epoch"), GOLDEN)
def test_every_platform_draws_the_same_examples(split: str, epoch: int) -> None:
    dataset = build(Config(), None, split, 16)
    dataset.set_epoch(epoch)
    content = hashlib.sha256()
    for index in (0, 1, 99):
        tensors, target = dataset[index]
        for name in sorted(tensors):
            content.update(tensors[name].contiguous().numpy().tobytes())
        content.update(bytes([target]))
    assert content.hexdigest() == GOLDEN[split, epoch]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"digit": 7}, "digit is 7 px: the source digits have 8"),
        ({"things": 0}, "things is 0: it lies between 1 and 32767"),
        ({"things": 32768}, "things is 32768: it lies between 1 and 32767"),
        ({"canvas": 63}, "6 digits of 16 px, in 4 x 4 cells, do not fit a canvas of 63 px"),
        ({"test_examples": 0}, "test_examples is 0: it must be at least 1"),
        ({"seed": -1}, "seed is -1: it must be between 0 and"),
    ],
)
def test_a_setting_that_cannot_be_drawn_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
