"""Small copies of the sets that torchvision knows, laid out as it does, and of the files of cluttered MNIST."""

import gzip
from pathlib import Path

import numpy as np
from scipy.io import savemat

from zoombench.tests.datasets.pictures import picture, save

VARIANTS = [f"{maker}-{number}" for maker in ("Boeing 737", "F/A", "Cessna", "Il") for number in range(25)]
FLOWERS = (1, 2, 77, 102)
BREEDS = {1: "Abyssinian", 2: "american_bulldog", 24: "Russian_Blue", 37: "yorkshire_terrier"}
PETS_TRAIN, PETS_TEST = 14, 3  # pictures of a breed
MNIST_TRAIN, MNIST_TEST = 600, 90


def write_aircraft(root: Path) -> None:
    """fgvc-aircraft-2013b: variants with spaces and slashes, in no order of the alphabet; a white banner below."""
    data = root / "fgvc-aircraft-2013b" / "data"
    data.mkdir(parents=True)
    (data / "variants.txt").write_text("".join(f"{variant}\n" for variant in VARIANTS))
    number = 0
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        lines = []
        for label in (0, 1, 30, 49, 70, 71, 80, 98, 99):
            for _ in range(count):
                number += 1
                name = f"{number * 6151 % 10**7:07d}"
                pixels = picture(label, seed=number, size=(80, 70))
                pixels[-20:] = 255
                save(pixels, data / "images" / f"{name}.jpg")
                lines.append(f"{name} {VARIANTS[label]}")
        (data / f"images_variant_{split}.txt").write_text("".join(f"{line}\n" for line in lines[::-1]))


def write_cars(root: Path) -> None:
    """stanford_cars: classes from 1 in bytes, a greyscale picture, the same file names in both splits."""
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array([f"AM General Hummer SUV {year}" for year in range(196)], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names.reshape(1, -1)})
    boxes = [(f"bbox_{side}", "u2") for side in ("x1", "y1", "x2", "y2")]
    for split, count, table in (
        ("train", 9, "devkit/cars_train_annos.mat"),
        ("test", 2, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for label in (0, 1, 100, 195):
            for _ in range(count):
                name = f"{len(rows) + 1:05d}.jpg"
                pixels = picture(label, seed=len(rows) + (1000 if split == "test" else 0), size=(64, 50))
                save(pixels, folder / f"cars_{split}" / name, "L" if (split, len(rows)) == ("train", 2) else "RGB")
                rows.append((10, 10, 50, 40, label + 1, name))
        annotations = np.array(rows, dtype=[*boxes, ("class", "u1"), ("fname", "O")])
        savemat(folder / table, {"annotations": annotations.reshape(1, -1)})


def write_flowers(root: Path) -> None:
    """flowers-102: labels from 1 by the picture's number, numbers from 1; the test split is the largest."""
    folder = root / "flowers-102"
    labels = [flower for flower in FLOWERS for _ in range(15)]
    for number, flower in enumerate(labels, start=1):
        save(picture(flower - 1, seed=number, size=(52, 60)), folder / "jpg" / f"image_{number:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    ids = {"trnid": [], "valid": [], "tstid": []}
    for number in range(1, len(labels) + 1):
        ids[("trnid", "trnid", "trnid", "trnid", "trnid", "valid", "valid", *["tstid"] * 8)[number % 15]].append(number)
    savemat(folder / "setid.mat", {name: np.array([numbers[::-1]], np.uint16) for name, numbers in ids.items()})


def write_pets(root: Path) -> None:
    """oxford-iiit-pet: breeds from 1, names with underscores, a GIF and a PNG named .jpg, stray files of a Mac."""
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    seed = 0
    for table, count, first in (("trainval", PETS_TRAIN, 1), ("test", PETS_TEST, 101)):
        lines = []
        for breed, name in BREEDS.items():
            for number in range(first, first + count):
                seed += 1
                path = folder / "images" / f"{name}_{number}.jpg"
                kind = {4: "gif", 5: "png"}.get(seed, "jpeg")
                save(picture(breed - 1, seed=seed, size=(60, 44)), path, format=kind)
                lines.append(f"{name}_{number} {breed} {1 + (not name[0].isupper())} {breed}")
        (folder / "annotations" / f"{table}.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "annotations" / "list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    (folder / "images" / "Abyssinian_1.mat").write_bytes(b"\0")


def write_textures(root: Path) -> None:
    """dtd: 47 words, one of them with a hyphen, other splits in partition 2."""
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    words = sorted(["polka-dotted", "banded", *(f"word{number:02d}" for number in range(45))])
    lines: list[list[str]] = [[], [], []]
    for label, word in enumerate(words):
        for number in range(3):
            name = f"{word}/{word}_{2 + 7 * number:04d}.jpg"
            save(picture(label, seed=label * 10 + number, size=(40, 32)), folder / "images" / name)
            lines[number].append(name)
    for partition in (1, 2):
        for at, split in enumerate(("train", "val", "test")):
            text = "".join(f"{line}\n" for line in lines[(at + partition - 1) % 3])
            (folder / "labels" / f"{split}{partition}.txt").write_text(text)
    (folder / "labels" / "labels_joint_anno.txt").write_text("not read")


def idx(values: np.ndarray) -> bytes:
    """MNIST's own format: two zeros, 8 for bytes, the number of dimensions, the sizes, the bytes."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def write_mnist(root: Path) -> None:
    """MNIST/raw: strokes whose column tells the digit; the training images packed, and a file both ways."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count, seed in (("train", MNIST_TRAIN, 0), ("t10k", MNIST_TEST, 1)):
        labels = ((np.arange(count) * 7 + np.arange(count) // 10 + seed) % 10).astype(np.uint8)
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for at, label in enumerate(labels):
            images[at, 4:24, 4 + 2 * label : 6 + 2 * label] = 100 + (at + 37 * seed) % 156
            images[at, 2, at % 24 : at % 24 + 3] = 90 + at % 160
        for kind, content in (("images-idx3", idx(images)), ("labels-idx1", idx(labels))):
            packed = (name, kind) == ("train", "images-idx3")
            path = raw / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(b"torchvision leaves the archive beside its content")


def write_npz(root: Path, *, pictures: int = 60) -> None:
    """The two sets of Variational Saccading: fractions (pictures, 1, 100, 100), and labels."""
    for name, classes in (("clutteredmnist2digits120k", 55), ("uncluttered_mnist_2sumdigits_120k", 19)):
        folder = root / name
        folder.mkdir(parents=True)
        for split, seed in (("train", 0), ("test", 1)):
            rng = np.random.default_rng(seed)
            data = rng.random((pictures, 1, 100, 100), dtype=np.float32)
            labels = rng.integers(0, classes, pictures)
            np.savez(folder / f"{split}.npz", data=data, labels=labels)
