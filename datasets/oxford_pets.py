"""Oxford-IIIT Pets: which of 37 breeds of cats and dogs (Parkhi et al. 2012).

The test split is the official one; a validation split is carved from trainval, so many a class. Read here, in a few
lines, as torchvision's reader gives a label only with its picture decoded. Some .jpg are PNG or GIF inside.
"""

from dataclasses import dataclass

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.labelled import LabelledImages, square_view
from .reading.records import Record, carved
from .reading.settings import check_settings

INPUTS = ("image",)
CLASSES = 37
FOLDER = "oxford-iiit-pet"
TABLES = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
SOURCE = (
    "https://www.robots.ox.ac.uk/~vgg/data/pets: open download, images.tar.gz and annotations.tar.gz, unpacked side by "
    "side in oxford-iiit-pet/; CC BY-SA 4.0"
)
TERMS = {
    "access": "open",
    "homepage": "https://www.robots.ox.ac.uk/~vgg/data/pets",
    "terms": "CC BY-SA 4.0; the photographers keep their rights.",
    "citation": "Parkhi et al. 2012, Cats and Dogs, CVPR",
}
EXPECTED = {"train": 3680, "test": 3669, "classes": 37}
TREE = """oxford-iiit-pet/
  annotations/trainval.txt  annotations/test.txt     Abyssinian_100 1 1 1
  images/Abyssinian_100.jpg ..."""


@dataclass(frozen=True)
class Config:
    """The squares of cub_200: none of the source papers uses this set."""

    train_size: int = 448  # px
    test_size: int = 448  # px, of validation too
    validation_per_class: int = 10  # of about 100; the set has no official validation split; 0 trains on all
    seed: int = 0  # of the drawn views and of the validation split; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes and counts that give no split."""
        check_settings(self, "train_size", "test_size", at_least_zero=["validation_per_class"])


def task(config: Config) -> Classification:
    """Which breed."""
    return Classification(classes=CLASSES)


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/oxford-iiit-pet, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES.values(), "images"), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the two lists."""
    return digest(found("oxford_pets", root, FOLDER, TABLES.values(), SOURCE), files=TABLES.values())


def index(config: Config, root: str | None) -> list[Record]:
    """Every picture, by split; raises DataError where the set is not there or contradicts itself."""
    folder = found("oxford_pets", root, FOLDER, (*TABLES.values(), "images"), SOURCE)
    records: dict[str, Record] = {}
    for split, table in TABLES.items():
        for number, line in enumerate((folder / table).read_text(encoding="utf-8").splitlines(), start=1):
            try:
                name, breed, _species, _breed_of_species = line.split()
                if not 1 <= int(breed) <= CLASSES:
                    raise ValueError(f"breeds are counted from 1 to {CLASSES}")
                if name in records:
                    raise ValueError("this picture has a line already")
            except ValueError as error:
                raise DataError(f"{folder / table}:{number}: {line!r} is not as expected: {error}.") from error
            records[name] = Record(split, f"{FOLDER}/images/{name}.jpg", int(breed) - 1, key=name)
    return carved(records.values(), per_class=config.validation_per_class, seed=config.seed)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    return LabelledImages(
        "oxford_pets",
        index(config, root),
        root,
        square_view(config, split),
        split=split,
        may_be_empty=not config.validation_per_class,
    )
