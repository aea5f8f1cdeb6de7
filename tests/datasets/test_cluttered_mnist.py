"""Cluttered MNIST: DeepMind's recipe from MNIST's own files, and the pictures of Variational Saccading."""

import gzip
import hashlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoombench.datasets.cluttered_digits import pair_class
from zoombench.datasets.cluttered_mnist import Config, build, fingerprint, missing, task, upsampled
from zoombench.harness.errors import DataError
from zoombench.tests.datasets.official_tables import MNIST_TRAIN, idx, write_mnist, write_npz
from zoombench.tests.references.cluttered_mnist import cluttered

FEW = {"train_examples": 300, "validation_examples": 100, "test_examples": 200}
PAIR, ONE, SUM = (Config(answer=answer, **FEW) for answer in ("combine", "digit", "sum"))  # type: ignore[arg-type]
SPLITS = ("train", "validation", "test")


def raw(data_root: str, name: str) -> np.ndarray:
    """The digits and labels of a file, read here once more: 16 and 8 bytes come before them."""
    path = Path(data_root) / "MNIST" / "raw" / name
    content = gzip.decompress(Path(f"{path}.gz").read_bytes()) if not path.exists() else path.read_bytes()
    return (
        np.frombuffer(content[16:], np.uint8).reshape(-1, 28, 28)
        if "images" in name
        else np.frombuffer(content[8:], np.uint8)
    )


@pytest.mark.parametrize("config", [PAIR, ONE, SUM, replace(PAIR, canvas=60), replace(SUM, distractors=20)])
def test_a_picture_is_what_the_recipe_says(config: Config, data_root: str) -> None:
    """Against plain loops over float pixels, as the original has them."""
    dataset = build(config, data_root, "train", 16)
    for index in range(25):
        digits, clutter = dataset.plan(index)
        expected = cluttered(dataset.digits / 255, digits, clutter, canvas=config.canvas)
        assert np.array_equal(dataset[index][0]["image"][0].numpy(), (expected * 255).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("config", "digits", "fragments"),
    [(PAIR, 2, 8), (ONE, 1, 8), (replace(ONE, canvas=60), 1, 4), (SUM, 2, 0), (replace(SUM, distractors=3), 2, 3)],
)
def test_the_usual_clutter_is_that_of_the_sources(config: Config, digits: int, fragments: int, data_root: str) -> None:
    """RAM's 60 px have 4 fragments, DeepMind's 100 px 8, and the sums of Variational Saccading none."""
    shown, clutter = build(config, data_root, "test", 16).plan(0)
    assert (len(shown), len(clutter)) == (digits, fragments)


@pytest.mark.parametrize("split", SPLITS)
def test_digits_and_clutter_come_from_the_splits_own_part(split: str, data_root: str) -> None:
    images = raw(data_root, f"{'t10k' if split == 'test' else 'train'}-images-idx3-ubyte")
    labels = raw(data_root, f"{'t10k' if split == 'test' else 'train'}-labels-idx1-ubyte")
    kept = MNIST_TRAIN - MNIST_TRAIN // 6
    part = {"train": slice(kept), "validation": slice(kept, None), "test": slice(None)}[split]
    dataset = build(PAIR, data_root, split, 16)
    assert np.array_equal(dataset.digits, images[part])
    assert np.array_equal(dataset.labels, labels[part])
    used = {source for index in range(len(dataset)) for some in dataset.plan(index) for source, *_ in some}
    assert max(used) < len(images[part])


def test_targets_are_those_of_the_digits(data_root: str) -> None:
    one, pair, total = (build(config, data_root, "test", 16) for config in (ONE, PAIR, SUM))
    for index in range(60):
        assert one[index][1] == one.labels[one.plan(index)[0][0][0]]
        first, second = (int(pair.labels[source]) for source, *_ in pair.plan(index)[0])
        assert pair[index][1] == pair_class(first, second)
        assert total[index][1] == sum(int(total.labels[source]) for source, *_ in total.plan(index)[0])
    assert [task(config).classes for config in (ONE, PAIR, SUM)] == [10, 55, 19]


