"""Writes the set of tests/plugins/datasets/marks.py: pictures of 24 x 20 px and up with a bright square each."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = {"train": 12, "validation": 3, "test": 6}


def write_marks(root: Path, *, seed: int = 0) -> None:
    """Under root/marks: 21 pictures of three classes, no two alike, and what marks.json says of them."""
    folder = root / "marks"
    (folder / "images").mkdir(parents=True)
    records = []
    noise = np.random.default_rng(seed)
    for number, split in enumerate(split for split, count in SPLITS.items() for _ in range(count)):
        label = number % 3
        pixels = noise.integers(0, 100, (20, 20 + number, 3), dtype=np.uint8)
        pixels[4 : 8 + 2 * label, 4 : 8 + 2 * label] = 250
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        records.append(
            {
                "split": split,
                "name": f"{number}.png",
                "label": label,
                "size": [20 + number, 20],
                "boxes": [[4, 4, 8 + 2 * label, 8 + 2 * label]],
                "key": f"mark {number}",
            }
        )
    (folder / "marks.json").write_text(json.dumps(records))
