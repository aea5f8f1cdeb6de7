"""FGVC-Aircraft: which of 100 variants of aircraft, such as Boeing 737-700 (Maji et al. 2013).

Listed by torchvision's reader; its views leave out the banner, 20 px at the bottom that say whose the picture is, which
the set's README asks to remove before any use. The splits are the official three. The official metric is the mean of
the classes' accuracies; ours is the share of right answers, nearly the same as each class has 33 or 34 test pictures.
"""

from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import FGVCAircraft

from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.images import Box
from .reading.labelled import LabelledImages, View
from .reading.records import Record
from .reading.settings import check_settings
from .reading.splits import SPLITS
from .reading.torchvision_lists import listed
from .reading.views import central_square, drawn_square

INPUTS = ("image",)
CLASSES = 100
FOLDER = "fgvc-aircraft-2013b"
TABLES = (
    "data/variants.txt",
    "data/images_variant_train.txt",
    "data/images_variant_val.txt",
    "data/images_variant_test.txt",
)
IMAGES = "data/images"
SOURCE = (
    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft: open download, fgvc-aircraft-2013b.tar.gz, 2.75 GB; for "
    "non-commercial research"
)
TERMS = {
    "access": "open",
    "homepage": "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
    "terms": "For non-commercial research only; the photographers keep their rights.",
    "citation": "Maji et al. 2013, Fine-Grained Visual Classification of Aircraft, arXiv 1306.5151",
}
EXPECTED = {"train": 3334, "validation": 3333, "test": 3333, "classes": 100}
TREE = """fgvc-aircraft-2013b/data/
  variants.txt  images_variant_train.txt  images_variant_val.txt  images_variant_test.txt
  images/0034309.jpg ..."""
BANNER = 20  # px


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
    """Which variant."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/fgvc-aircraft-2013b, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES, IMAGES), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the lists of variants and of pictures."""
    return digest(found("fgvc_aircraft", root, FOLDER, TABLES, SOURCE), files=TABLES)


def index(config: Config, root: str | None) -> list[Record]:
    """What torchvision's reader lists; raises DataError where the set is not there or contradicts itself."""
    found("fgvc_aircraft", root, FOLDER, (*TABLES, IMAGES), SOURCE)
    return listed(FGVCAircraft, Path(root or ""), SPLITS, classes=CLASSES, annotation_level="variant")


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    view = View(config.train_size, _drawn, seed=config.seed) if split == "train" else View(config.test_size, _central)
    return LabelledImages("fgvc_aircraft", index(config, root), root, view, split=split)


def _drawn(width: int, height: int, drawn: list[float]) -> Box:
    return drawn_square(width, height - BANNER, drawn)


def _central(width: int, height: int, drawn: list[float]) -> Box:
    return central_square(width, height - BANNER, drawn)