def test_a_pack_is_dealt_whole_before_it_is_shuffled_anew(data_root: str) -> None:
    dataset = build(replace(PAIR, train_examples=500), data_root, "train", 16)  # two packs of 500 digits an epoch
    packs = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        dealt = [source for index in range(500) for source, *_ in dataset.plan(index)[0]]
        packs += [dealt[:500], dealt[500:]]
    assert all(sorted(pack) == list(range(500)) for pack in packs)
    assert len({tuple(pack) for pack in packs}) == 4


def test_every_place_is_drawn_and_digits_may_overlap(data_root: str) -> None:
    dataset = build(replace(PAIR, canvas=40, train_examples=4000), data_root, "train", 16)
    plans = [dataset.plan(index) for index in range(4000)]
    for axis in (1, 2):
        assert {digit[axis] for digits, _ in plans for digit in digits} == set(range(40 - 28 + 1))
        assert {cut[axis] for _, clutter in plans for cut in clutter} == set(range(28 - 8 + 1))
        assert {cut[axis + 2] for _, clutter in plans for cut in clutter} == set(range(40 - 8 + 1))
    assert any(abs(one[1] - two[1]) < 20 and abs(one[2] - two[2]) < 20 for (one, two), _ in plans)


@pytest.mark.parametrize("split", SPLITS)
def test_every_class_is_drawn(split: str, data_root: str) -> None:
    dataset = build(replace(ONE, canvas=28, distractors=0), data_root, split, 16)
    assert set(Counter(dataset[index][1] for index in range(len(dataset)))) == set(range(10))


@pytest.mark.parametrize("size", [100, 101, 128, 355, 2528])
def test_upsampling_is_that_of_the_paper(size: int) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (100, 100)).astype(np.uint8)
    grey[20:60] = 0
    theirs = functional.interpolate(
        torch.from_numpy(grey)[None, None].double(), size=size, mode="bilinear", align_corners=True
    )
    assert np.abs(upsampled(grey, size).astype(float) - theirs[0, 0].numpy()).max() < 0.5 + 1e-4


@pytest.mark.parametrize("scaling", ["upsampled", "native"])
def test_large_pictures_are_of_the_asked_size(scaling: Any, data_root: str) -> None:
    dataset = build(replace(PAIR, size=2528, scaling=scaling), data_root, "test", 16)
    image = dataset[0][0]["image"]
    assert image.shape == (3, 2528, 2528)
    assert image.max() > 90


def test_native_draws_what_upsampling_only_enlarges(data_root: str) -> None:
    """At the canvas' own size both are one; digits of a native picture have their share of it, at places in between."""
    same = [
        build(replace(PAIR, size=100, scaling=scaling), data_root, "test", 16) for scaling in ("upsampled", "native")
    ]
    assert all(torch.equal(same[0][index][0]["image"], same[1][index][0]["image"]) for index in range(10))
    native = build(replace(PAIR, size=1000, scaling="native", distractors=0), data_root, "test", 16)
    assert (native.digit, native.fragment) == (280, 80)
    places = [place for index in range(100) for _, x, y in native.plan(index)[0] for place in (x, y)]
    assert max(places) > 700
    assert len({place % 10 for place in places}) == 10
    for index in range(10):
        image = native[index][0]["image"].clone()
        for _, x, y in native.plan(index)[0]:
            image[:, y : y + 280, x : x + 280] = 0
        assert not image.any()


def test_another_seed_gives_other_examples(data_root: str) -> None:
    one, other = (build(replace(PAIR, seed=seed), data_root, "train", 16) for seed in (0, 1))
    assert not any(torch.equal(one[index][0]["image"], other[index][0]["image"]) for index in range(20))


