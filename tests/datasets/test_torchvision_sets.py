"""The five sets that are laid out as torchvision does: labels, splits, and what is wrong told in one sentence."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from scipy.io import loadmat, savemat

from zoombench.datasets import describable_textures, fgvc_aircraft, flowers_102, oxford_pets, stanford_cars
from zoombench.datasets.reading.images import load_rgb
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official import WRITERS
from zoombench.tests.datasets.pictures import label_of

SETS = [describable_textures, fgvc_aircraft, flowers_102, oxford_pets, stanford_cars]
SIZES = {"train_size": 64, "test_size": 64}
COUNTS = {
    "describable_textures": (47, 47, 47),
    "fgvc_aircraft": (18, 9, 9),
    "flowers_102": (20, 8, 32),
    "oxford_pets": (4 * (14 - 10), 40, 12),
    "stanford_cars": (4 * (9 - 4), 16, 8),
}


def named(module: ModuleType) -> str:
    return module.__name__.rsplit(".", 1)[1]


def stored(dataset: Any, at: int) -> torch.Tensor:
    return torch.from_numpy(load_rgb(dataset.folder / dataset.pictures[at].path).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("module", SETS, ids=named)
def test_the_label_is_that_of_the_picture(module: ModuleType, split: str, data_root: str) -> None:
    dataset = module.build(module.Config(**SIZES), data_root, split, 16)
    told = 0
    for at in range(len(dataset)):
        image, label = dataset[at]
        picture = stored(dataset, at)
        if not torch.equal(picture[0], picture[2]):  # a greyscale picture tells nothing
            assert label == label_of(picture)
            assert split == "train" or label == label_of(image["image"])
            told += 1
    assert told >= len(dataset) - 1


@pytest.mark.parametrize("module", SETS, ids=named)
def test_the_splits_are_the_official_ones(module: ModuleType, data_root: str) -> None:
    counts = Counter(record.split for record in module.index(module.Config(), data_root))
    assert tuple(counts[split] for split in ("train", "validation", "test")) == COUNTS[named(module)]
    assert set(module.EXPECTED) == {"train", "test", "classes"} | (
        set() if hasattr(module.Config(), "validation_per_class") else {"validation"}
    )


@pytest.mark.parametrize(
    ("module", "reader", "splits"),
    [
        (describable_textures, torchvision.datasets.DTD, {"train": "train", "val": "validation", "test": "test"}),
        (fgvc_aircraft, torchvision.datasets.FGVCAircraft, {"train": "train", "val": "validation", "test": "test"}),
        (oxford_pets, torchvision.datasets.OxfordIIITPet, {"trainval": "train", "test": "test"}),
        (stanford_cars, torchvision.datasets.StanfordCars, {"train": "train", "test": "test"}),
        (flowers_102, torchvision.datasets.Flowers102, {"train": "train", "val": "validation", "test": "test"}),
    ],
)
def test_torchvisions_reader_gives_the_same_labels(
    module: ModuleType, reader: Any, splits: dict[str, str], data_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where we read ourselves; Flowers102 is let off its checksums."""
    if hasattr(reader, "_file_dict"):
        names = {key: (name, None) for key, (name, _) in reader._file_dict.items()}
        monkeypatch.setattr(reader, "_file_dict", names)
    records = module.index(module.Config(), data_root)
    for theirs, ours in splits.items():
        kept = {ours} if hasattr(module.Config(), "partition") or "val" in splits else {ours, "validation"}
        kept = {"test"} if ours == "test" else kept
        labels = [record.label for record in records if record.split in kept]
        if reader is torchvision.datasets.OxfordIIITPet:  # which decodes, and leaves the files open
            assert reader(data_root, split=theirs)._labels == labels
        else:
            assert [label for _, label in reader(data_root, split=theirs, loader=str)] == labels


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_view_of_an_aircraft_shows_the_banner(data_root: str, split: str) -> None:
    dataset = fgvc_aircraft.build(fgvc_aircraft.Config(**SIZES), data_root, split, 16)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        assert all(dataset[at][0]["image"].max() < 250 for at in range(len(dataset)))
    assert stored(dataset, 0)[:, -1].min() > 250


def test_another_partition_of_textures_has_other_splits(data_root: str) -> None:
    one, two = (
        {r.path: r.split for r in describable_textures.index(describable_textures.Config(p), data_root)} for p in (1, 2)
    )
    assert one.keys() == two.keys()
    assert all(one[path] != two[path] for path in one)


def write(name: str, edit: Callable[[str], str]) -> Callable[[Path], Any]:
    """Change a text file."""

    def change(folder: Path) -> None:
        before = (folder / name).read_text()
        assert edit(before) != before
        (folder / name).write_text(edit(before))

    return change


def mat(name: str, key: str, edit: Callable[[Any], Any]) -> Callable[[Path], Any]:
    """Change a variable of a .mat file."""

    def change(folder: Path) -> None:
        content = {k: v for k, v in loadmat(str(folder / name)).items() if not k.startswith("__")}
        content[key] = edit(content[key])
        savemat(folder / name, content)

    return change


def with_class(value: int) -> Callable[[Any], Any]:
    def edit(annotations: Any) -> Any:
        annotations = annotations.copy()
        annotations[0, 0]["class"] = np.array([[value]], np.uint8)
        return annotations

    return edit


