"""What is wrong with a data set: every record is looked at, and a few examples where there are no records.

The index is read as a stream, twice at most: of a picture only a few bytes stay in memory. Whole files are read only
where two of different splits have the same length and the same last bytes, and where pictures are to be decoded.
"""

import hashlib
import math
import os
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from . import lookup
from .errors import DataError, ZoombenchError
from .tasks import Classification, Task

SPLITS = ("train", "validation", "test")
TAIL = 4096
"""Last bytes of a file that are compared before it is read whole: its first ones are often the same metadata."""
SLACK = 1.0
"""Pixels by which a box or part may leave its picture: annotations differ in whether they count pixels or edges."""

Box = tuple[float, float, float, float]


class Record(Protocol):
    """A picture that some split uses, as datasets/reading/records.py has it."""

    split: str
    path: str
    label: int | None
    size: tuple[int, int] | None
    boxes: tuple[Box, ...]
    key: str
    parts: Sequence[tuple[float, float, bool]]


class Finding(NamedTuple):
    """One thing that is wrong."""

    what: str
    where: str
    found: str
    expected: str


@dataclass
class Counts:
    """What was seen on the way."""

    splits: Counter[str] = field(default_factory=Counter)
    classes: set[int] = field(default_factory=set)
    trained: set[int] = field(default_factory=set)
    """Classes of the training split."""
    size: int = 0
    """Bytes of all files."""
    decoded: int = 0
    """Pictures, or examples where there are no records."""
    index_read: bool = True
    """Whether the index could be read to its end; if not, nothing can be said of what it lists after that."""


def of_records(
    index: Callable[[], Iterable[Record]], root: Path, task: Task, counts: Counts, *, decode: int | None
) -> Iterator[Finding]:
    """Files, sizes, labels, boxes, ids and pictures that are in two splits; `decode` of them are read whole."""
    sizes, tails, keys, splits, bad = array("Q"), array("Q"), array("Q"), array("B"), array("B")
    try:
        for record in index():
            counts.splits[record.split] += 1
            file = _File.look_at(root / record.path)
            counts.size += file.size
            sizes.append(file.size)
            tails.append(file.tail)
            bad.append(file.problem is not None)
            keys.append(_short(record.key.encode()) if record.key else 0)
            splits.append(SPLITS.index(record.split) if record.split in SPLITS else len(SPLITS))
            if record.split not in SPLITS:
                yield Finding("split", record.path, record.split, ", ".join(SPLITS))
            yield from _of_label(record.label, record.path, task)
            if record.label is not None:
                counts.classes.add(record.label)
                if record.split == "train":
                    counts.trained.add(record.label)
            if file.problem:
                yield Finding("file", record.path, *file.problem)
            elif record.size and file.shape and file.shape != record.size:
                yield Finding("size", record.path, _by(file.shape), f"{_by(record.size)}, as annotated")
            yield from _of_boxes(record.boxes, record.size or file.shape, record.path, slack=SLACK)
            yield from _of_parts(record.parts, record.size or file.shape, record.path)
    except DataError as error:
        counts.index_read = False
        yield Finding("index", str(root), str(error), "files that agree with each other")
        return
    except (OSError, UnicodeDecodeError) as error:
        counts.index_read = False
        yield Finding("index", str(getattr(error, "filename", None) or root), why(error), "a file that can be read")
        return
    total = len(sizes)
    alike = _alike(*(np.frombuffer(one, one.typecode) for one in (sizes, tails, splits)))
    named = _repeated(np.frombuffer(keys, keys.typecode))
    decoded = np.zeros(total, bool)
    decoded[np.linspace(0, total - 1, min(total, decode or 0)).astype(int)] = True
    decoded &= np.frombuffer(bad, np.uint8) == 0  # what is wrong with these is said
    if alike.any() or named.any() or decoded.any():
        yield from _again(index(), root, alike, named, decoded, counts=counts)


