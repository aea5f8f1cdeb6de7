"""Stanford Cars: which of 196 makes, models and years of cars (Krause et al. 2013).

Listed by torchvision's reader, which counts the classes from 0. The test split is the official one; a validation split
is carved from the training images, so many a class. The official site is gone.
"""

from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import StanfordCars

from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.labelled import LabelledImages, square_view
from .reading.records import Record, carved
from .reading.settings import check_settings
from .reading.torchvision_lists import listed

INPUTS = ("image",)
CLASSES = 196
FOLDER = "stanford_cars"
TABLES = ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")
IMAGES = ("cars_train", "cars_test")
SOURCE = (
    "https://github.com/pytorch/vision/issues/7545, which tells of copies: the official site, "
    "https://ai.stanford.edu/~jkrause/cars/car_dataset.html, is gone; cars_train.tgz, cars_test.tgz, car_devkit.tgz "
    "and cars_test_annos_withlabels.mat, unpacked as torchvision's StanfordCars expects; for research"
)
TERMS = {
    "access": "unavailable",
    "homepage": "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    "terms": "For research; the official site is gone, and nobody says what the copies are allowed to do.",
    "citation": "Krause et al. 2013, 3D Object Representations for Fine-Grained Categorization, 3dRR",
}
EXPECTED = {"train": 8144, "test": 8041, "classes": 196}
TREE = """stanford_cars/
  devkit/cars_meta.mat  devkit/cars_train_annos.mat  cars_test_annos_withlabels.mat
  cars_train/00001.jpg ...
  cars_test/00001.jpg ..."""


@dataclass(frozen=True)
class Config:
    """The squares of cub_200: none of the source papers uses this set."""

    train_size: int = 448  # px
    test_size: int = 448  # px, of validation too
    validation_per_class: int = 4  # of about 41; the set has no official validation split; 0 trains on all
    seed: int = 0  # of the drawn views and of the validation split; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes and counts that give no split."""
        check_settings(self, "train_size", "test_size", at_least_zero=["validation_per_class"])


def task(config: Config) -> Classification:
    """Which make, model and year."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/stanford_cars, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES, *IMAGES), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the lists of classes and of pictures."""
    return digest(found("stanford_cars", root, FOLDER, TABLES, SOURCE), files=TABLES)


def index(config: Config, root: str | None) -> list[Record]:
    """What torchvision's reader lists; raises DataError where the set is not there or contradicts itself."""
    found("stanford_cars", root, FOLDER, (*TABLES, *IMAGES), SOURCE)
    records = listed(StanfordCars, Path(root or ""), ("train", "test"), classes=CLASSES)
    return carved(records, per_class=config.validation_per_class, seed=config.seed)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages(
        "stanford_cars",
        index(config, root),
        root,
        square_view(config, split),
        split=split,
        may_be_empty=not config.validation_per_class,
    )
