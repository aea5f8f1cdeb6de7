"""ImageNet from its folders, sorted or as the official archive unpacks."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoombench.datasets.imagenet import SYNSETS, TRUTH, Config, build, fingerprint, index
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official_folders import IMAGENET_TRAIN, IMAGENET_VAL, WHOLE, wnids, write_imagenet
from zoombench.tests.datasets.pictures import label_of

FEW = Config(classes=5, train_size=40, test_size=32)
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module", params=["folders", "flat"])
def few(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five classes, twelve pictures each in all but one."""
    root = tmp_path_factory.mktemp(request.param)
    write_imagenet(root, classes=5, flat=request.param == "flat")
    return str(root)


@pytest.mark.parametrize("split", SPLITS)
def test_a_label_is_the_rank_of_the_wordnet_id(few: str, split: str) -> None:
    dataset = build(FEW, few, split, 16)
    for at, record in enumerate(dataset.pictures):
        image, label = dataset[at]
        if split == "test":
            assert label_of(image["image"]) == label
        else:
            assert wnids(5)[label] == record.path.split("/")[2]


def test_the_thousand_classes_are_told_apart(data_root: str) -> None:
    dataset = build(Config(test_size=32), data_root, "test", 16)
    labels = {dataset[at][1] for at in range(len(dataset))}
    assert labels == {0, 1, 500, 999}
    assert all(label_of(dataset[at][0]["image"]) == dataset[at][1] for at in range(len(dataset)))


def test_official_validation_is_the_test_split_and_ours_is_carved_from_training(few: str) -> None:
    records = index(Config(classes=5, validation_per_class=3), few)
    counts = Counter(record.split for record in records)
    train = WHOLE * IMAGENET_TRAIN + 1
    assert counts == {"train": train - 3 * WHOLE, "validation": 3 * WHOLE, "test": WHOLE * IMAGENET_VAL}
    for record in records:
        assert record.path.startswith("imagenet/val/" if record.split == "test" else "imagenet/train/")


def test_a_png_and_a_cmyk_picture_named_jpeg_are_read(few: str) -> None:
    records = [record for record in index(FEW, few) if record.label == 0 and record.split != "test"]
    names = {f"{wnids(5)[0]}_{10026 - 7 * number}.JPEG" for number in (1, 2)}
    found = [record for record in records if record.path.split("/")[-1] in names]
    assert len(found) == 2
    for record in found:
        dataset = build(FEW, few, record.split, 16)
        at = dataset.pictures.index(record)
        assert dataset[at][0]["image"].float().std() > 5


def test_the_two_forms_give_the_same_labels(tmp_path: Path) -> None:
    labels = []
    for flat in (False, True):
        write_imagenet(tmp_path / str(flat), classes=5, flat=flat)
        records = index(FEW, str(tmp_path / str(flat)))
        labels.append({record.path.split("/")[-1]: record.label for record in records if record.split == "test"})
    assert labels[0] == labels[1]


def test_the_fingerprint_knows_names_and_the_kit(tmp_path: Path) -> None:
    write_imagenet(tmp_path, classes=5, flat=True)
    first = fingerprint(FEW, str(tmp_path))
    (tmp_path / "imagenet" / "notes.txt").write_text("stray")
    assert fingerprint(FEW, str(tmp_path)) == first
    truth = tmp_path / "imagenet" / TRUTH
    truth.write_text("1\n" + truth.read_text())
    second = fingerprint(FEW, str(tmp_path))
    picture = next((tmp_path / "imagenet" / "train").rglob("n*.JPEG"))
    picture.rename(picture.with_name("another.JPEG"))
    assert len({first, second, fingerprint(FEW, str(tmp_path))}) == 3


def test_a_kit_that_is_not_read_does_not_count(tmp_path: Path) -> None:
    write_imagenet(tmp_path, classes=5)
    first = fingerprint(FEW, str(tmp_path))
    for name in (TRUTH, SYNSETS):
        (tmp_path / "imagenet" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "imagenet" / name).write_text("1\n")
    assert fingerprint(FEW, str(tmp_path)) == first


def test_sizes_are_those_of_the_code_or_of_the_paper(few: str) -> None:
    for protocol, sizes in (("code", (800, 700)), ("paper", (800, 512))):
        config = Config(protocol, classes=5)
        shapes = [build(config, few, split, 16)[0][0]["image"].shape for split in ("train", "test")]
        assert shapes == [(3, size, size) for size in sizes]


def test_a_flat_val_without_the_kit_says_what_to_do(tmp_path: Path) -> None:
    write_imagenet(tmp_path, classes=5, flat=True)
    shutil.rmtree(tmp_path / "imagenet" / "ILSVRC2012_devkit_t12")
    with pytest.raises(
        DataError, match=r"no class folders: .*Unpack ILSVRC2012_devkit_t12.tar.gz in .*/imagenet, or sort"
    ):
        build(FEW, str(tmp_path), "test", 16)


def put(name: str) -> Callable[[Path], None]:
    """A picture where none belongs."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(next((folder / "val").rglob("ILSVRC*")), folder / name)

    return change


MISTAKES: dict[str, tuple[bool, Callable[[Path], Any], str]] = {
    "a class without pictures": (
        False,
        lambda folder: shutil.rmtree(folder / "train" / wnids(5)[3]),
        "train has pictures of 4 classes, expected 5: a label is the rank of its class, so one that is not there",
    ),
    "a class only in val": (
        False,
        put("val/n00000001/x.JPEG"),
        "val has the class n00000001, which .*train does not have",
    ),
    "no picture in val": (
        False,
        lambda folder: (shutil.rmtree(folder / "val"), (folder / "val").mkdir()),
        "val has no picture. Unpack ILSVRC2012_img_val.tar in it",
    ),
    "another folder of pictures": (False, put("train/thumbs/x.jpg"), "thumbs/x.jpg is in no folder named by a WordNet"),
    "a picture beside the folders": (
        False,
        put("val/loose.JPEG"),
        "val/loose.JPEG is in no folder named by a WordNet id",
    ),
    "a picture of another name": (True, put("val/cat.JPEG"), "do not fit: ValueError: cat.JPEG has no number"),
    "a picture without a line": (True, put("val/ILSVRC2012_val_00000099.JPEG"), "do not fit: IndexError"),
    "a number of 0": (True, put("val/ILSVRC2012_val_00000000.JPEG"), "ILSVRC2012_val_00000000.JPEG has no number"),
    "an unknown id": (True, lambda folder: (folder / TRUTH).write_text("77\n" * 20), "do not fit: KeyError: 77"),
    "no number": (True, lambda folder: (folder / TRUTH).write_text("cat\n" * 20), "do not fit: ValueError: invalid"),
    "half a kit": (True, lambda folder: (folder / SYNSETS).write_bytes(b"MATLAB 5.0"), "do not fit: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    flat, change, message = MISTAKES[mistake]
    write_imagenet(tmp_path, classes=5, flat=flat)
    change(tmp_path / "imagenet")
    with pytest.raises(DataError, match=message):
        build(FEW, str(tmp_path), "test", 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 0}, "classes is 0: it must be at least 1"),
        ({"test_size": 0}, "test_size is 0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_setting_that_gives_nothing_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
