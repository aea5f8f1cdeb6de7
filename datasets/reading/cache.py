"""Pictures decoded once: one flat file of bytes, read through a memory map by all trials together.

A cache lies in <data root>/.zoombench/<set>/ or $ZOOMBENCH_CACHE/.zoombench/<hash of the data root>/<set>/, where <set>
is the set's folder below the data root, in a folder named by the hash of every picture's path, size and time of change,
and the version of what decoding means. It holds what load_rgb gives, bit for bit, so trials with it and without have
the same numbers.

    pixels.bin       RGB of every picture, as stored in its file, and its overview after it
    index.npy        one row a picture, in the order of the hashes of the paths: where its pixels are
    manifest.json    written last; says how long the other two are

It is made beside that folder and renamed when it is whole, so one that can be found is whole. A picture whose file has
changed since is not read from it. Nothing is removed but what is a cache by its name and by all that lies in it.
"""

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...harness.errors import BadFile, DataError
from .folders import folder_of, newest_cache
from .images import DECODING, Pixels, load_stored, read_size, upright
from .pyramid import is_pyramid
from .records import Record

OVERVIEW = 256
"""Longer side in pixels of an overview."""
GIB = 2**30
FORMAT = 1
PARTS = {"pixels.bin", "index.npy", "manifest.json", "TERMS.txt"}
"""Files of a cache, with the terms that the command lays beside it."""
ROW = np.dtype(
    [
        ("key", "<u8"),
        ("offset", "<u8"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("file_bytes", "<u8"),
        ("changed_ns", "<i8"),
        ("orientation", "<u4"),
    ]
)


class Estimate(NamedTuple):
    """What a cache of some pictures would take, from the headers of their files."""

    pictures: int
    bytes: int
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of each file that has no header; a cache leaves it out."""


class Built(NamedTuple):
    """A cache that is there now."""

    folder: Path
    pictures: int
    bytes: int
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of each file that cannot be decoded; it gives the same error as without a cache."""


class Store:
    """A cache that is open: its pixels are mapped into memory, shared with whoever else reads them."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        manifest = _read_manifest(folder)
        index = (folder / "index.npy").read_bytes()
        found = {
            "format": manifest["format"],
            "decoding": manifest["decoding"],
            "index_sha256": hashlib.sha256(index).hexdigest(),
            "bytes": (folder / "pixels.bin").stat().st_size,
        }
        expected = {"format": FORMAT, "decoding": DECODING} | {k: manifest[k] for k in ("index_sha256", "bytes")}
        wrong = [
            f"{name} is {found[name]}, expected {expected[name]}" for name in found if found[name] != expected[name]
        ]
        if wrong:
            raise DataError(f"{folder} is no cache that can be used: {'; '.join(wrong)}. Build it again.")
        self.rows = np.frombuffer(index, dtype=ROW)
        with (folder / "pixels.bin").open("rb") as stream:
            self.pixels = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)

    def read(self, path: str, *, orient: bool = True) -> Pixels | None:
        """What load_rgb gives of the file root/path, read-only; None where it is not held or has changed since."""
        row = self._row(path)
        if row is None:
            return None
        height, width = int(row["height"]), int(row["width"])
        pixels = self._part(int(row["offset"]), height, width)
        return upright(pixels, int(row["orientation"])) if orient else pixels

    def overview(self, path: str, *, orient: bool = True) -> Pixels | None:
        """The picture with its longer side at most OVERVIEW pixels, each the rounded mean of its area."""
        row = self._row(path)
        if row is None:
            return None
        height, width = int(row["height"]), int(row["width"])
        pixels = self._part(int(row["offset"]) + height * width * 3, *overview_size(height, width))
        return upright(pixels, int(row["orientation"])) if orient else pixels

    def _part(self, offset: int, height: int, width: int) -> Pixels:
        return self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def _row(self, path: str) -> Any | None:
        at = int(np.searchsorted(self.rows["key"], key_of(path)))
        if at == len(self.rows) or self.rows["key"][at] != key_of(path):
            return None
        row = self.rows[at]
        try:
            state = (self.root / path).stat()
        except OSError:
            return None  # the file's reader says what is wrong with it
        return row if (state.st_size, state.st_mtime_ns) == (row["file_bytes"], row["changed_ns"]) else None


def find(root: Path, of: str) -> Store | None:
    """The newest cache of a set, if there is one; raises DataError if it is damaged."""
    try:
        newest = newest_cache(root, of)
        return None if newest is None else Store(newest, root)
    except FileNotFoundError:  # another process has just put a newer one in its place
        return None


def estimate(records: Iterable[Record], root: Path) -> Estimate:
    """The size of a cache before it is built; decodes nothing."""
    planned, unreadable = _plan({record.path for record in records}, root)
    return Estimate(len(planned), _layout(planned)[1], unreadable)


def build(
    records: Iterable[Record],
    root: Path,
    *,
    limit_gib: int | float = 20,
    workers: int = 1,
    note: Callable[[int, int], None] = lambda done, of: None,
) -> Built:
    """Decode every picture of a set once. A cache that is there and current is left as it is; an older one goes.

    Files that cannot be read are left out. `note` hears how many pictures are done, of how many. Two that build at the
    same time wait for each other, and the second finds the cache of the first; what a killed one left behind goes.

    Raises DataError where it would be larger than limit_gib or than what is free, where its place cannot be written or
    lies among the pictures, or where records are of several sets.
    """
    paths = {record.path for record in records}
    sets = sorted({path.split("/")[0] for path in paths})
    if len(sets) != 1:
        raise DataError(f"a cache is of the pictures of one set below {root}; found {', '.join(sets) or 'none'}.")
    home = folder_of(root, sets[0])
    if home.resolve().is_relative_to((root / sets[0]).resolve()):
        raise DataError(f"the cache would lie in {home}, among the pictures. Name another folder in ZOOMBENCH_CACHE.")
    try:
        return _build(paths, root, home, limit_gib=limit_gib, workers=workers, note=note)
    except OSError as error:
        raise DataError(
            f"a cache cannot be written in {home}: {error}. Name a folder that can be in ZOOMBENCH_CACHE."
        ) from error


def _build(
    paths: set[str],
    root: Path,
    home: Path,
    *,
    limit_gib: int | float,
    workers: int,
    note: Callable[[int, int], None],
) -> Built:
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / "lock"):
        for leftover in home.glob("*.tmp"):
            _remove_cache(leftover)
        planned, unreadable = _plan(paths, root)
        if not planned:
            raise DataError(f"none of {len(paths)} pictures of {home.name} can be read; the first: {unreadable[0][1]}")
        rows, size = _layout(planned)
        folder = home / _manifest_hash(planned)
        if not _is_whole(folder, root):
            _remove_cache(folder)
            _refuse_what_does_not_fit(size, limit_gib, home, len(planned))
            _write(folder, root, list(planned), rows, size, workers=workers, note=note)
            for other in home.iterdir():
                if other != folder:
                    _remove_cache(other)
        manifest = _read_manifest(folder)
    undecodable = tuple((path, why) for path, why in manifest["unreadable"])
    return Built(folder, manifest["pictures"], manifest["bytes"], tuple(sorted({*unreadable, *undecodable})))


def key_of(path: str) -> int:
    """Eight bytes that stand for a path."""
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")


def overview_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of an overview; a small picture is its own."""
    longer = max(height, width, OVERVIEW)
    return max(1, round(height * OVERVIEW / longer)), max(1, round(width * OVERVIEW / longer))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for key in ("format", "decoding", "index_sha256", "bytes", "pictures", "unreadable"):
            manifest[key]
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{folder} is no cache that can be used: its manifest.json is damaged: {error}. Build it again."
        ) from error
    return manifest