def first(text: str, new: str) -> str:
    return new + text[text.index("\n") :]


Mistake = tuple[ModuleType, Callable[[Path], Any], str]
MISTAKES: dict[str, Mistake] = {
    "aircraft, an unknown variant": (
        fgvc_aircraft,
        write("data/images_variant_train.txt", lambda text: text.replace("Boeing 737-0", "Boeing 747", 1)),
        "torchvision's FGVCAircraft does not read its train split: KeyError: 'Boeing 747'",
    ),
    "aircraft, a variant too few": (
        fgvc_aircraft,
        write("data/variants.txt", lambda text: text.rsplit("\n", 2)[0] + "\n"),
        "does not read its train split: KeyError",
    ),
    "aircraft, a line of no picture": (
        fgvc_aircraft,
        write("data/images_variant_val.txt", lambda text: first(text, "Cessna")),
        "does not read its val split: ",
    ),
    "cars, a class of 0": (
        stanford_cars,
        mat("devkit/cars_train_annos.mat", "annotations", with_class(0)),
        "StanfordCars (does not read its train split|finds 196 classes in the train split, expected 196, and labels)",
    ),
    "cars, a class past the last": (
        stanford_cars,
        mat("cars_test_annos_withlabels.mat", "annotations", with_class(197)),
        "finds 196 classes in the test split, expected 196, and labels such as 196",
    ),
    "cars, half a file": (
        stanford_cars,
        lambda folder: (folder / "devkit" / "cars_meta.mat").write_bytes(b"MATLAB 5.0 MAT-file"),
        "torchvision's StanfordCars does not read its train split",
    ),
    "textures, a word without a picture in one split": (
        describable_textures,
        write("labels/val1.txt", lambda text: text[text.index("\n") + 1 :]),
        "torchvision's DTD finds 46 classes in the val split, expected 47",
    ),
    "textures, a list that is not there": (
        describable_textures,
        lambda folder: (folder / "labels" / "test1.txt").unlink(),
        "torchvision's DTD does not read its test split: FileNotFoundError",
    ),
    "flowers, a label of 0": (
        flowers_102,
        mat("imagelabels.mat", "labels", lambda labels: labels - labels.min()),
        "imagelabels.mat: a label is not between 1 and 102",
    ),
    "flowers, a picture in two splits": (
        flowers_102,
        mat("setid.mat", "valid", lambda ids: np.append(ids, [[1]], axis=1)),
        "setid.mat: expected numbers of pictures from 1 to 60, each in one split",
    ),
    "flowers, a picture of no label": (
        flowers_102,
        mat("setid.mat", "tstid", lambda ids: ids + 60),
        "setid.mat: expected numbers of pictures from 1 to 60",
    ),
    "flowers, no split": (
        flowers_102,
        lambda folder: savemat(folder / "setid.mat", {"trnid": [[1]]}),
        "imagelabels.mat and setid.mat are not as expected: KeyError: 'valid'",
    ),
    "pets, a breed of 0": (
        oxford_pets,
        write("annotations/trainval.txt", lambda text: text.replace(" 1 1 1", " 0 1 1", 1)),
        r"trainval.txt:1: 'Abyssinian_1 0 1 1' is not as expected: breeds are counted from 1 to 37",
    ),
    "pets, a breed past the last": (
        oxford_pets,
        write("annotations/test.txt", lambda text: text.replace(" 37 ", " 38 ", 1)),
        "breeds are counted from 1 to 37",
    ),
    "pets, a picture in both lists": (
        oxford_pets,
        write("annotations/test.txt", lambda text: first(text, "Abyssinian_1 1 1 1")),
        "test.txt:1: .*this picture has a line already",
    ),
    "pets, a field too few": (
        oxford_pets,
        write("annotations/trainval.txt", lambda text: first(text, "Abyssinian_1 1 1")),
        "trainval.txt:1: .*not enough values",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_set_that_contradicts_itself_is_refused(mistake: str, tmp_path: Path) -> None:
    module, change, message = MISTAKES[mistake]
    WRITERS[named(module)](tmp_path)
    change(tmp_path / module.FOLDER)
    with pytest.raises(DataError, match=message):
        module.build(module.Config(), str(tmp_path), "train", 16)


def test_nothing_is_ever_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("asked for the network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for module in SETS:
        WRITERS[named(module)](tmp_path)
        shutil.rmtree(tmp_path / module.FOLDER.split("/")[0])
        with pytest.raises(DataError, match="It comes from"):
            module.build(module.Config(), str(tmp_path), "train", 16)


@pytest.mark.parametrize("module", SETS, ids=named)
def test_a_setting_that_gives_nothing_says_why(module: ModuleType) -> None:
    for settings, message in (({"train_size": 0}, "train_size is 0: it must be"), ({"seed": -1}, "seed is -1")):
        with pytest.raises(ValueError, match=message):
            module.Config(**settings)


def test_there_are_ten_partitions_of_textures() -> None:
    for partition in (0, 11):
        with pytest.raises(ValueError, match=f"partition is {partition}: there are ten, 1 to 10"):
            describable_textures.Config(partition)
