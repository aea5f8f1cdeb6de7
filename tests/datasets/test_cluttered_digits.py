"""What is particular to the cluttered digits."""

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from zoombench.datasets.cluttered_digits import Config, build, pair_class, task
from zoombench.datasets.reading.drawing import SPLITS, labels, sprite
from zoombench.harness import lookup

SMALL = Config(canvas=64, train_examples=600, validation_examples=200, test_examples=400)
PAIRS = replace(SMALL, digits=2)


def test_splits_share_no_source_digit_not_even_a_fragment() -> None:
    used = {}
    for split in SPLITS:
        dataset = build(PAIRS, None, split, 16)
        used[split] = {source for index in range(len(dataset)) for source in dataset.sources(index)}
    assert not used["train"] & used["validation"]
    assert not used["validation"] & used["test"]
    assert not used["train"] & used["test"]
    assert all(len(sources) > 150 for sources in used.values())  # so the sets are not disjoint by being small


def test_fragments_come_from_other_digits_than_the_one_shown() -> None:
    for config in (SMALL, PAIRS):
        dataset = build(config, None, "validation", 16)
        for index in range(len(dataset)):
            sources = dataset.sources(index)
            shown = sources[: dataset.digits]
            assert len(set(shown)) == dataset.digits
            assert not set(shown) & set(sources[dataset.digits :])


@pytest.mark.parametrize("config", [SMALL, PAIRS, Config(canvas=40, digit=20, digits=2)])
def test_without_clutter_all_that_is_drawn_lies_in_the_boxes(config: Config) -> None:
    dataset = build(replace(config, distractors=0), None, "train", 16)
    for index in range(100):
        image = dataset[index][0]["image"].clone()
        for x0, y0, x1, y1 in dataset[index][0]["boxes"].int().tolist():
            assert (x1 - x0, y1 - y0) == (config.digit, config.digit)
            assert 0 <= x0 < x1 <= config.canvas
            assert 0 <= y0 < y1 <= config.canvas
            assert image[:, y0:y1, x0:x1].max() > 200
            image[:, y0:y1, x0:x1] = 0
        assert not image.any()


def test_the_target_is_the_class_of_the_source() -> None:
    digits = load_digits().target.tolist()
    one = build(SMALL, None, "test", 16)
    combine, ordered, added = (
        build(replace(SMALL, digits=word), None, "test", 16) for word in ("combine", "ordered", "sum")
    )
    for index in range(100):
        assert one[index][1] == digits[one.sources(index)[0]]
        first, second = (digits[source] for source in combine.sources(index)[:2])
        assert combine[index][1] == pair_class(first, second)
        assert ordered[index][1] == 10 * first + second
        assert added[index][1] == first + second


@pytest.mark.parametrize("digits", ["combine", "ordered", "sum"])
def test_whatever_is_asked_of_two_digits_the_pictures_are_the_same(digits: Any) -> None:
    two, other = build(PAIRS, None, "test", 16), build(replace(SMALL, digits=digits), None, "test", 16)
    for index in range(20):
        assert torch.equal(two[index][0]["image"], other[index][0]["image"])
        assert torch.equal(two[index][0]["boxes"], other[index][0]["boxes"])


