"""Where views are taken: laws of the boxes, and the draws behind them."""

import collections

import pytest

from zoombench.datasets.reading.records import Record, carved
from zoombench.datasets.reading.splits import check_split, held_out, ranked
from zoombench.datasets.reading.views import DRAWS, draws, is_mirrored, place, random_resized


def boxes(width: int, height: int, count: int = 300) -> list[tuple[float, float, float, float]]:
    return [random_resized(width, height, draws(0, epoch=0, index=index)) for index in range(count)]


@pytest.mark.parametrize(("width", "height"), [(800, 600), (500, 500), (90, 700), (700, 10)])
def test_a_random_view_lies_in_the_image_and_keeps_the_bounds_of_its_shape(width: int, height: int) -> None:
    for x0, y0, x1, y1 in boxes(width, height):
        assert 0 <= x0 < x1 <= width + 1e-9
        assert 0 <= y0 < y1 <= height + 1e-9
        assert 3 / 4 - 1e-9 <= (x1 - x0) / (y1 - y0) <= 4 / 3 + 1e-9


def test_a_random_view_covers_eight_percent_and_more() -> None:
    shares = [(x1 - x0) * (y1 - y0) / 500**2 for x0, y0, x1, y1 in boxes(500, 500, 1000)]
    assert 0.08 <= min(shares) < 0.1
    assert max(shares) > 0.9


def test_random_views_agree_with_torchvisions_in_distribution() -> None:
    import torch
    from torchvision.transforms import RandomResizedCrop

    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.zeros(1, 600, 800)
        theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    ours = boxes(800, 600, 2000)
    for mine, other in (
        ([x1 - x0 for x0, _, x1, _ in ours], [w for _, _, _, w in theirs]),
        ([y1 - y0 for _, y0, _, y1 in ours], [h for _, _, h, _ in theirs]),
        ([x0 for x0, _, _, _ in ours], [left for _, left, _, _ in theirs]),
        ([y0 for _, y0, _, _ in ours], [top for top, _, _, _ in theirs]),
    ):
        for share in (0.1, 0.5, 0.9):
            at = int(share * 2000)
            assert sorted(mine)[at] == pytest.approx(sorted(other)[at], abs=30)


def test_a_box_is_placed_left_or_right_or_in_the_middle() -> None:
    assert place(100, 60, wide=20.0, tall=10.0) == (40, 25, 60, 35)
    assert place(100, 60, wide=20.0, tall=10.0, at=(0.0, 0.0)) == (0, 0, 20, 10)
    assert place(100, 60, wide=20.0, tall=10.0, at=(1.0, 1.0)) == (80, 50, 100, 60)
    assert place(100, 60, wide=100.0, tall=100.0) == (0, -20, 100, 80)


def test_draws_depend_on_seed_epoch_and_index_and_on_nothing_else() -> None:
    one = draws(3, epoch=1, index=2)
    assert one == draws(3, epoch=1, index=2)
    assert len(one) == DRAWS
    assert all(0 <= number < 1 for number in one)
    others = [draws(4, epoch=1, index=2), draws(3, epoch=2, index=2), draws(3, epoch=1, index=3)]
    others.append(draws(3, epoch=2, index=1))
    assert all(not set(one) & set(other) for other in others)


def test_half_of_the_views_are_mirrored() -> None:
    assert sum(is_mirrored(draws(0, epoch=0, index=index)) for index in range(2000)) == pytest.approx(1000, abs=80)


def test_draws_are_the_same_on_every_platform() -> None:
    # numpy 2.4.6, x86-64: draws(7, epoch=2, index=11)[:3]
    assert draws(7, epoch=2, index=11)[:3] == [0.7760086190381282, 0.3529000316167604, 0.8138220495035077]


LABELS = {key: key % 5 for key in range(100)}


def test_the_held_out_examples_are_so_many_of_each_class() -> None:
    chosen = held_out(LABELS, per_class=3, seed=0)
    assert collections.Counter(LABELS[key] for key in chosen) == dict.fromkeys(range(5), 3)


def test_the_held_out_examples_do_not_depend_on_order_or_on_other_classes() -> None:
    chosen = held_out(LABELS, per_class=3, seed=0)
    assert held_out(dict(reversed(LABELS.items())), per_class=3, seed=0) == chosen
    first = {key: label for key, label in LABELS.items() if label == 0}
    assert held_out(first, per_class=3, seed=0) == chosen & first.keys()
    assert held_out(LABELS, per_class=3, seed=1) != chosen


def test_a_class_keeps_one_example_for_training() -> None:
    assert held_out({1: 0}, per_class=3, seed=0) == set()
    assert len(held_out({1: 0, 2: 0}, per_class=3, seed=0)) == 1


def test_what_is_held_out_becomes_validation_and_the_test_split_stays() -> None:
    records = [Record("test" if key % 7 == 0 else "train", f"{key}.jpg", key % 5, key=str(key)) for key in range(100)]
    carving = carved(iter(records), per_class=3, seed=0)
    assert [record._replace(split="") for record in carving] == [record._replace(split="") for record in records]
    training = {record.key: record.label for record in records if record.split == "train" and record.label is not None}
    expected = held_out(training, per_class=3, seed=0)
    assert {record.key for record in carving if record.split == "validation"} == expected
    assert {record.key for record in carving if record.split == "test"} == {str(key) for key in range(0, 100, 7)}
    tested = [record._replace(split="test") for record in records if record.key in expected]  # of the same names
    assert carved(records + tested, per_class=3, seed=0)[len(records) :] == tested


def test_a_class_is_ranked_by_hash_and_not_by_key() -> None:
    ranks = ranked(LABELS, seed=0)
    assert {label: sorted(keys) for label, keys in ranks.items()} == {
        label: list(range(label, 100, 5)) for label in range(5)
    }
    assert all(keys != sorted(keys) for keys in ranks.values())


def test_a_split_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="birds has no split 'val'; it has train, validation, test"):
        check_split("val", dataset="birds")
