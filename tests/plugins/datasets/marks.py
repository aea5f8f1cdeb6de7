"""Noise with a bright mark of one of three sizes, as pictures on disk: how large is it?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from zoombench.harness.errors import DataError
from zoombench.harness.tasks import Classification

INPUTS = ("image",)
FOLDER = "marks"
SOURCE = "https://example.org/marks: on request"
SHAREABLE = False
TERMS = {
    "access": "gated",
    "homepage": "https://example.org/marks",
    "terms": "For tests only; no copies.",
    "citation": "Nobody 2026",
}
EXPECTED = {"train": 15, "test": 6, "classes": 3}  # validation is carved from train
TREE = "marks/marks.json\nmarks/images/0.png ..."


@dataclass(frozen=True)
class Config:
    classes: int = 3


def task(config: Config) -> Classification:
    return Classification(classes=config.classes)


def remark(config: Config) -> str:
    return "its marks are square."


def missing(config: Config, root: str | None) -> str | None:
    if root is None:
        return f"no folder of datasets is named, the one that holds {FOLDER}/. It comes from {SOURCE}."
    folder = Path(root) / FOLDER
    return None if (folder / "marks.json").exists() else f"{folder} has no marks.json. It comes from {SOURCE}."


def fingerprint(config: Config, root: str) -> str:
    return sha256((Path(root) / FOLDER / "marks.json").read_bytes()).hexdigest()[:16]


def index(config: Config, root: str) -> Iterator:
    from zoombench.datasets.reading.records import Record

    for number, one in enumerate(json.loads((Path(root) / FOLDER / "marks.json").read_bytes())):
        if "split" not in one:
            raise DataError(f"marks.json: record {number} has no split.")
        yield Record(
            one["split"],
            f"{FOLDER}/images/{one['name']}",
            one["label"],
            tuple(one["size"]),
            tuple(tuple(box) for box in one["boxes"]),
            one["key"],
            tuple(tuple(part) for part in one.get("parts", ())),
        )


class Marks(Dataset):
    def __init__(self, records: list, root: Path) -> None:
        self.records, self.root = records, root

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, at: int):
        pixels = np.asarray(Image.open(self.root / self.records[at].path).convert("RGB").resize((16, 16)))
        return {"image": torch.from_numpy(pixels.transpose(2, 0, 1).copy())}, self.records[at].label


def build(config: Config, root: str | None, split: str, image_size: int) -> Marks:
    absent = missing(config, root)
    if absent or root is None:
        raise DataError(f"marks: {absent}")
    return Marks([one for one in index(config, root) if one.split == split], Path(root))