# sha256 over the image's first channel and the target of examples 0, 1 and 99 of the fixture; numpy 2.4.6, Pillow 13.0.
GOLDEN = {
    ("train", 0, "combine", None): "f93a8bcac2e69719a00bfed88b8a49629e6afd9026d713dffdb9e74f3ddc6951",
    ("train", 3, "combine", None): "c5f65369a75396704d3da440d348331e3789461fe8567e28e43c778cba7747bd",
    ("validation", 0, "sum", None): "904abab153f1d7bbda6dd4d8b9b7473d1ccd889c19ef4eca4a3e6a66f0fe7d02",
    ("test", 0, "digit", 300): "355c2faf4ac16bb34b8d8230fdb9a66b68473fd505ea2b45731122d3b36f8ff5",
}


@pytest.mark.parametrize(("split", "epoch", "answer", "size"), GOLDEN)
def test_every_platform_draws_the_same_examples(
    split: str, epoch: int, answer: Any, size: int | None, data_root: str
) -> None:
    content = hashlib.sha256()
    for scaling in ("upsampled", "native"):
        config = Config(answer=answer, size=size, scaling=scaling, distractors=6, **FEW)  # type: ignore[arg-type]
        dataset = build(config, data_root, split, 16)
        dataset.set_epoch(epoch)
        for index in (0, 1, 99):
            image, target = dataset[index]
            content.update(image["image"][0].numpy().tobytes() + bytes([target]))
    assert content.hexdigest() == GOLDEN[split, epoch, answer, size]


