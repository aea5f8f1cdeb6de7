"""Oxford Flowers 102: which of 102 flowers common in the United Kingdom (Nilsback and Zisserman 2008).

The splits are the official three: the test split is by far the largest. Read here, as torchvision's reader wants the
MD5 of both label files first, says "use download=True" where one is damaged, and could not be tested on a small copy.
"""

from dataclasses import dataclass

import numpy as np
from scipy.io import loadmat

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.labelled import LabelledImages, square_view
from .reading.records import Record
from .reading.settings import check_settings

INPUTS = ("image",)
CLASSES = 102
FOLDER = "flowers-102"
TABLES = ("imagelabels.mat", "setid.mat")
IDS = {"train": "trnid", "validation": "valid", "test": "tstid"}
SOURCE = (
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102: open download, 102flowers.tgz, imagelabels.mat and "
    "setid.mat, in flowers-102/"
)
TERMS = {
    "access": "open",
    "homepage": "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
    "terms": "None stated: see the official page.",
    "citation": "Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP",
}
EXPECTED = {"train": 1020, "validation": 1020, "test": 6149, "classes": 102}
TREE = """flowers-102/
  imagelabels.mat  setid.mat
  jpg/image_00001.jpg ..."""


@dataclass(frozen=True)
class Config:
    """The squares of cub_200: none of the source papers uses this set."""

    train_size: int = 448  # px
    test_size: int = 448  # px, of validation too
    seed: int = 0  # of the drawn views; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that give no view."""
        check_settings(self, "train_size", "test_size")


def task(config: Config) -> Classification:
    """Which flower."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/flowers-102, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES, "jpg"), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the two label files."""
    return digest(found("flowers_102", root, FOLDER, TABLES, SOURCE), files=TABLES)


def index(config: Config, root: str | None) -> list[Record]:
    """Every picture, by split; raises DataError where the set is not there or contradicts itself."""
    folder = found("flowers_102", root, FOLDER, (*TABLES, "jpg"), SOURCE)
    try:
        labels = np.atleast_1d(loadmat(str(folder / "imagelabels.mat"), squeeze_me=True)["labels"]).astype(int).tolist()
        sets = loadmat(str(folder / "setid.mat"), squeeze_me=True)
        pictures = [(split, image) for split, name in IDS.items() for image in np.atleast_1d(sets[name]).tolist()]
    except Exception as error:  # what loadmat raises for a file that is cut off is of many kinds
        raise DataError(
            f"{folder}: imagelabels.mat and setid.mat are not as expected: {type(error).__name__}: {error}. "
            "Fetch them again."
        ) from error
    numbers = [image for _, image in pictures]
    if len(set(numbers)) != len(numbers) or not all(1 <= image <= len(labels) for image in numbers):
        raise DataError(
            f"{folder / 'setid.mat'}: expected numbers of pictures from 1 to {len(labels)}, each in one split. "
            "Fetch it again."
        )
    if not all(1 <= label <= CLASSES for label in labels):
        raise DataError(f"{folder / 'imagelabels.mat'}: a label is not between 1 and {CLASSES}. Fetch it again.")
    return [
        Record(split, f"{FOLDER}/jpg/image_{image:05d}.jpg", labels[image - 1] - 1, key=str(image))
        for split, image in pictures
    ]


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages("flowers_102", index(config, root), root, square_view(config, split), split=split)
