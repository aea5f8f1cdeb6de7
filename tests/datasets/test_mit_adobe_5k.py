"""MIT-Adobe FiveK: labels of categories.txt, a split of ours, pictures that the user has converted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoombench.datasets.mit_adobe_5k import EXPECTED, Config, build, fingerprint, index, remark
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official_folders import FIVEK, SUBJECTS, fivek_name, write_fivek
from zoombench.tests.datasets.pictures import label_of, save

SMALL = Config(size=64)
SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("split", SPLITS)
def test_the_subject_is_that_of_the_picture(data_root: str, split: str) -> None:
    """The fixture's photographs take their subjects in turn; the middle of the whole picture tells which."""
    dataset = build(SMALL, data_root, split, 16)
    for at, record in enumerate(dataset.pictures):
        image, label = dataset[at]
        assert label == (int(record.key[1:5]) - 1) % len(SUBJECTS) == label_of(image["image"])


def test_none_is_a_subject_like_the_others(data_root: str) -> None:
    assert {record.label for record in index(SMALL, data_root)} == set(range(6))


def test_every_subject_is_split_by_its_share(data_root: str) -> None:
    counts = Counter((record.split, record.label) for record in index(SMALL, data_root))
    shares = {"train": 7, "validation": 1, "test": 2}
    assert counts == {(split, label): share for split, share in shares.items() for label in range(6)}
    assert sum(shares.values()) == FIVEK


def test_the_official_numbers_give_the_counts_that_the_file_expects() -> None:
    subjects = {"None": 366, "abstract": 35, "animals": 300, "man_made": 1869, "nature": 1089, "people": 1341}
    test = sum(round(count * 20 / 100) for count in subjects.values())
    validation = sum(round(count * 10 / 100) for count in subjects.values())
    assert {"train": 5000 - test - validation, "validation": validation, "test": test, "classes": 6} == EXPECTED


def test_the_split_depends_on_seed_and_name_alone(data_root: str, tmp_path: Path) -> None:
    first = {record.key: record.split for record in index(SMALL, data_root)}
    write_fivek(tmp_path)
    table = tmp_path / "fivek_dataset" / "categories.txt"
    table.write_text("\n".join(reversed(table.read_text().splitlines())))
    assert {record.key: record.split for record in index(SMALL, str(tmp_path))} == first
    assert {record.key: record.split for record in index(Config(seed=1), data_root)} != first


def test_a_view_is_the_whole_picture_mirrored_or_not_in_training(data_root: str) -> None:
    train, test = (build(SMALL, data_root, split, 16) for split in ("train", "test"))
    views = []
    for epoch in range(8):
        train.set_epoch(epoch)
        test.set_epoch(epoch)
        views.append(train[0][0]["image"])
        assert torch.equal(test[0][0]["image"], build(SMALL, data_root, "test", 16)[0][0]["image"])
    assert {torch.equal(view, views[0]) for view in views} == {True, False}
    assert all(torch.equal(view, views[0]) or torch.equal(view, views[0].flip(2)) for view in views)


def test_the_size_is_the_papers(data_root: str) -> None:
    assert build(Config(), data_root, "test", 16)[0][0]["image"].shape == (3, 2528, 2528)


def test_the_report_says_whose_split_it_is() -> None:
    assert "zoombench's own" in remark(SMALL)


def test_the_fingerprint_knows_labels_and_names(tmp_path: Path) -> None:
    write_fivek(tmp_path)
    first = fingerprint(SMALL, str(tmp_path))
    table = tmp_path / "fivek_dataset" / "categories.txt"
    table.write_text(table.read_text().replace(",people", ",nature", 1))
    second = fingerprint(SMALL, str(tmp_path))
    picture = next((tmp_path / "fivek_dataset" / "pictures").glob("*.jpg"))
    save(np.zeros((48, 72, 3), np.uint8), picture)  # converted otherwise
    third = fingerprint(SMALL, str(tmp_path))
    picture.unlink()
    assert len({first, second, third, fingerprint(SMALL, str(tmp_path))}) == 4


def line(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "categories.txt").read_text()
        assert old in text
        (folder / "categories.txt").write_text(text.replace(old, new, 1))

    return change


def twice(folder: Path) -> None:
    (folder / "pictures" / f"{fivek_name(0)}.png").write_bytes(b"")


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an unknown subject": (
        line(",None", ",unknown"),
        "light and one of None, abstract, animals, man_made, nature, people",
    ),
    "a field too few": (
        line(",outdoor,day", ",outdoor"),
        "categories.txt: .* is not as expected: name, location, time",
    ),
    "a name twice": (line(f"{fivek_name(1)},", f"{fivek_name(2)},"), "is not as expected: .*each name once"),
    "two pictures of a name": (twice, f"pictures has two pictures called {fivek_name(0)}: leave one"),
    "a picture that was not converted": (
        lambda folder: (folder / "pictures" / f"{fivek_name(7)}.jpg").unlink(),
        f"pictures lacks 1 of the 60 pictures that categories.txt names, the first {fivek_name(7)}. Convert it",
    ),
    "no line": (lambda folder: (folder / "categories.txt").write_text("\n"), "has no picture for the train split"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    change, message = MISTAKES[mistake]
    write_fivek(tmp_path)
    change(tmp_path / "fivek_dataset")
    with pytest.raises(DataError, match=message):
        build(SMALL, str(tmp_path), "train", 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size is 0: it must be at least 1"),
        ({"validation_percent": 0}, "validation_percent is 0"),
        ({"test_percent": 81}, "are 10 and 81: a tenth at least must be left for training"),
    ],
)
def test_a_setting_that_gives_nothing_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
