"""The corners, many of them, some of whose files cannot be read."""

from dataclasses import dataclass

from torch.utils.data import Dataset

from zoombench.harness.errors import BadFile
from zoombench.harness.tasks import Classification
from zoombench.tests.plugins.datasets.corners import Corners

INPUTS = ("image",)


@dataclass(frozen=True)
class Config:
    train: str = ""  # examples that cannot be read: "3,5"
    test: str = ""
    examples: int = 1000


def task(config: Config) -> Classification:
    return Classification(classes=4)


class Holes(Dataset):
    def __init__(self, whole: Corners, bad: str, split: str) -> None:
        self.whole, self.split = whole, split
        self.bad = {int(index) for index in bad.split(",") if index}
        self.facts = {"name": [f"{split} {index}" for index in range(len(whole))]}

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int):
        if index in self.bad:
            raise BadFile(f"{self.split}/{index}.jpg: not readable as an image")
        return self.whole[index]


def build(config: Config, root: object, split: str, image_size: int) -> Holes:
    count = 8 if split == "validation" else config.examples
    return Holes(Corners(count, ("train", "validation", "test").index(split)), getattr(config, split, ""), split)
