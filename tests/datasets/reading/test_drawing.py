"""The bits that examples are drawn from, and the digits."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_digits

from zoombench.datasets.reading.drawing import DIGITS, SPLITS, Drawn, labels, sprite
from zoombench.harness import lookup


@dataclass(frozen=True)
class Config:
    """As much as a drawn dataset's settings have in common."""

    train_examples: int = 50
    validation_examples: int = 20
    test_examples: int = 30
    seed: int = 3


def drawn(split: str = "train", **settings: int) -> Drawn:
    return Drawn("plain", Config(**settings), split)


@pytest.mark.parametrize("split", SPLITS)
def test_words_are_those_of_a_new_philox(split: str) -> None:
    dataset = drawn(split)
    dataset.set_epoch(2)
    key = np.array([3, SPLITS.index(split)], dtype=np.uint64)
    for index, count in ((7, 5), (0, 1), (19, 40), (7, 3)):  # in any order, each from its own beginning
        counter = np.array([0, index, 2 if split == "train" else 0, 0], dtype=np.uint64)
        assert (dataset.words(index, count) == np.random.Philox(key=key, counter=counter).random_raw(count)).all()


def test_seeds_splits_epochs_and_examples_share_no_words() -> None:
    late = drawn()
    late.set_epoch(1)
    sets = [drawn(), late, drawn("validation"), drawn("test"), drawn(seed=4)]
    words = [int(word) for dataset in sets for index in range(20) for word in dataset.words(index, 50)]
    assert len(set(words)) == len(words)


def test_threads_do_not_disturb_one_another() -> None:
    dataset = drawn(train_examples=400)
    alone = [dataset.words(index, 30).tolist() for index in range(400)]
    found: dict[int, list[list[int]]] = {}

    def draw(number: int) -> None:
        found[number] = [dataset.words(index, 30).tolist() for index in range(400)]

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == [alone] * 4


def test_integers_fill_their_ranges_evenly() -> None:
    ranges = np.array([1, 2, 7, 2**32], dtype=np.uint64)
    dataset = drawn(train_examples=7000)
    columns = np.array([dataset.integers(index, ranges) for index in range(7000)]).T
    assert set(columns[0]) == {0}
    for column, count in ((columns[1], 2), (columns[2], 7)):
        assert np.bincount(column, minlength=count).min() > 0.9 * 7000 / count
        assert column.max() == count - 1
    assert 0 <= columns[3].min() < 2**22
    assert 2**32 - 2**22 < columns[3].max() < 2**32


def test_an_unknown_split_and_an_example_too_far_are_refused() -> None:
    with pytest.raises(ValueError, match="plain has no split 'val'; it has train, validation, test"):
        drawn("val")
    for index in (-1, 20):
        with pytest.raises(IndexError, match=f"example {index} of 20 in the validation split"):
            drawn("validation").words(index, 1)


def test_every_digit_is_in_one_split() -> None:
    positions = [at for split in SPLITS for at in range(*DIGITS[split])]
    assert positions == list(range(1797))


def test_a_sprite_at_its_own_size_is_the_source_and_larger_ones_keep_its_light() -> None:
    source = load_digits()
    assert list(labels()) == source.target.tolist()
    for at in (0, 500, 1796):
        assert (sprite(at, 8) == (source.images[at] * 255 / 16).round()).all()
        assert sprite(at, 40).mean() == pytest.approx(sprite(at, 8).mean(), rel=0.05)


@pytest.mark.parametrize("name", ["cluttered_digits", "counting", "synthetic_gaze", "tiny_part"])
def test_every_embedded_set_says_its_terms(name: str) -> None:
    terms = lookup.load("dataset", name).TERMS
    assert set(terms) == {"access", "homepage", "terms", "citation"}
    assert terms["access"] == "embedded"
    assert terms["terms"]
    assert terms["citation"]
