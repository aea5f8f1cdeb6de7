"""Small copies of ImageNet and MIT-Adobe FiveK, in their real formats and with their traps."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from zoombench.tests.datasets.pictures import picture, save

WHOLE = 4  # classes of ImageNet with several pictures: the first and the last, and two between
IMAGENET_TRAIN, IMAGENET_VAL = 12, 3  # pictures of such a class
SUBJECTS = ("None", "abstract", "animals", "man_made", "nature", "people")
FIVEK = 10  # photographs of a subject


def wnids(classes: int) -> list[str]:
    """Sorted, as the labels count them."""
    return [f"n{1440764 + 977 * rank:08d}" for rank in range(classes)]


def write_imagenet(root: Path, *, classes: int = 1000, flat: bool = False) -> None:
    """imagenet: a PNG and a CMYK jpeg named .JPEG, stray files, an empty folder; flat as the archive, or in folders."""
    folder = root / "imagenet"
    names = wnids(classes)
    many = sorted({0, 1, classes // 2, classes - 1})
    for rank in np.random.default_rng(0).permutation(classes).tolist():
        for number in range(IMAGENET_TRAIN if rank in many else 1):
            path = folder / "train" / names[rank] / f"{names[rank]}_{10026 - 7 * number}.JPEG"
            pixels = picture(rank, seed=rank * 100 + number, size=(48, 40) if number % 2 else (32, 56))
            if (rank, number) == (0, 1):
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "png")
                path.write_bytes(content.getvalue())
            else:
                save(pixels, path, "CMYK" if (rank, number) == (0, 2) else "RGB")
    truth = []
    for number in range(IMAGENET_VAL):
        for rank in many:
            truth.append(rank)
            name = f"ILSVRC2012_val_{len(truth):08d}.JPEG"
            pixels = picture(rank, seed=10**6 + rank * 10 + number, size=(56, 40))
            save(pixels, folder / "val" / (name if flat else f"{names[rank]}/{name}"))
    (folder / "train" / "n99999999").mkdir()
    (folder / "train" / ".DS_Store").write_bytes(b"\0")
    (folder / "train" / names[0] / "._hidden.JPEG").write_bytes(b"\0")
    (folder / "val" / "valprep.sh").write_text("mkdir -p n01440764\n")
    if flat:
        _write_devkit(folder / "ILSVRC2012_devkit_t12" / "data", names, truth)


def _write_devkit(folder: Path, names: list[str], truth: list[int]) -> None:
    """The ids of the kit count from 1 in an order of their own; above them are synsets that no picture has."""
    kinds = [("ILSVRC2012_ID", "i2"), ("WNID", "O"), ("words", "O"), ("num_children", "u1"), ("num_train_images", "u2")]
    order = np.random.default_rng(1).permutation(len(names)).tolist()
    synsets = [(place + 1, names[rank], "a, b", 0, 1300) for place, rank in enumerate(order)]
    synsets.append((len(names) + 1, "n00001740", "entity", 9, 0))
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": np.array(synsets, dtype=kinds).reshape(-1, 1)})
    lines = "".join(f"{order.index(rank) + 1}\n" for rank in truth)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


def fivek_name(number: int) -> str:
    """As in the archive."""
    return f"a{number + 1:04d}-" + ("jmac_DSC1459", "_DGW6316", "kme_0204", "IMG 3187")[number % 4]


def write_fivek(root: Path) -> None:
    """fivek_dataset: the word None, unsorted lines, names with spaces, pictures of several kinds, raw files beside."""
    folder = root / "fivek_dataset"
    lines = []
    for number in range(FIVEK * len(SUBJECTS)):
        label = number % len(SUBJECTS)
        lines.append(f"{fivek_name(number)},outdoor,day,sun_sky,{SUBJECTS[label]}")
        kind = {3: ".tif", 4: ".png"}.get(number, ".jpg")
        save(picture(label, seed=number, size=(72, 48)), folder / "pictures" / f"{fivek_name(number)}{kind}")
    order = np.random.default_rng(0).permutation(len(lines))
    (folder / "categories.txt").write_text("\n".join(lines[at] for at in order) + "\n")
    (folder / "pictures" / ".DS_Store").write_bytes(b"\0")
    raw = folder / "raw_photos" / "HQa1to700" / "photos"
    raw.mkdir(parents=True)
    (raw / f"{fivek_name(0)}.dng").write_bytes(b"II*\0")
