"""A cache gives what the files give, or is not used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from zoombench.datasets.reading import cache, pictures
from zoombench.datasets.reading.images import cut, load_rgb
from zoombench.datasets.reading.pictures import read_picture
from zoombench.datasets.reading.records import Record
from zoombench.harness.errors import BadFile, DataError
from zoombench.tests.datasets.reading.test_images import READABLE, REFUSED, with_orientation

SIZES = [(40, 60), (300, 500), (700, 333), (1, 9)]  # rows and columns

BUILD = """
import sys
from pathlib import Path
from zoombench.datasets.reading.cache import build
from zoombench.datasets.reading.records import Record
root = Path(sys.argv[1])
records = [Record("train", str(path.relative_to(root))) for path in (root / "set").glob("*.png")]
def note(done, of):
    if done == int(sys.argv[2]):
        print("there", flush=True)
        sys.stdin.read(1)
print("ready", flush=True)
print(build(records, root, note=note).folder)
"""


@pytest.fixture(autouse=True)
def _forget() -> None:
    """A process looks for a cache once."""
    pictures._store.cache_clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures of several sizes and kinds."""
    folder = tmp_path / "set" / "a folder"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for at, (rows, columns) in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (rows, columns, 3), np.uint8)).save(folder / f"{at}.png")
    for orientation in (3, 6):
        (folder / f"turned-{orientation}.jpg").write_bytes(with_orientation(orientation))
    for kind in ("greyscale jpeg", "CMYK jpeg", "16-bit grey png", "palette with transparency"):
        (folder / f"{kind}.jpg").write_bytes(READABLE[kind][0]())
    return tmp_path


def records(root: Path) -> list[Record]:
    return [Record("train", path.relative_to(root).as_posix()) for path in sorted(root.glob("set/**/*.*"))]


def opened(root: Path) -> cache.Store:
    store = cache.find(root, "set")
    assert store is not None
    return store


def start(root: Path, stop_at: int = -1) -> "subprocess.Popen[str]":
    """A process that builds, and waits once so many pictures are done."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root), str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Twelve pictures, for the processes."""
    (tmp_path / "set").mkdir()
    for at in range(12):
        Image.fromarray(np.full((64, 64, 3), at, np.uint8)).save(tmp_path / "set" / f"{at}.png")
    return tmp_path


@pytest.mark.parametrize("orient", [True, False])
def test_every_picture_is_the_one_in_its_file_bit_for_bit(root: Path, orient: bool) -> None:
    built = cache.build(records(root), root)
    assert built.pictures == len(records(root))
    store = opened(root)
    for record in records(root):
        held = store.read(record.path, orient=orient)
        assert held is not None
        assert np.array_equal(held, load_rgb(root / record.path, orient=orient)), record.path
        assert not held.flags.writeable


def test_the_reader_of_pictures_takes_them_from_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.build(records(root), root)
    expected = [load_rgb(root / record.path) for record in records(root)]
    monkeypatch.setattr(pictures, "load_rgb", None)  # whoever decodes fails
    for record, picture in zip(records(root), expected, strict=True):
        assert np.array_equal(read_picture(root, record.path), picture)


def test_a_view_of_a_cached_picture_is_that_of_its_file(root: Path) -> None:
    cache.build(records(root), root)
    for record in records(root):
        box = (-3.5, 1.2, 20.1, 7.7)
        held, read = read_picture(root, record.path), load_rgb(root / record.path)
        assert cut(held, box, 16).equal(cut(read, box, 16))


def test_an_overview_is_the_mean_of_each_area(root: Path) -> None:
    cache.build(records(root), root)
    path = "set/a folder/2.png"  # 700 x 333 px
    low = opened(root).overview(path)
    assert low is not None
    assert low.shape == (256, 122, 3)
    exact = Image.fromarray(load_rgb(root / path)).resize((122, 256), Image.Resampling.BOX)
    assert np.array_equal(low, np.asarray(exact))
    small = opened(root).overview("set/a folder/0.png")
    assert small is not None
    assert np.array_equal(small, load_rgb(root / "set/a folder/0.png"))  # it is no larger itself


def test_a_picture_that_has_changed_since_is_read_from_its_file(root: Path) -> None:
    cache.build(records(root), root)
    path = root / "set/a folder/0.png"
    before = load_rgb(path)
    Image.fromarray(255 - before).save(path)
    assert opened(root).read("set/a folder/0.png") is None
    assert np.array_equal(read_picture(root, "set/a folder/0.png"), 255 - before)
    assert opened(root).read("set/a folder/1.png") is not None


def test_a_file_of_the_same_length_that_was_written_later_is_read_anew(root: Path) -> None:
    cache.build(records(root), root)
    path = root / "set/a folder/0.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert opened(root).read("set/a folder/0.png") is None