def of_examples(
    build: Callable[[str], Any], inputs: Sequence[str], task: Task, counts: Counts, *, count: int
) -> Iterator[Finding]:
    """So many examples of each split, for a set that has no records: tensors, labels, boxes, and none in two splits."""
    seen: dict[bytes, str] = {}
    for split in SPLITS:
        try:
            examples = build(split)
            counts.splits[split] = len(examples)
        except (ZoombenchError, ValueError, OSError) as error:
            yield Finding("split", split, str(error), "examples")
            continue
        for number in np.unique(np.linspace(0, len(examples) - 1, min(count, len(examples))).astype(int)).tolist():
            where = f"{split} example {number}"
            try:
                tensors, target = examples[number]
            except ZoombenchError as error:
                yield Finding("example", where, str(error), "an example")
                continue
            counts.decoded += 1
            values = {name: np.asarray(tensor) for name, tensor in tensors.items()}
            if set(values) != set(inputs):
                yield Finding("tensors", where, ", ".join(sorted(values)), ", ".join(sorted(inputs)))
            yield from _of_tensors(values, where)
            yield from _of_target(target, where, task)
            if isinstance(task, Classification):
                counts.classes.add(int(target))
            content = b"".join(values[name].tobytes() for name in sorted(values))
            first = seen.setdefault(hashlib.blake2b(content, digest_size=16).digest(), where)
            if not first.startswith(split):
                yield Finding("twice", where, f"the same as {first}", "no example in two splits")


def of_counts(
    counts: Counts, task: Task, expected: dict[str, int], *, every_class: bool, splits: Sequence[str] = SPLITS
) -> Iterator[Finding]:
    """Splits and classes against the official numbers; `every_class` has to occur in training, and each of `splits`.

    Nothing of an index that could not be read: each missing split and class would be the same mistake again.
    """
    if not counts.index_read:
        return
    for split in splits:
        if not counts.splits[split]:
            yield Finding("count", split, "none", "at least one")
    for name, official in expected.items():
        if name == "classes":
            found = len(counts.classes)
        else:
            carved = counts.splits["validation"] if name == "train" and "validation" not in expected else 0
            found = counts.splits[name] + carved
        if found != official:
            yield Finding("count", name, f"{found:,}", f"{official:,}")
    if every_class and isinstance(task, Classification):
        for label in range(task.classes):
            if label not in counts.trained:
                yield Finding("class", f"label {label} (counted from 0)", "none in train", "at least one")


class _File(NamedTuple):
    """What a look at a file's length, header and end tells."""

    size: int = 0
    tail: int = 0
    shape: tuple[int, int] | None = None
    """Width and height as stored; None for a file that is no picture by its name."""
    problem: tuple[str, str] | None = None
    """Found and expected."""

    @classmethod
    def look_at(cls, path: Path) -> "_File":
        from PIL import Image

        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size == 0:
                    return cls(problem=("0 bytes", "a file with content"))
                stream.seek(max(0, size - TAIL))
                tail = _short(stream.read())
                if path.suffix.lower() not in Image.registered_extensions():
                    return cls(size, tail)
                stream.seek(0)
                try:
                    return cls(size, tail, _header(path, stream))
                except Exception as error:  # noqa: BLE001 - Pillow's decoders raise of many kinds
                    return cls(size, tail, problem=(f"{type(error).__name__}: {error}"[:200], "a picture's header"))
        except OSError as error:
            return cls(problem=(error.strerror or str(error), "a file"))


