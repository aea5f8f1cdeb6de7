"""iNaturalist 2017: which of 5,089 species, seen in nature (Van Horn et al. 2018).

Read from the json files. torchvision's reader merges training and validation images, and numbers the species by their
folders; here a label is the json's category_id. Labels of the test images are not public: the official validation split
is the test split here, as in Recasens et al. 2018, and a validation split is carved from the training images.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.labelled import LabelledImages, recasens_view
from .reading.records import Record, carved
from .reading.settings import check_settings

INPUTS = ("image",)
CLASSES = 5089
FOLDER = "inaturalist_2017"
TABLES = ("train2017.json", "val2017.json")
SOURCE = (
    "https://github.com/visipedia/inat_comp/tree/master/2017: open download after agreeing to its terms, "
    "train_val_images.tar.gz (186 GB, md5 7c784ea5e424efaec655bd392f87301f) and train_val2017.zip, unpacked side by "
    "side; for non-commercial research and education, the images must not be redistributed"
)
TERMS = {
    "access": "open",
    "homepage": "https://github.com/visipedia/inat_comp/tree/master/2017",
    "terms": "For non-commercial research and education; the images must not be redistributed. Each has a licence "
    "and a holder of rights of its own, which the json files name.",
    "citation": "Van Horn et al. 2018, The iNaturalist Species Classification and Detection Dataset, CVPR",
}
SHAREABLE = False
EXPECTED = {"train": 579184, "test": 95986, "classes": 5089}
TREE = """inaturalist_2017/
  train2017.json  val2017.json
  train_val_images/Aves/Acridotheres tristis/<hash>.jpg ..."""


@dataclass(frozen=True)
class Config:
    """Which views: as the paper says (Recasens et al. 2018), or as the authors' main.py has them.

    paper: 800 x 800 in training, the central 512 x 512 in the test. Ours where it is silent: the training view is that
    of main.py (a random part of the picture, mirrored or not), the central square is of the picture's own pixels.
    code: the same in training; the test stretches the picture to a square, of which it shows the central 700/800.
    """

    protocol: Literal["paper", "code"] = "paper"
    train_size: int = 800  # px; paper and code
    test_size: int | None = None  # px, of validation too; left out: 512 in the paper, 700 in the code
    validation_per_class: int = 1  # of 9 and more; 5,089 in all; 0 trains on all
    seed: int = 0  # of the drawn views and of the validation split; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes and counts that give no split."""
        check_settings(self, "train_size", "test_size", at_least_zero=["validation_per_class"])


def task(config: Config) -> Classification:
    """Which species."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/inaturalist_2017, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES, "train_val_images"), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the two json files."""
    return digest(found("inaturalist_2017", root, FOLDER, TABLES, SOURCE), files=TABLES)


def index(config: Config, root: str | None) -> list[Record]:
    """Every picture of a public label, the training images first, in the order of the ids.

    Raises DataError where the set is not there or contradicts itself.
    """
    folder = found("inaturalist_2017", root, FOLDER, (*TABLES, "train_val_images"), SOURCE)
    official = [("train", "train2017.json"), ("test", "val2017.json")]
    records = [record for split, name in official for record in _read(folder / name, split=split)]
    return carved(records, per_class=config.validation_per_class, seed=config.seed)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages(
        "inaturalist_2017",
        index(config, root),
        root,
        recasens_view(config, split),
        split=split,
        may_be_empty=not config.validation_per_class,
    )


def _read(path: Path, *, split: str) -> list[Record]:
    """Every picture of a json file, in the order of the ids."""
    try:
        content = json.loads(path.read_bytes())
        images: dict[int, tuple[str, tuple[int, int]]] = {
            image["id"]: (image["file_name"], (image["width"], image["height"])) for image in content["images"]
        }
        labels: dict[int, Any] = {}
        for one in content["annotations"]:
            if labels.setdefault(one["image_id"], one["category_id"]) != one["category_id"]:
                raise ValueError(f"image {one['image_id']} has two labels")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected the competition's json of images and annotations: {type(error).__name__}: {error}. "
            "Unpack train_val2017.zip again."
        ) from error
    for image in images.keys() ^ labels.keys():
        raise DataError(f"{path}: image {image} has {'no label' if image in images else 'a label and no file'}.")
    for image, label in labels.items():
        if not (isinstance(label, int) and 0 <= label < CLASSES):
            raise DataError(f"{path}: image {image} has category_id {label!r}, expected 0 to {CLASSES - 1}.")
    return [
        Record(split, f"{FOLDER}/{name}", labels[image], size, key=str(image))
        for image, (name, size) in sorted(images.items())
    ]