def test_building_again_does_nothing_and_after_a_change_replaces(root: Path) -> None:
    first = cache.build(records(root), root)
    inode = (first.folder / "pixels.bin").stat().st_ino
    assert cache.build(records(root), root) == first
    assert (first.folder / "pixels.bin").stat().st_ino == inode
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(root / "set/a folder/0.png")
    second = cache.build(records(root), root)
    assert second.folder != first.folder
    assert not first.folder.exists()
    assert opened(root).read("set/a folder/0.png") is not None


def test_a_picture_that_is_gone_or_unknown_is_not_held(root: Path) -> None:
    cache.build(records(root), root)
    store = opened(root)
    (root / "set/a folder/0.png").unlink()
    assert store.read("set/a folder/0.png") is None
    assert store.read("set/none.png") is None
    with pytest.raises(BadFile, match=r"0.png, example 4: not readable as an image: FileNotFoundError"):
        read_picture(root, "set/a folder/0.png", index=4)


def test_files_that_cannot_be_read_are_left_out_and_named(root: Path) -> None:
    bad = {"half.jpg": "truncated in the middle", "empty.jpg": "empty", "huge.png": "more, where Pillow raises"}
    for name, kind in bad.items():
        content = REFUSED[kind][0]()
        assert content is not None
        (root / "set" / name).write_bytes(content)
    built = cache.build([*records(root), Record("test", "set/missing.jpg")], root)
    assert [path for path, _ in built.unreadable] == [
        "set/empty.jpg",
        "set/half.jpg",
        "set/huge.png",
        "set/missing.jpg",
    ]
    assert all("not readable as an image" in why for _, why in built.unreadable)
    assert cache.build([*records(root), Record("test", "set/missing.jpg")], root) == built
    with pytest.raises(BadFile, match="truncated"):
        read_picture(root, "set/half.jpg")


def test_the_size_is_known_before_and_is_the_size(root: Path) -> None:
    expected = cache.estimate(records(root), root)
    built = cache.build(records(root), root)
    assert (expected.pictures, expected.bytes) == (built.pictures, built.bytes)
    assert (built.folder / "pixels.bin").stat().st_size == expected.bytes
    by_hand = 3 * (40 * 60 + 40 * 60 + 300 * 500 + 154 * 256 + 700 * 333 + 256 * 122 + 9 + 9)
    others = [record.path for record in records(root) if not record.path[-5].isdigit() or "turned" in record.path]
    assert expected.bytes == by_hand + sum(2 * load_rgb(root / path).size for path in others)


def test_a_cache_above_the_limit_or_the_free_space_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"a cache of 10 pictures takes 0\.00 GiB in .*, and the limit is 1e-06 GiB"):
        cache.build(records(root), root, limit_gib=1e-6)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(DataError, match=r"0\.00 GiB are free. Make room, or name another disk in ZOOMBENCH_CACHE"):
        cache.build(records(root), root)
    assert cache.find(root, "set") is None


def test_records_of_two_sets_make_no_cache(root: Path) -> None:
    with pytest.raises(DataError, match=r"of one set below .*; found other, set\."):
        cache.build([*records(root), Record("train", "other/0.png")], root)
    with pytest.raises(DataError, match=r"found none\."):
        cache.build([], root)
    with pytest.raises(DataError, match=r"none of 1 pictures of set can be read; the first: .*FileNotFoundError"):
        cache.build([Record("train", "set/none.png")], root)


@pytest.mark.parametrize("part", ["pixels.bin", "index.npy", "manifest.json"])
def test_a_damaged_cache_is_refused_and_mended_by_building_again(root: Path, part: str) -> None:
    folder = cache.build(records(root), root).folder
    (folder / part).write_bytes((folder / part).read_bytes()[:-1])
    with pytest.raises(
        DataError, match=r"no cache that can be used: (bytes is|index_sha256 is|its man).*Build it again"
    ):
        read_picture(root, "set/a folder/0.png")
    cache.build(records(root), root)
    assert opened(root).read("set/a folder/0.png") is not None


def test_a_cache_of_other_decoding_is_refused_and_built_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.build(records(root), root)
    monkeypatch.setattr(cache, "DECODING", 2)
    with pytest.raises(DataError, match="decoding is 1, expected 2"):
        cache.find(root, "set")
    cache.build(records(root), root)
    assert opened(root).read("set/a folder/0.png") is not None


def test_a_cache_may_lie_on_another_disk(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / "fast"))
    folder = cache.build(records(root), root).folder
    assert folder.parent.name == "set"
    assert folder.is_relative_to(tmp_path / "fast" / ".zoombench")
    assert opened(root).read("set/a folder/0.png") is not None
    assert not (root / ".zoombench").exists()


