"""ImageNet, ILSVRC 2012: which of 1,000 kinds of things (Russakovsky et al. 2015).

A folder a class, named by its WordNet id; a label is the rank of that id, as for torchvision's ImageFolder and its
weights. The official validation images are the test split, as everywhere, and a validation split is carved from the
training images. Their archive unpacks flat: it is read as it is where the development kit lies beside it. torchvision's
ImageNet wants that kit's archive even where the folders are there, and its ImageFolder counts any stray folder as a
class.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scipy.io import loadmat

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found, picture_names
from .reading.labelled import LabelledImages, recasens_view
from .reading.records import Record, carved
from .reading.settings import check_settings

INPUTS = ("image",)
FOLDER = "imagenet"
FILES = ("train", "val")
TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
SYNSETS = "ILSVRC2012_devkit_t12/data/meta.mat"
SOURCE = (
    "https://image-net.org/challenges/LSVRC/2012: on registration, ILSVRC2012_img_train.tar (138 GB, with an archive "
    "for each class), ILSVRC2012_img_val.tar (6 GB) and ILSVRC2012_devkit_t12.tar.gz; for research and education only"
)
TERMS = {
    "access": "gated",
    "homepage": "https://image-net.org/challenges/LSVRC/2012",
    "terms": "On registration, for non-commercial research and education; the images must not be redistributed.",
    "citation": "Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, IJCV 115",
}
SHAREABLE = False
EXPECTED = {"train": 1281167, "test": 50000, "classes": 1000}
TREE = """imagenet/
  train/n01440764/n01440764_10026.JPEG ...
  val/n01440764/ILSVRC2012_val_00000293.JPEG ...
or, with val/ILSVRC2012_val_00000001.JPEG ... in no folders:
  ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt  meta.mat"""


@dataclass(frozen=True)
class Config:
    """Which views: as main.py of Recasens et al. 2018 has them, which is written for ImageNet, or as the paper.

    code: 800 x 800 in training, the central 700 of the picture stretched to 800 x 800 in the test. paper: the paper's
    of iNaturalist, 800 x 800 and the central 512 x 512; it gives no figures of ImageNet.
    """

    protocol: Literal["paper", "code"] = "code"
    train_size: int = 800  # px; paper and code
    test_size: int | None = None  # px, of validation too; left out: 512 in the paper, 700 in the code
    classes: int = 1000  # fewer in a subset, whose labels are ranks among its own classes
    validation_per_class: int = 10  # of about 1,281; 0 trains on all; the official validation images are the test split
    seed: int = 0  # of the drawn views and of the validation split; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes and counts that give no split."""
        check_settings(self, "train_size", "test_size", "classes", at_least_zero=["validation_per_class"])


def task(config: Config) -> Classification:
    """Which kind of thing."""
    return Classification(classes=config.classes)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/imagenet, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, FILES, SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the names and lengths of all pictures, and of the development kit where labels are read from it."""
    folder = found("imagenet", root, FOLDER, FILES, SOURCE)
    sorted_by_class = any("/" in name for name in picture_names(folder / "val"))
    kit = [] if sorted_by_class else [name for name in (TRUTH, SYNSETS) if (folder / name).exists()]
    return digest(folder, pictures=FILES, files=kit)


def index(config: Config, root: str | None) -> list[Record]:
    """Every picture by name, the training images first.

    Raises DataError where the set is not there or contradicts itself.
    """
    folder = found("imagenet", root, FOLDER, FILES, SOURCE)
    train, val = ([(name, name.rpartition("/")[0]) for name in picture_names(folder / split)] for split in FILES)
    if not val:
        raise DataError(f"{folder / 'val'} has no picture. Unpack ILSVRC2012_img_val.tar in it.")
    if all(not wnid for _, wnid in val):
        val = _official_labels(folder, [name for name, _ in val])
    for split, pictures in (("train", train), ("val", val)):
        strange = next((name for name, wnid in pictures if not re.fullmatch(r"n\d{8}", wnid)), None)
        if strange:
            raise DataError(f"{folder / split / strange} is in no folder named by a WordNet id such as n01440764.")
    labels = {wnid: rank for rank, wnid in enumerate(sorted({wnid for _, wnid in train}))}
    if len(labels) != config.classes:
        raise DataError(
            f"{folder / 'train'} has pictures of {len(labels)} classes, expected {config.classes}: a label is the rank "
            "of its class, so one that is not there shifts others. Unpack it whole, or set classes for a subset."
        )
    unknown = {wnid for _, wnid in val} - labels.keys()
    if unknown:
        raise DataError(f"{folder / 'val'} has the class {min(unknown)}, which {folder / 'train'} does not have.")
    records = [Record("train", f"{FOLDER}/train/{name}", labels[wnid], key=f"train/{name}") for name, wnid in train]
    records += [Record("test", f"{FOLDER}/val/{name}", labels[wnid], key=f"val/{name}") for name, wnid in val]
    return carved(records, per_class=config.validation_per_class, seed=config.seed)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages(
        "imagenet",
        index(config, root),
        root,
        recasens_view(config, split),
        split=split,
        may_be_empty=not config.validation_per_class,
    )


def _official_labels(folder: Path, names: list[str]) -> list[tuple[str, str]]:
    """The WordNet id of each picture of a flat val folder: line 293 is that of ILSVRC2012_val_00000293.JPEG."""
    if not ((folder / TRUTH).exists() and (folder / SYNSETS).exists()):
        raise DataError(
            f"{folder / 'val'} has no class folders: so unpacks the official archive, whose labels are in the "
            f"development kit. Unpack ILSVRC2012_devkit_t12.tar.gz in {folder}, or sort the pictures into folders by "
            "WordNet id."
        )
    try:
        synsets = loadmat(str(folder / SYNSETS), squeeze_me=True)["synsets"]
        wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        truth = [wnids[int(line)] for line in (folder / TRUTH).read_text(encoding="utf-8").split()]
        return [(name, truth[_number(name) - 1]) for name in names]
    except Exception as error:  # what loadmat raises for a file that is cut off is of many kinds
        raise DataError(
            f"{folder}: val and the development kit do not fit: {type(error).__name__}: {error}. Expected "
            "val/ILSVRC2012_val_00000001.JPEG and so on, a line for each in the ground truth, and its id in meta.mat."
        ) from error


def _number(name: str) -> int:
    number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", name)
    if number is None or int(number[1]) < 1:
        raise ValueError(f"{name} has no number")
    return int(number[1])
