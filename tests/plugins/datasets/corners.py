"""Noise with one bright corner: which one? Small enough for a test that trains."""

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from zoombench.harness.tasks import Classification

INPUTS = ("image",)


@dataclass(frozen=True)
class Config:
    examples: int = 64


def task(config: Config) -> Classification:
    return Classification(classes=4)


class Corners(Dataset):
    def __init__(self, examples: int, stream: int) -> None:
        self.examples, self.stream, self.epoch = examples, stream, 0

    def __len__(self) -> int:
        return self.examples

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int):
        epoch = self.epoch if self.stream == 0 else 0
        noise = torch.Generator().manual_seed(self.stream * 10**6 + epoch * 10**4 + index)
        image = torch.randint(0, 200, (3, 16, 16), generator=noise, dtype=torch.uint8)
        corner = index % 4
        image[:, corner // 2 * 12 : corner // 2 * 12 + 4, corner % 2 * 12 : corner % 2 * 12 + 4] = 255
        return {"image": image}, corner


def build(config: Config, root: object, split: str, image_size: int) -> Corners:
    return Corners(config.examples, ("train", "validation", "test").index(split))
