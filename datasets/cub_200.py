"""CUB-200-2011: which of 200 kinds of birds, by details a few pixels wide (Wah et al. 2011).

Text files that are joined by the image's id, never by line. The test split is the official one; a validation split is
carved from the training images, so many a class. The official page warns that the images overlap ImageNet: weights that
were trained there may have seen test images.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeVar

from ..harness.errors import DataError
from ..harness.tasks import Classification
from .reading.folders import absent, digest, found
from .reading.images import Box
from .reading.labelled import LabelledImages, square_view
from .reading.records import Part, Record, carved
from .reading.settings import check_settings

INPUTS = ("image", "boxes", "parts")
CLASSES = 200
PARTS = 15
FOLDER = "CUB_200_2011"
TABLES = (
    "images.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
    "parts/parts.txt",
    "parts/part_locs.txt",
)
SOURCE = (
    "https://www.vision.caltech.edu/datasets/cub_200_2011: open download, CUB_200_2011.tgz, 1.1 GB, "
    "md5 97eceeb196236b17998738112f37df78; Flickr images, for non-commercial research and education"
)
TERMS = {
    "access": "open",
    "homepage": "https://www.vision.caltech.edu/datasets/cub_200_2011",
    "terms": "Images from Flickr, in which Caltech holds no rights: for non-commercial research and education.",
    "citation": "Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset, Caltech CNS-TR-2011-001",
}
EXPECTED = {"train": 5994, "test": 5794, "classes": 200}
TREE = """CUB_200_2011/
  images.txt  image_class_labels.txt  train_test_split.txt  bounding_boxes.txt
  parts/parts.txt  parts/part_locs.txt
  images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg ..."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Config:
    """The views. The paper (Recasens et al. 2018, table 4) says 227 px for the networks' input and no more.

    Ours, as is usual for this set (DT-RAM's larger size): the shorter side at 512 px, of which a square of 448 is
    shown, drawn and mirrored in training, else central.
    """

    train_size: int = 448  # px
    test_size: int = 448  # px, of validation too
    validation_per_class: int = 3  # of about 30; the set has no official validation split; 0 trains on all
    seed: int = 0  # of the drawn views and of the validation split; not the trial's

    def __post_init__(self) -> None:
        """Raise ValueError for sizes and counts that give no split."""
        check_settings(self, "train_size", "test_size", at_least_zero=["validation_per_class"])


def task(config: Config) -> Classification:
    """Which kind of bird."""
    return Classification(classes=CLASSES)


def remark(config: Config) -> str:
    """What its authors warn of."""
    return "the images of CUB-200-2011 overlap ImageNet, so weights trained there may have seen test images."


def missing(config: Config, root: str | None) -> str | None:
    """What of the set is not in root/CUB_200_2011, and where it is to be had; None if nothing is missing."""
    return absent(root, FOLDER, (*TABLES, "images"), SOURCE)


def fingerprint(config: Config, root: str | None) -> str:
    """A hash of the text files."""
    return digest(found("cub_200", root, FOLDER, TABLES, SOURCE), files=TABLES)


def index(config: Config, root: str | None) -> list[Record]:
    """Every picture in the order of the ids; raises DataError where the set is not there or contradicts itself."""
    folder = found("cub_200", root, FOLDER, (*TABLES, "images"), SOURCE)
    names = _table(folder / "images.txt", str)
    classes = _table(folder / "image_class_labels.txt", _class, like=names)
    boxes = _table(folder / "bounding_boxes.txt", _box, like=names)
    splits = _table(folder / "train_test_split.txt", _split, like=names)
    parts = _parts(folder / "parts/part_locs.txt", names)
    records = (
        Record(
            splits[image],
            f"{FOLDER}/images/{names[image]}",
            classes[image],
            boxes=(boxes[image],),
            parts=parts[image],
            key=str(image),
        )
        for image in sorted(names)
    )
    return carved(records, per_class=config.validation_per_class, seed=config.seed)


