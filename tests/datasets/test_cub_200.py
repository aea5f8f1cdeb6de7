"""CUB-200-2011 in its official form: joined by id, carved per class, boxes that follow the view."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoombench.datasets.cub_200 import Config, build, missing
from zoombench.datasets.reading.views import draws, is_mirrored
from zoombench.harness import results, spec
from zoombench.harness.errors import DataError
from zoombench.harness.ledger import Ledger
from zoombench.tests.datasets.official import CUB_CLASSES, CUB_IMAGES, CUB_PARTS, cub_parts, write_cub

SMALL = Config(train_size=64, test_size=64)
TEST_IMAGES = {1 + CUB_IMAGES * nth + number for nth in range(len(CUB_CLASSES)) for number in (1, 5)}


def ids(dataset: Any) -> list[int]:
    """The image's id is the last number of a fixture's file name."""
    return [int(picture.path.rsplit("_", 1)[1].removesuffix(".jpg")) for picture in dataset.pictures]


def is_red(image: Tensor) -> Tensor:
    """Where the bird is, as JPEG left it."""
    red, green, blue = image.int()
    return (red > 150) & (green < 90) & (blue < 90)


def test_the_official_test_split_is_the_test_split(data_root: str) -> None:
    splits = {split: set(ids(build(SMALL, data_root, split, 16))) for split in ("train", "validation", "test")}
    assert splits["test"] == TEST_IMAGES
    assert splits["train"] | splits["validation"] | splits["test"] == set(range(1, 1 + CUB_IMAGES * len(CUB_CLASSES)))


def test_labels_are_joined_by_id_and_counted_from_zero(data_root: str) -> None:
    classes = list(CUB_CLASSES)
    for split in ("train", "validation", "test"):
        dataset = build(SMALL, data_root, split, 16)
        for image, index in zip(ids(dataset), range(len(dataset)), strict=True):
            assert dataset[index][1] == classes[(image - 1) // CUB_IMAGES] - 1


def test_validation_holds_so_many_of_each_class_and_another_seed_holds_others(data_root: str) -> None:
    one, other = (build(Config(seed=seed), data_root, "validation", 16) for seed in (0, 1))
    assert Counter(picture.label for picture in one.pictures) == {0: 3, 1: 3, 6: 3, 199: 3}
    assert ids(one) != ids(other)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_box_of_a_view_holds_the_bird(data_root: str, split: str) -> None:
    dataset = build(SMALL, data_root, split, 16)
    seen = 0
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index, image in enumerate(ids(dataset)):
            if image in (5, 6):  # greyscale and CMYK: not red
                continue
            tensors, _ = dataset[index]
            [[x0, y0, x1, y1]] = tensors["boxes"].tolist()
            rows, columns = is_red(tensors["image"]).nonzero(as_tuple=True)
            found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert torch.tensor(found).float() == pytest.approx([x0, y0, x1, y1], abs=2.5)
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_parts_of_a_view_are_where_they_are_seen(data_root: str, split: str) -> None:
    """The left eye is green and the right one blue; in a mirror, the green one is a right eye."""
    dataset = build(SMALL, data_root, split, 16)
    seen = Counter[bool]()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index, image in enumerate(ids(dataset)):
            if image in (5, 6):  # greyscale and CMYK: no colours
                continue
            mirrored = split == "train" and is_mirrored(draws(SMALL.seed, epoch=epoch, index=index))
            tensors, _ = dataset[index]
            for name, channel in (("left eye", 1), ("right eye", 2)):
                asked = {"left": "right", "right": "left"}[name[:-4]] + " eye" if mirrored else name
                x, y, visible = tensors["parts"][CUB_PARTS.index(asked)].tolist()
                pixels = tensors["image"].int()
                others = [one for one in range(3) if one != channel]
                rows, columns = ((pixels[channel] > 130) & (pixels[others] < 110).all(0)).nonzero(as_tuple=True)
                middle = (columns.float().mean() + 0.5, rows.float().mean() + 0.5)
                assert (x, y, visible) == (pytest.approx(middle[0], abs=2), pytest.approx(middle[1], abs=2), 1)
            seen[mirrored] += 1
    assert seen[False] > 10
    assert (seen[True] > 10) == (split == "train")


def test_parts_that_are_not_visible_or_not_in_the_view_are_zeros(data_root: str) -> None:
    dataset = build(SMALL, data_root, "test", 16)
    for index, image in enumerate(ids(dataset)):
        parts = dataset[index][0]["parts"]
        assert parts.shape == (15, 3)
        assert parts.dtype == torch.float32
        for (name, place), row in zip(cub_parts(image).items(), parts, strict=True):
            if place is None or name == "tail":  # which is in the corner, outside the central square
                assert row.tolist() == [0, 0, 0]
            else:
                assert row[2] == 1
    assert {len(picture.parts) for picture in dataset.pictures} == {15}


def test_training_views_are_drawn_and_mirrored_and_others_are_not(data_root: str) -> None:
    train, test = (build(SMALL, data_root, split, 16) for split in ("train", "test"))
    views = []
    for epoch in range(6):
        train.set_epoch(epoch)
        test.set_epoch(epoch)
        views.append(train[0][0]["image"])
        assert torch.equal(test[0][0]["image"], build(SMALL, data_root, "test", 16)[0][0]["image"])
    assert not any(torch.equal(views[0], view) for view in views[1:])


def test_the_report_says_that_the_images_overlap_imagenet(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    sweep = spec.load(sweep_file(methods={"uniform": {}}, datasets={"birds": {"dataset": "cub_200"}}))
    (said,) = results.cautions(sweep, Ledger.open(tmp_path))
    assert said.startswith("birds: the images of CUB-200-2011 overlap ImageNet")


def copy(tmp_path: Path) -> Path:
    write_cub(tmp_path)
    return tmp_path / "CUB_200_2011"


def test_a_set_that_is_not_there_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    for root, message in (
        (None, "no folder of datasets is named"),
        (str(tmp_path), "CUB_200_2011 has no images.txt, image_class"),
    ):
        with pytest.raises(DataError, match=rf"^cub_200: .*{message}.*https://www.vision.caltech.edu"):
            build(SMALL, root, "train", 16)
    assert missing(SMALL, str(tmp_path))


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    (copy(tmp_path) / "bounding_boxes.txt").unlink()
    assert str(missing(SMALL, str(tmp_path))).startswith(f"{tmp_path / 'CUB_200_2011'} has no bounding_boxes.txt. It")


def test_a_complete_set_misses_nothing(data_root: str) -> None:
    assert missing(SMALL, data_root) is None


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def empty(folder: Path) -> None:
    for path in (*folder.glob("*.txt"), folder / LOCS):
        path.write_text("")


LOCS = "parts/part_locs.txt"
MISTAKES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a class of 0": (replace("image_class_labels.txt", "\n1 1\n", "\n1 0\n"), "classes are counted from 1 to 200"),
    "a class of 201": (replace("image_class_labels.txt", "\n1 1\n", "\n1 201\n"), r"labels.txt:\d+: '1 201' is not as"),
    "a box without area": (replace("bounding_boxes.txt", " 24.0 14.0", " 0.0 14.0"), "a width and height above 0"),
    "a box that is no number": (replace("bounding_boxes.txt", " 24.0 14.0", " nan 14.0"), "a finite x and y"),
    "a box of three numbers": (replace("bounding_boxes.txt", " 24.0 14.0", " 14.0"), "not enough values"),
    "a split that is neither": (replace("train_test_split.txt", "\n1 1\n", "\n1 2\n"), "1 stands for training"),
    "an image without a box": (replace("bounding_boxes.txt", "\n9 ", "\n999 "), "image 9 is in images.txt and not in"),
    "an image twice": (replace("images.txt", "\n9 ", "\n8 "), "this id has a line already"),
    "a part of an unknown image": (replace(LOCS, "\n9 ", "\n999 "), "images.txt has no image 999"),
    "a part 0": (replace(LOCS, "\n9 1 ", "\n9 0 "), "parts are counted from 1 to 15, each once an image"),
    "a part twice": (replace(LOCS, "\n9 1 ", "\n9 2 "), "parts are counted from 1 to 15, each once an image"),
    "a part that is no number": (replace(LOCS, "\n9 14 0.5", "\n9 14 nan"), "a part is a finite x and y, and 1 where"),
    "a part half visible": (
        replace(LOCS, "\n9 14 0.5 0.5 1", "\n9 14 0.5 0.5 2"),
        "'9 14 0.5 0.5 2' is not as expected",
    ),
    "a part without a line": (replace(LOCS, "\n9 14 0.5 0.5 1\n", "\n"), "image 9 has 14 parts, expected 15"),
    "a part without a name": (replace("parts/parts.txt", "15 throat\n", ""), r"parts \[1, .*14\], expected 1 to 15"),
    "no id": (replace("images.txt", "\n9 ", "\nnine "), "invalid literal for int"),
    "empty files": (empty, "has no picture for the train split"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    change, message = MISTAKES[mistake]
    change(copy(tmp_path))
    with pytest.raises(DataError, match=message):
        build(SMALL, str(tmp_path), "train", 16)


def test_a_picture_that_is_not_there_or_is_broken_is_named_with_its_index(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    dataset = build(SMALL, str(tmp_path), "test", 16)
    (tmp_path / dataset.pictures[2].path).write_bytes(b"")
    shutil.rmtree(folder / "images" / "200.Yellowthroat")
    for index, reason in ((2, "UnidentifiedImageError"), (len(dataset) - 1, "FileNotFoundError")):
        with pytest.raises(DataError, match=rf"{dataset.pictures[index].path}, example {index}: .*{reason}"):
            dataset[index]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 0}, "train_size is 0: it must be at least 1"),
        ({"validation_per_class": -1}, "validation_per_class is -1: it must be at least 0"),
        ({"seed": -1}, "seed is -1: it must be between 0 and"),
    ],
)
def test_a_setting_that_gives_nothing_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