def _header(path: Path, stream: BinaryIO) -> tuple[int, int]:
    """Width and height as stored; Pillow's limit on the number of pixels is one here, but for a pyramid."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream) as file:
                return file.width, file.height
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pyramid = lookup.reading("pyramid")
        if not pyramid.is_pyramid(path):
            raise
        height, width, _ = pyramid.Pyramid(path).shape
        return width, height


def _decode(path: Path) -> None:
    """Read the whole file, not a cache of it; raises DataError where that fails."""
    pyramid = lookup.reading("pyramid")
    if not pyramid.is_pyramid(path):
        lookup.reading("images").load_rgb(path)
        return
    picture = pyramid.Pyramid(path)
    height, width, _ = picture.shape
    for top in range(0, height, pyramid.TILE):
        picture.part(0, 0, top, width, min(top + pyramid.TILE, height))


def _of_label(label: int | None, where: str, task: Task) -> Iterator[Finding]:
    if isinstance(task, Classification) and (label is None or not 0 <= label < task.classes):
        yield Finding("label", where, str(label), f"0 to {task.classes - 1} (counted from 0)")


def _of_boxes(
    boxes: Iterable[Sequence[float]], shape: tuple[int, int] | None, where: str, *, slack: float, empty: bool = False
) -> Iterator[Finding]:
    """Boxes x0, y0, x1, y1 that are not finite, have no area or leave the picture; `empty` ones may stand for none."""
    width, height = shape or (math.inf, math.inf)
    for box in boxes:
        x0, y0, x1, y1 = box
        shown = ", ".join(f"{value:g}" for value in box)
        if not all(map(math.isfinite, box)):
            yield Finding("box", where, shown, "finite numbers")
        elif not (x0 <= x1 and y0 <= y1 if empty else x0 < x1 and y0 < y1):
            yield Finding("box", where, shown, "x0 < x1 and y0 < y1")
        elif min(x0, y0) < -slack or x1 > width + slack or y1 > height + slack:
            yield Finding("box", where, shown, f"inside {_by((width, height))}")


def _of_parts(
    parts: Iterable[tuple[float, float, bool]], shape: tuple[int, int] | None, where: str
) -> Iterator[Finding]:
    """Visible parts that lie outside the picture."""
    width, height = shape or (math.inf, math.inf)
    for number, (x, y, visible) in enumerate(parts, start=1):
        if visible and not (-SLACK <= x <= width + SLACK and -SLACK <= y <= height + SLACK):
            yield Finding("part", where, f"part {number} at {x:g}, {y:g}", f"inside {_by((width, height))}")


def _of_tensors(values: dict[str, npt.NDArray[Any]], where: str) -> Iterator[Finding]:
    image = values.get("image")
    shape = None
    if image is not None:
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8:
            yield Finding("image", where, f"{image.dtype} {image.shape}", "uint8 (3, height, width)")
        else:
            shape = (image.shape[2], image.shape[1])
    for name, value in values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            yield Finding(name, where, "not finite", "finite numbers")
    boxes = values.get("boxes")
    if boxes is not None:
        yield from _of_boxes(boxes.reshape(-1, 4).tolist(), shape, where, slack=0.0, empty=True)


def _of_target(target: Any, where: str, task: Task) -> Iterator[Finding]:
    if isinstance(task, Classification):
        yield from _of_label(int(target), where, task)
    elif not np.isfinite(np.asarray(target)).all():
        yield Finding("target", where, str(target), "finite numbers")


def _alike(sizes: npt.NDArray[Any], tails: npt.NDArray[Any], splits: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which files have the same length and end as one of another split; no empty file has."""
    order = np.lexsort((tails, sizes))
    order = order[sizes[order] > 0]
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(sizes[order]) != 0) | (np.diff(tails[order]) != 0)
    group = np.cumsum(starts) - 1
    least, most = np.full(len(order), 255, np.uint8), np.zeros(len(order), np.uint8)
    np.minimum.at(least, group, splits[order])
    np.maximum.at(most, group, splits[order])
    found = np.zeros(len(sizes), bool)
    found[order] = (least < most)[group]
    return found


def _repeated(keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which records have a key that another one has; 0 is none."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    found: npt.NDArray[np.bool_] = (counts[inverse] > 1) & (keys != 0)
    return found


def _again(
    records: Iterable[Record],
    root: Path,
    alike: npt.NDArray[np.bool_],
    named: npt.NDArray[np.bool_],
    decoded: npt.NDArray[np.bool_],
    *,
    counts: Counts,
) -> Iterator[Finding]:
    """A second look at the records that gave reason for one."""
    contents: dict[bytes, Record] = {}
    keys: dict[str, str] = {}
    for number, record in enumerate(records):
        if alike[number]:
            with (root / record.path).open("rb") as stream:
                first = contents.setdefault(hashlib.file_digest(stream, "sha256").digest(), record)
            if first.split != record.split:
                yield Finding(
                    "twice", record.path, f"the bytes of {first.path} ({first.split})", f"not in {record.split} too"
                )
        if named[number]:
            path = keys.setdefault(record.key, record.path)
            if path is not record.path:
                yield Finding("id", record.path, f"{record.key}, as {path} has", "an id of its own")
        if decoded[number]:
            counts.decoded += 1
            try:
                _decode(root / record.path)
            except DataError as error:
                yield Finding("picture", record.path, str(error.__cause__ or error)[:200], "one that can be decoded")


def why(error: OSError | UnicodeDecodeError) -> str:
    """What the operating system or a decoder says, without number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _short(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _by(shape: tuple[float, float]) -> str:
    return f"{shape[0]:g} x {shape[1]:g}"