def build(config: Config, root: str | None, split: str, image_size: int) -> LabelledImages:
    """The views of a split, at the sizes of config: image_size is not needed.

    Boxes hold the whole bird; parts are the 15 of parts/parts.txt in its order.

    Raises ValueError for an unknown split and DataError where the set is not there or contradicts itself.
    """
    folder = found("cub_200", root, FOLDER, (*TABLES, "images"), SOURCE)
    # The boxes are of the pictures as they are stored.
    return LabelledImages(
        "cub_200",
        index(config, root),
        root,
        square_view(config, split),
        split=split,
        orient=False,
        mirrored_parts=_mirrored(folder / "parts/parts.txt"),
        may_be_empty=not config.validation_per_class,
    )


def _table(path: Path, parse: Callable[[str], Value], like: Collection[int] | None = None) -> dict[int, Value]:
    """What a text file says of each id: lines of an id and a value, in any order; images are those of `like`."""
    found: dict[int, Value] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        image_id, _, value = line.strip().partition(" ")
        try:
            if int(image_id) in found:
                raise ValueError("this id has a line already")
            found[int(image_id)] = parse(value)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {line!r} is not as expected: {error}.") from error
    if like is not None and found.keys() != set(like):
        image = min(found.keys() ^ set(like))
        here, there = (path.name, "images.txt") if image in found else ("images.txt", path.name)
        raise DataError(f"{path.parent}: image {image} is in {here} and not in {there}. Unpack the archive again.")
    return found


def _parts(path: Path, images: Collection[int]) -> dict[int, tuple[Part, ...]]:
    """The parts of each image in the order of their ids, from lines of image, part, x, y and whether it is visible."""
    found: dict[int, dict[int, Part]] = {image: {} for image in images}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            image, part, x, y, visible = line.split()
            if int(image) not in found:
                raise ValueError(f"images.txt has no image {image}")
            if not 1 <= int(part) <= PARTS or int(part) in found[int(image)]:
                raise ValueError(f"parts are counted from 1 to {PARTS}, each once an image")
            if visible not in ("0", "1") or not (isfinite(float(x)) and isfinite(float(y))):
                raise ValueError("a part is a finite x and y, and 1 where it is visible, else 0")
            found[int(image)][int(part)] = Part(float(x), float(y), visible == "1")
        except ValueError as error:
            raise DataError(f"{path}:{number}: {line!r} is not as expected: {error}.") from error
    for key, parts in found.items():
        if len(parts) < PARTS:
            raise DataError(f"{path}: image {key} has {len(parts)} parts, expected {PARTS}. Unpack the archive again.")
    return {key: tuple(parts[part] for part in range(1, PARTS + 1)) for key, parts in found.items()}


def _mirrored(path: Path) -> list[int]:
    """Which part takes each one's place in a mirror, counted from 0: of a left part the right one, else itself."""
    names = _table(path, str)
    if sorted(names) != list(range(1, PARTS + 1)):
        raise DataError(f"{path}: parts {sorted(names)}, expected 1 to {PARTS}. Unpack the archive again.")
    swap = {"left": "right", "right": "left"}
    partners = [" ".join(swap.get(word, word) for word in names[part].split()) for part in sorted(names)]
    at = {name: number - 1 for number, name in names.items()}
    return [at.get(partner, here) for here, partner in enumerate(partners)]


def _class(text: str) -> int:
    if not 1 <= int(text) <= CLASSES:
        raise ValueError(f"classes are counted from 1 to {CLASSES}")
    return int(text) - 1


def _split(text: str) -> str:
    if text not in ("0", "1"):
        raise ValueError("1 stands for training and 0 for test")
    return "train" if text == "1" else "test"


def _box(text: str) -> Box:
    x, y, width, height = map(float, text.split())
    if not (all(map(isfinite, (x, y, width, height))) and width > 0 and height > 0):
        raise ValueError("a box is a finite x and y, and a width and height above 0")
    return x, y, x + width, y + height
