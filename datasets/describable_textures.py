"""Describable Textures (DTD): which of 47 words, such as banded or dotted, describes a texture (Cimpoi et al. 2014).

The control: a texture is everywhere in its picture, so that there is nothing to zoom in on. Listed by torchvision's
reader. The official benchmark is the mean over ten partitions into three splits; a trial is of one.
"""

from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import DTD

from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.labelled import LabelledImages, square_view
from .reading.records import Record
from .reading.settings import check_settings
from .reading.splits import SPLITS
from .reading.torchvision_lists import listed

INPUTS = ("image",)
CLASSES = 47
FOLDER = "dtd/dtd"
FILES = ("labels", "images")
SOURCE = (
    "https://www.robots.ox.ac.uk/~vgg/data/dtd: open download, dtd-r1.0.1.tar.gz, unpacked in dtd/ as "
    "torchvision's DTD does; for research"
)
TERMS = {
    "access": "open",
    "homepage": "https://www.robots.ox.ac.uk/~vgg/data/dtd",
    "terms": "For research.",
    "citation": "Cimpoi et al. 2014, Describing Textures in the Wild, CVPR",
}
EXPECTED = {"train": 1880, "validation": 1880, "test": 1880, "classes": 47}
TREE = """dtd/dtd/
  labels/train1.txt  labels/val1.txt  labels/test1.txt ...
  images/banded/banded_0002.jpg ..."""


@dataclass(frozen=True)
class Config:
    """The squares of cub_200: none of the source papers uses this set."""

    partition: int = 1  # of ten
    train_size: int = 448  # px
    test_size: int = 448  # px, of validation too
    seed: int = 0  # of the drawn views; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for a partition that does not exist and sizes that give no view."""
        check_settings(self, "train_size", "test_size")
        if not 1 <= self.partition <= 10:
            raise ValueError(f"partition is {self.partition}: there are ten, 1 to 10")


def task(config: Config) -> Classification:
    """Which word."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/dtd/dtd, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, FILES, SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the lists of the partition."""
    folder = found("describable_textures", root, FOLDER, FILES, SOURCE)
    return digest(folder, files=[f"labels/{split}{config.partition}.txt" for split in ("train", "val", "test")])


def index(config: Config, root: str | None) -> list[Record]:
    """What torchvision's reader lists; raises DataError where the set is not there or contradicts itself."""
    found("describable_textures", root, FOLDER, FILES, SOURCE)
    return listed(DTD, Path(root or ""), SPLITS, classes=CLASSES, partition=config.partition)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages("describable_textures", index(config, root), root, square_view(config, split), split=split)