def _remove_cache(folder: Path) -> None:
    """Remove a cache, whole or damaged or half made; anything else stays."""
    if not re.fullmatch(r"[0-9a-f]{16}(\.tmp)?", folder.name) or folder.is_symlink() or not folder.is_dir():
        return
    if {path.name for path in folder.iterdir()} <= PARTS:
        shutil.rmtree(folder)


def _is_whole(folder: Path, root: Path) -> bool:
    try:
        Store(folder, root)
    except (DataError, OSError):
        return False
    return True


class _Planned(NamedTuple):
    height: int
    width: int
    file_bytes: int
    changed_ns: int


def _plan(paths: set[str], root: Path) -> tuple[dict[str, _Planned], tuple[tuple[str, str], ...]]:
    """What each file's header says, in the order of the paths; and the files that have none."""
    planned, unreadable = {}, []
    for path in sorted(paths):
        if is_pyramid(root / path):
            continue  # reads what is seen as fast, from fewer bytes
        try:
            size = read_size(root / path)
            state = (root / path).stat()
        except BadFile as error:
            unreadable.append((path, str(error)))
        else:
            planned[path] = _Planned(*size, state.st_size, state.st_mtime_ns)
    return planned, tuple(unreadable)


def _layout(planned: dict[str, _Planned]) -> tuple[np.ndarray, int]:
    """A row of the index for each picture, in their order, and the bytes of all."""
    rows = np.zeros(len(planned), dtype=ROW)
    offset = 0
    for at, (path, one) in enumerate(planned.items()):
        rows[at] = (key_of(path), offset, *one, 1)
        small = overview_size(one.height, one.width)
        offset += 3 * (one.height * one.width + small[0] * small[1])
    if len(set(rows["key"].tolist())) < len(rows):
        raise DataError("two paths of the set have the same hash of 64 bits; please report this.")
    return rows, offset