@pytest.mark.parametrize("below", ["", "set/.."])
def test_pictures_stay_where_the_cache_is_to_lie_in_the_data_root(
    root: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(root / below))
    cache.build(records(root), root)
    assert {path: path.read_bytes() for path in before} == before


def test_a_cache_among_the_pictures_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(root / "set"))
    with pytest.raises(
        DataError, match=r"would lie in .*, among the pictures\. Name another folder in ZOOMBENCH_CACHE"
    ):
        cache.build(records(root), root)


def test_nothing_is_removed_that_is_no_cache(root: Path) -> None:
    home = cache.folder_of(root, "set")
    others = [home / name / "a.txt" for name in ("images", "notes.tmp", "0123456789abcdef", "0123456789abcdef.tmp")]
    for path in others:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    cache.build(records(root), root)
    assert all(path.read_text() == "mine" for path in others)
    assert opened(root).read("set/a folder/0.png") is not None


def test_two_data_roots_with_one_place_for_caches_keep_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / "fast"))
    roots = [tmp_path / "one", tmp_path / "two"]
    for value, root in enumerate(roots):
        path = root / "set" / "a.bmp"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
        os.utime(path, (1e9, 1e9))  # the same path, length and time, and other pixels
    first = cache.build(records(roots[0]), roots[0])
    assert cache.find(roots[1], "set") is None
    cache.build(records(roots[1]), roots[1])
    assert first.folder.exists()
    for value, root in enumerate(roots):
        held = opened(root).read("set/a.bmp")
        assert held is not None
        assert (held == value).all()


def test_a_place_that_cannot_be_written_is_one_clear_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_text("")
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(root / "file"))
    with pytest.raises(
        DataError, match=r"a cache cannot be written in .*file.*: .*Name a folder .* in ZOOMBENCH_CACHE"
    ):
        cache.build(records(root), root)


def test_several_workers_write_the_same_cache(root: Path) -> None:
    alone = cache.build(records(root), root)
    pixels = (alone.folder / "pixels.bin").read_bytes()
    (alone.folder / "pixels.bin").write_bytes(b"")
    assert cache.build(records(root), root, workers=2) == alone
    assert (alone.folder / "pixels.bin").read_bytes() == pixels


def test_the_size_of_a_png_is_known_without_decoding_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert cache.estimate(records(root), root).pictures == 10


def test_progress_is_told(root: Path) -> None:
    heard: list[tuple[int, int]] = []
    cache.build(records(root), root, note=lambda done, of: heard.append((done, of)))
    assert heard == [(done, 10) for done in range(1, 11)]


def test_two_processes_that_build_at_once_make_one_cache(flat: Path) -> None:
    first = start(flat, stop_at=6)
    assert first.stdout is not None
    assert [first.stdout.readline() for _ in range(2)] == ["ready\n", "there\n"]
    second = start(flat)
    assert second.stdout is not None
    assert second.stdout.readline() == "ready\n"
    time.sleep(1)
    assert second.poll() is None  # it waits
    assert cache.find(flat, "set") is None  # and nobody sees half of it
    said, complaint = first.communicate("\n")
    assert first.returncode == 0, complaint
    also, complaint = second.communicate()
    assert second.returncode == 0, complaint
    assert said == also
    for at in range(12):
        held = opened(flat).read(f"set/{at}.png")
        assert held is not None
        assert (held == at).all()


def test_a_build_that_was_killed_leaves_nothing_that_is_used_and_the_next_one_clears_up(flat: Path) -> None:
    killed = start(flat, stop_at=6)
    assert killed.stdout is not None
    assert [killed.stdout.readline() for _ in range(2)] == ["ready\n", "there\n"]
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    home = flat / ".zoombench" / "set"
    assert len(list(home.glob("*.tmp"))) == 1
    assert cache.find(flat, "set") is None
    done = start(flat)
    said = done.communicate()[0]
    assert said == f"ready\n{opened(flat).folder}\n"
    assert not list(home.glob("*.tmp"))
    assert len(opened(flat).rows) == 12


def test_who_reads_while_it_is_replaced_keeps_what_it_has(flat: Path) -> None:
    cache.build(records(flat), flat)
    store = opened(flat)
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(flat / "set" / "3.png")
    cache.build(records(flat), flat)
    held = store.read("set/5.png")
    assert held is not None
    assert (held == 5).all()
    assert store.read("set/3.png") is None


def test_a_picture_that_changes_while_it_is_built_is_left_out(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(path: Path) -> tuple[np.ndarray, int]:
        picture = load_rgb(path)
        return (picture[:32] if path.name == "7.png" else picture), 1

    monkeypatch.setattr(cache, "load_stored", swapped)
    built = cache.build(records(flat), flat)
    assert [path for path, _ in built.unreadable] == ["set/7.png"]
    assert "it is 64 x 32 px, and its header said 64 x 64" in built.unreadable[0][1]
