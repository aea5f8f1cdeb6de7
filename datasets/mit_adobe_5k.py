"""MIT-Adobe FiveK: which of six subjects 5,000 photographs of 12 megapixels and more show (Bychkovsky et al. 2011).

As in Ramapuram et al. 2019, "Variational Saccading", who stretch each to 2528 x 2528. The labels are the last column
of the archive's own categories.txt; one of the six is the word None. The split is ours, seeded and by subject, as
theirs is not published. The archive holds raw photographs, which are not read here: convert each once to an 8-bit sRGB
picture, pictures/a0001-jmac_DSC1459.jpg (or .png, .tif), by a raw converter of your choice or from an expert's
retouched TIFF (16 bits, ProPhoto RGB: convert the colours too). All in one way: results of different conversions do not
compare.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found, picture_names
from .reading.labelled import LabelledImages, View
from .reading.records import Record
from .reading.settings import check_settings
from .reading.splits import ranked
from .reading.views import whole

INPUTS = ("image",)
SUBJECTS = ("None", "abstract", "animals", "man_made", "nature", "people")  # 366, 35, 300, 1869, 1089 and 1341 pictures
FOLDER = "fivek_dataset"
FILES = ("categories.txt", "pictures")
SOURCE = (
    "https://data.csail.mit.edu/graphics/fivek: open download, fivek_dataset.tar (50 GB) with categories.txt and raw "
    "photographs, to be converted into fivek_dataset/pictures; for your own research only"
)
TERMS = {
    "access": "open",
    "homepage": "https://data.csail.mit.edu/graphics/fivek",
    "terms": "Two licences, LicenseAdobe (2,690 pictures) and LicenseAdobeMIT (2,310): solely for your own research, "
    "for no commercial advantage; keep the notices.",
    "citation": "Bychkovsky et al. 2011, Learning Photographic Global Tonal Adjustment with a Database of Input / "
    "Output Image Pairs, CVPR",
}
SHAREABLE = False
EXPECTED = {"train": 3499, "validation": 501, "test": 1000, "classes": 6}
TREE = """fivek_dataset/
  categories.txt                      a0001-jmac_DSC1459,outdoor,day,sun_sky,nature
  pictures/a0001-jmac_DSC1459.jpg ... 8-bit sRGB, converted by you from raw_photos/"""


@dataclass(frozen=True)
class Config:
    """The size, and the split, of which the paper says nothing; mirroring in training is ours."""

    size: int = 2528  # px; the whole picture, stretched to a square; the paper
    validation_percent: int = 10  # of each subject
    test_percent: int = 20  # of each subject; 7 of the 35 abstract ones
    seed: int = 0  # of the split and of mirroring; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for a size or shares that give no split."""
        check_settings(self, "size", "validation_percent", "test_percent")
        if self.validation_percent + self.test_percent > 90:
            raise ValueError(
                f"validation_percent and test_percent are {self.validation_percent} and {self.test_percent}: "
                "a tenth at least must be left for training"
            )


def task(config: Config) -> Classification:
    """Which subject."""
    return Classification(classes=len(SUBJECTS))


def remark(config: Config) -> str:
    """What a reader must know before comparing with the paper."""
    return (
        "the split of MIT-Adobe FiveK is zoombench's own, as the paper's is not published; the pictures were converted "
        "from raw files by whoever ran this. Always answering man_made is right for 37.4% of all."
    )


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/fivek_dataset, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, FILES, SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of categories.txt and of the pictures' names and lengths: another conversion is other data."""
    folder = found("mit_adobe_5k", root, FOLDER, FILES, SOURCE)
    return digest(folder, files=["categories.txt"], pictures=["pictures"])


def index(config: Config, root: str | None) -> list[Record]:
    """Every photograph in the order of categories.txt; raises DataError where the set is not there or not whole."""
    folder = found("mit_adobe_5k", root, FOLDER, FILES, SOURCE)
    labels = _labels(folder / "categories.txt")
    pictures = [PurePosixPath(name) for name in picture_names(folder / "pictures")]
    twice = [name for name, count in Counter(picture.stem for picture in pictures).items() if count > 1]
    if twice:
        raise DataError(f"{folder / 'pictures'} has two pictures called {twice[0]}: leave one of each name.")
    paths = {picture.stem: f"{FOLDER}/pictures/{picture}" for picture in pictures}
    lacking = [name for name in labels if name not in paths]
    if lacking:
        raise DataError(
            f"{folder / 'pictures'} lacks {len(lacking)} of the {len(labels)} pictures that categories.txt names, the "
            f"first {lacking[0]}. Convert it from raw_photos/ to an 8-bit sRGB picture of that name."
        )
    splits = {}
    for names in ranked(labels, seed=config.seed).values():
        test = round(len(names) * config.test_percent / 100)
        validation = round(len(names) * config.validation_percent / 100)
        for rank, name in enumerate(names):
            splits[name] = "test" if rank < test else "validation" if rank < test + validation else "train"
    return [Record(splits[name], paths[name], label, key=name) for name, label in labels.items()]


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The photographs of a split, at config's size: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    view = View(config.size, whole, seed=config.seed if split == "train" else None)
    return LabelledImages("mit_adobe_5k", index(config, root), root, view, split=split)


def _labels(path: Path) -> dict[str, int]:
    """The subject of each photograph, counted in the order of the alphabet, capitals first."""
    labels: dict[str, int] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            if len(fields) != 5 or fields[4] not in SUBJECTS or fields[0] in labels:
                raise DataError(
                    f"{path}: {','.join(row)!r} is not as expected: name, location, time, light and one of "
                    f"{', '.join(SUBJECTS)}, each name once. Take the file from the archive again."
                )
            labels[fields[0]] = SUBJECTS.index(fields[4])
    return labels