def _manifest_hash(planned: dict[str, _Planned]) -> str:
    lines = [f"{FORMAT} {DECODING} {OVERVIEW}"]
    lines += [f"{one.file_bytes} {one.changed_ns} {path}" for path, one in planned.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _refuse_what_does_not_fit(size: int, limit_gib: int | float, home: Path, pictures: int) -> None:
    free = shutil.disk_usage(home).free
    said = f"a cache of {pictures} pictures takes {size / GIB:.2f} GiB in {home}"
    if size > limit_gib * GIB:
        raise DataError(f"{said}, and the limit is {limit_gib:g} GiB. Raise the limit if the disk may be used so.")
    if size > free:
        raise DataError(
            f"{said}, and {free / GIB:.2f} GiB are free. Make room, or name another disk in ZOOMBENCH_CACHE."
        )


def _write(
    folder: Path,
    root: Path,
    paths: list[str],
    rows: np.ndarray,
    size: int,
    *,
    workers: int,
    note: Callable[[int, int], None],
) -> None:
    """Everything into a folder of its own, flushed to the disk, then renamed."""
    draft = folder.with_name(f"{folder.name}.tmp")
    draft.mkdir()
    with (draft / "pixels.bin").open("wb") as stream:
        stream.truncate(size)
    unreadable, decoded = [], np.ones(len(rows), dtype=bool)
    write = partial(_write_one, draft / "pixels.bin", root)
    with ProcessPoolExecutor(workers) if workers > 1 else contextlib.nullcontext() as pool:
        done = pool.map(write, paths, rows, chunksize=16) if pool else map(write, paths, rows)
        for at, found in enumerate(done):
            if isinstance(found, str):
                unreadable.append((paths[at], found))
                decoded[at] = False
            else:
                rows[at]["orientation"] = found
            note(at + 1, len(paths))
    index = np.sort(rows[decoded], order="key").tobytes()
    (draft / "index.npy").write_bytes(index)
    manifest = {
        "format": FORMAT,
        "decoding": DECODING,
        "pictures": int(decoded.sum()),
        "bytes": size,
        "index_sha256": hashlib.sha256(index).hexdigest(),
        "unreadable": unreadable,
    }
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for name in ("pixels.bin", "index.npy", "manifest.json"):
        with (draft / name).open("rb") as stream:
            os.fsync(stream.fileno())
    draft.rename(folder)


def _write_one(pixels: Path, root: Path, path: str, row: np.void) -> int | str:
    """Decode one picture into its place: its orientation, or why it cannot be."""
    try:
        picture, orientation = load_stored(root / path)
    except BadFile as error:
        return str(error)
    height, width = picture.shape[:2]
    if (height, width) != (row["height"], row["width"]):
        return f"{root / path}: it is {width} x {height} px, and its header said {row['width']} x {row['height']}."
    small = overview_size(height, width)
    low = Image.fromarray(picture).resize((small[1], small[0]), Image.Resampling.BOX)
    with pixels.open("r+b") as stream:
        stream.seek(int(row["offset"]))
        stream.write(picture.tobytes())
        stream.write(low.tobytes())
    return orientation


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for whoever builds here; the operating system drops the lock when a process ends."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