def test_the_left_one_of_an_ordered_pair_has_the_tens() -> None:
    dataset = build(replace(SMALL, digits="ordered", distractors=0), None, "test", 16)
    for index in range(20):
        tensors, target = dataset[index]
        x0, y0, x1, y1 = tensors["boxes"][0].int().tolist()
        cut = tensors["image"][0, y0:y1, x0:x1].numpy()
        tens = {labels()[source] for source in range(1400, 1797) if (sprite(source, 16) == cut).all()}
        assert tens == {target // 10}


def test_combine_is_the_same_trial_as_two() -> None:
    resolve = lookup.declaration("dataset", "cluttered_digits").resolve
    assert resolve({"digits": "combine"}) == resolve({"digits": 2})
    assert resolve({"digits": "combine"})["digits"] == 2


def test_a_canvas_may_be_as_large_as_the_papers() -> None:
    tensors, _ = build(Config(canvas=3000, digit=200, distractors=8), None, "train", 16)[0]
    assert tensors["image"].shape == (3, 3000, 3000)
    x0, y0, x1, y1 = tensors["boxes"][0].int().tolist()
    assert tensors["image"][0, y0:y1, x0:x1].max() > 200


def test_boxes_of_a_pair_go_from_left_to_right_and_share_no_column() -> None:
    dataset = build(PAIRS, None, "train", 16)
    for index in range(200):
        left, right = dataset[index][0]["boxes"]
        assert left[2] <= right[0]


def test_pairs_have_fifty_five_classes_whichever_digit_comes_first() -> None:
    classes = [pair_class(first, second) for first in range(10) for second in range(first, 10)]
    assert classes == list(range(55))
    assert all(pair_class(a, b) == pair_class(b, a) for a in range(10) for b in range(10))
    questions: tuple[Any, ...] = (1, 2, "combine", "ordered", "sum")
    assert [task(replace(SMALL, digits=one)).classes for one in questions] == [10, 55, 55, 100, 19]


def test_every_class_and_every_place_is_drawn() -> None:
    dataset = build(replace(SMALL, train_examples=4000), None, "train", 16)
    plans = dataset._plan(range(len(dataset)))[0][:, 0].tolist()
    classes = Counter(labels()[source] for source, _, _ in plans)
    assert set(classes) == set(range(10))
    assert max(classes.values()) < 1.5 * min(classes.values())
    for axis in (1, 2):
        assert {plan[axis] for plan in plans} == set(range(64 - 16 + 1))


def test_distractors_add_light_outside_the_box() -> None:
    bare, full = (build(replace(SMALL, distractors=count), None, "train", 16) for count in (0, 8))
    more = [full[index][0]["image"].sum() > bare[index][0]["image"].sum() for index in range(20)]
    assert sum(bool(one) for one in more) >= 19


def test_another_seed_gives_other_examples() -> None:
    one, other = build(SMALL, None, "train", 16), build(replace(SMALL, seed=1), None, "train", 16)
    assert not any(torch.equal(one[index][0]["image"], other[index][0]["image"]) for index in range(20))


def test_the_number_of_examples_does_not_change_the_examples() -> None:
    few, many = build(SMALL, None, "train", 16), build(replace(SMALL, train_examples=5000), None, "train", 16)
    assert all(torch.equal(few[index][0]["image"], many[index][0]["image"]) for index in range(20))


# sha256 over image, boxes and target of examples 0, 1 and 99; numpy 2.4.6, Pillow 13.0, scikit-learn 1.9.1, x86-64:
#   for index in (0, 1, 99): hash.update(image[0].tobytes() + boxes.tobytes() + bytes([target]))
# The bits come from Philox, the sprites from Pillow's integer filter: a platform that differs draws other examples.
GOLDEN = {
    ("train", 0, 1): "42a5f212dc40dcf688273647f8caee4b4cb9f40b3b89d239cf587a96cea5dbf4",
    ("train", 3, 1): "5c4f608b8fc03fe7b3519ad6e4608ce173a5413c6a543ce16b4d1af04f21722f",
    ("validation", 0, 1): "116f8ec0bb7ddb94caaa98b42a7ef454d198fc23d2a4d1ddad10c0bf122835e3",
    ("test", 0, 1): "4fcf46a159f0d1c17dc4504d4b7a4eae14e62503b7796fc95e2ae590be3a0de7",
    ("test", 0, 2): "98135614668f09c69509df4165f2c1c38d6a51821c74919dcfed8de45518d898",
}


@pytest.mark.parametrize(("split", "epoch", "digits"), GOLDEN)
def test_every_platform_draws_the_same_examples(split: str, epoch: int, digits: Any) -> None:
    dataset = build(Config(digits=digits), None, split, 16)
    dataset.set_epoch(epoch)
    content = hashlib.sha256()
    for index in (0, 1, 99):
        tensors, target = dataset[index]
        content.update(tensors["image"][0].numpy().tobytes() + tensors["boxes"].numpy().tobytes() + bytes([target]))
    assert content.hexdigest() == GOLDEN[split, epoch, digits]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"digit": 7}, "digit is 7 px: the source digits have 8"),
        ({"canvas": 15}, r"1 digit\(s\) of 16 px do not fit side by side on a canvas of 15 px"),
        ({"canvas": 31, "digits": 2}, r"2 digit\(s\) of 16 px do not fit side by side on a canvas of 31 px"),
        ({"distractors": -1}, "distractors is -1: it cannot be negative"),
        ({"test_examples": 0}, "test_examples is 0: it must be at least 1"),
        ({"seed": -1}, "seed is -1: it must be between 0 and"),
    ],
)
def test_a_setting_that_cannot_be_drawn_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
