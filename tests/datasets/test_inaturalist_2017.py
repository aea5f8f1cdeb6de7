"""iNaturalist 2017 from its json files: labels, splits, and the two protocols."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop, resize

from zoombench.datasets.inaturalist_2017 import Config, build, missing
from zoombench.datasets.reading.images import load_rgb
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official import INAT_TRAIN, INAT_VAL, SPECIES, inat_colour, write_inaturalist

SMALL = Config(train_size=32, test_size=32)
OWN_FOLDER = {
    category: f"inaturalist_2017/train_val_images/{above}/{name}/" for category, (above, name) in SPECIES.items()
}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_label_is_the_category_id_of_the_json_and_not_the_order_of_folders(data_root: str, split: str) -> None:
    dataset = build(SMALL, data_root, split, 16)
    assert all(picture.path.startswith(OWN_FOLDER[picture.label]) for picture in dataset.pictures)
    assert [picture.label for picture in dataset.pictures] == [dataset[index][1] for index in range(len(dataset))]


def test_the_picture_is_that_of_the_label(data_root: str) -> None:
    dataset = build(SMALL, data_root, "test", 16)
    for index, picture in enumerate(dataset.pictures):
        middle = dataset[index][0]["image"][:, 16, 16]
        assert middle.int().tolist() == pytest.approx(inat_colour(picture.label), abs=20)


def test_the_official_validation_images_are_the_test_split(data_root: str) -> None:
    sizes = {split: len(build(SMALL, data_root, split, 16)) for split in ("train", "validation", "test")}
    count = len(SPECIES)
    assert sizes == {"train": count * (INAT_TRAIN - 1), "validation": count, "test": count * INAT_VAL}
    content = json.loads((Path(data_root) / "inaturalist_2017" / "val2017.json").read_text())
    official = {f"inaturalist_2017/{image['file_name']}" for image in content["images"]}
    assert {picture.path for picture in build(SMALL, data_root, "test", 16).pictures} == official
    assert not official & {picture.path for picture in build(SMALL, data_root, "validation", 16).pictures}


def test_validation_holds_one_of_each_species(data_root: str) -> None:
    dataset = build(SMALL, data_root, "validation", 16)
    assert Counter(picture.label for picture in dataset.pictures) == dict.fromkeys(SPECIES, 1)


def test_sizes_are_those_of_the_paper_or_of_the_code(data_root: str) -> None:
    shapes: dict[str, list[Any]] = {
        protocol: [
            tuple(build(Config(protocol), data_root, split, 16)[0][0]["image"].shape) for split in ("train", "test")
        ]
        for protocol in ("paper", "code")
    }
    assert shapes == {"paper": [(3, 800, 800), (3, 512, 512)], "code": [(3, 800, 800), (3, 700, 700)]}


def stored(dataset: Any, index: int) -> Tensor:
    return torch.from_numpy(load_rgb(dataset.folder / dataset.pictures[index].path).copy()).permute(2, 0, 1)


def test_the_papers_test_view_is_the_central_square_of_the_pictures_own_pixels(data_root: str) -> None:
    dataset = build(SMALL, data_root, "test", 16)
    for index in range(4):
        assert torch.equal(dataset[index][0]["image"], center_crop(stored(dataset, index), [32, 32]))


def test_a_picture_that_is_too_small_is_enlarged(data_root: str) -> None:
    dataset = build(Config(test_size=75), data_root, "test", 16)
    whole = stored(dataset, 0)
    side = min(whole.shape[1:])
    assert side < 75
    expected = resize(center_crop(whole, [side, side]), [75, 75], antialias=True)
    assert (dataset[0][0]["image"].int() - expected.int()).abs().max() <= 1


def test_the_codes_test_view_is_its_resize_and_crop(data_root: str) -> None:
    dataset = build(Config("code", test_size=56), data_root, "test", 16)
    for index in range(4):
        expected = center_crop(resize(stored(dataset, index), [64, 64], antialias=True), [56, 56])
        difference = (dataset[index][0]["image"].int() - expected.int()).abs().float()
        assert difference[:, 1:-1, 1:-1].max() <= 1  # at the border the resize looked beyond the crop


def test_training_views_change_with_the_epoch(data_root: str) -> None:
    dataset = build(SMALL, data_root, "train", 16)
    first = dataset[0][0]["image"]
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[0][0]["image"])


def test_a_set_that_is_not_there_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    for root, message in (
        (None, "no folder of datasets is named"),
        (str(tmp_path), "inaturalist_2017 has no train2017.json, val"),
    ):
        with pytest.raises(DataError, match=rf"^inaturalist_2017: .*{message}.*https://github.com/visipedia"):
            build(SMALL, root, "train", 16)


def test_what_is_missing_is_named(data_root: str, tmp_path: Path) -> None:
    assert missing(SMALL, data_root) is None
    write_inaturalist(tmp_path)
    (tmp_path / "inaturalist_2017" / "val2017.json").unlink()
    assert "inaturalist_2017 has no val2017.json. It comes from" in str(missing(SMALL, str(tmp_path)))


def change(key: str, edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = json.loads(path.read_text())
        edit(content[key])
        path.write_text(json.dumps(content))

    return write


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a label past the last": (
        change("annotations", lambda all: all[0].update(category_id=5089)),
        "has category_id 5089, expected 0 to 5088",
    ),
    "a label below 0": (change("annotations", lambda all: all[0].update(category_id=-1)), "has category_id -1"),
    "an image without a label": (change("annotations", lambda all: all.pop()), r"image \d+ has no label"),
    "a label without an image": (change("images", lambda all: all.pop()), r"image \d+ has a label and no file"),
    "two labels of an image": (
        change("annotations", lambda all: all.append(all[0] | {"category_id": 17 - all[0]["category_id"]})),
        r"image \d+ has two labels",
    ),
    "no image": (lambda path: path.write_text('{"images": [], "annotations": []}'), "no picture for the train split"),
    "half a file": (
        lambda path: path.write_text(path.read_text()[:500]),
        "expected the competition's json.*JSONDecodeE",
    ),
    "another file": (lambda path: path.write_text("[1, 2]"), "expected the competition's json.*TypeError"),
    "a part of it": (lambda path: path.write_text('{"images": []}'), "expected the competition's json.*'annotations'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    edit, message = MISTAKES[mistake]
    write_inaturalist(tmp_path)
    edit(tmp_path / "inaturalist_2017" / "train2017.json")
    with pytest.raises(DataError, match=f"train2017.json: .*{message}" if "no pic" not in message else message):
        build(SMALL, str(tmp_path), "train", 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 0}, "train_size is 0: it must be at least 1"),
        ({"test_size": -3}, "test_size is -3"),
        ({"validation_per_class": -1}, "validation_per_class is -1"),
        ({"seed": 2**63}, "seed is 9223372036854775808: it must be between 0 and"),
    ],
)
def test_a_setting_that_gives_nothing_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