def test_packed_and_unpacked_files_are_the_same_data(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    first, before = fingerprint(PAIR, str(tmp_path)), build(PAIR, str(tmp_path), "train", 16)[0]
    packed = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert fingerprint(PAIR, str(tmp_path)) == first
    assert torch.equal(build(PAIR, str(tmp_path), "train", 16)[0][0]["image"], before[0]["image"])
    labels = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    labels.write_bytes(labels.read_bytes()[:-1] + b"\1")
    assert fingerprint(PAIR, str(tmp_path)) != first


def npz(tmp_path: Path, answer: Any = "combine", **settings: Any) -> tuple[Config, str]:
    write_npz(tmp_path)
    return Config(source="npz", answer=answer, validation_examples=10, **settings), str(tmp_path)


@pytest.mark.parametrize(
    ("answer", "folder"), [("combine", "clutteredmnist2digits120k"), ("sum", "uncluttered_mnist_2sumdigits_120k")]
)
def test_the_papers_files_are_read_as_the_paper_reads_them(answer: str, folder: str, tmp_path: Path) -> None:
    """uint8(255 x), cut and not rounded; validation is the end of train.npz."""
    config, root = npz(tmp_path, answer)
    assert missing(config, root) is None
    for split, file, part in (
        ("train", "train", slice(50)),
        ("validation", "train", slice(50, 60)),
        ("test", "test", slice(60)),
    ):
        with np.load(tmp_path / folder / f"{file}.npz") as content:
            data, labels = content["data"][part], content["labels"][part]
        dataset = build(config, root, split, 16)
        assert len(dataset) == len(labels)
        for index in range(len(dataset)):
            image, target = dataset[index]
            assert np.array_equal(image["image"].numpy(), np.uint8(data[index].repeat(3, axis=0) * 255))
            assert target == labels[index]


def test_the_papers_files_are_enlarged_too(tmp_path: Path) -> None:
    config, root = npz(tmp_path, size=2528)
    assert build(config, root, "test", 16)[0][0]["image"].shape == (3, 2528, 2528)


def test_the_fingerprint_of_the_papers_files_knows_their_content(tmp_path: Path) -> None:
    config, root = npz(tmp_path)
    first = fingerprint(config, root)
    path = tmp_path / "clutteredmnist2digits120k" / "test.npz"
    with np.load(path) as content:
        data, labels = content["data"].copy(), content["labels"]
    data[3, 0, 50, 50] = 1 - data[3, 0, 50, 50]
    np.savez(path, data=data, labels=labels)
    assert fingerprint(config, root) != first


def stored(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


GOOD = np.zeros((60, 1, 100, 100), np.float32)
BAD_NPZ: dict[str, tuple[bytes, str]] = {
    "not a zip": (b"nothing", "ValueError|UnpicklingError"),
    "no labels": (stored(data=GOOD), "KeyError: 'labels"),
    "no data": (stored(labels=np.zeros(60, int)), "data.npy"),
    "another shape": (stored(data=GOOD[:, :, 1:], labels=np.zeros(60, int)), r"data has the shape \(60, 1, 99, 100\)"),
    "fewer pictures": (stored(data=GOOD[1:], labels=np.zeros(60, int)), r"shape \(59, 1, 100, 100\) for 60 labels"),
    "levels of 255": (stored(data=GOOD + 255, labels=np.zeros(60, int)), "data is not between 0 and 1"),
    "a class past the last": (stored(data=GOOD, labels=np.full(60, 55)), "a label is not between 0 and 54"),
    "too few": (stored(data=GOOD[:10], labels=np.zeros(10, int)), "10 pictures are too few for 10 of validation"),
    "cut off": (stored(data=GOOD, labels=np.zeros(60, int))[:-400], "BadZipFile"),
}


@pytest.mark.parametrize("mistake", BAD_NPZ)
def test_an_npz_that_is_not_the_papers_is_refused(mistake: str, tmp_path: Path) -> None:
    config, root = npz(tmp_path)
    content, message = BAD_NPZ[mistake]
    (tmp_path / "clutteredmnist2digits120k" / "train.npz").write_bytes(content)
    with pytest.raises(DataError, match=f"train.npz: expected `data`, fractions .*: .*({message})"):
        build(config, root, "train", 16)


def write(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


LABELS, IMAGES = "t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte"
BAD_IDX: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another format": (
        write(IMAGES, b"\x89PNG\r\n"),
        "t10k-images-idx3-ubyte: not readable: ValueError: it begins with",
    ),
    "labels for images": (write(IMAGES, idx(np.zeros(90, np.uint8))), "it begins with"),
    "empty": (write(IMAGES, b""), "it begins with b''"),
    "cut off": (lambda folder: write(IMAGES, (folder / IMAGES).read_bytes()[:-9])(folder), "not readable: ValueError"),
    "more labels than digits": (
        write(LABELS, idx(np.zeros(91, np.uint8))),
        r"holds \(90, 28, 28\) and .*\(91,\), up to 0",
    ),
    "a label of 10": (write(LABELS, idx(np.full(90, 10, np.uint8))), "up to 10: expected as many digits of 28 x 28"),
    "other digits": (write(IMAGES, idx(np.zeros((90, 20, 20), np.uint8))), r"holds \(90, 20, 20\)"),
    "no digit": (write(IMAGES, idx(np.zeros((0, 28, 28), np.uint8))), "holds"),
}


@pytest.mark.parametrize("mistake", BAD_IDX)
def test_files_that_are_not_mnists_are_refused(mistake: str, tmp_path: Path) -> None:
    change, message = BAD_IDX[mistake]
    write_mnist(tmp_path)
    change(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataError, match=message):
        build(PAIR, str(tmp_path), "test", 16)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", whole[:200] + b"\xff" * 50 + whole[250:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: not readable: .*Fetch this file again"):
            build(PAIR, str(tmp_path), "train", 16)


def test_absent_files_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").unlink()
    assert r"has no train-images-idx3-ubyte*. It comes from https" in str(missing(PAIR, str(tmp_path)))
    config = Config(source="npz", answer="sum")
    assert "uncluttered_mnist_2sumdigits_120k has no train.npz, test.npz. It comes from" in str(
        missing(config, str(tmp_path))
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"canvas": 27}, "canvas is 27 px: a digit has 28"),
        ({"distractors": -1}, "distractors is -1: it cannot be negative"),
        ({"size": 99}, "size is 99 px: it enlarges the canvas, which has 100"),
        ({"train_examples": 0}, "train_examples is 0: it must be at least 1"),
        ({"source": "npz", "answer": "digit"}, "the npz files hold finished pictures of two digits on 100 px"),
        ({"source": "npz", "scaling": "native"}, "finished pictures"),
        ({"source": "npz", "canvas": 60}, "finished pictures"),
    ],
)
def test_a_setting_that_cannot_be_drawn_says_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)
