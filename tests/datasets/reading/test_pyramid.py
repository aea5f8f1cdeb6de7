"""A pyramid gives what the whole picture gives, and reads only what it needs."""

import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from zoombench.baselines.layers.resample import identity_grid, resample
from zoombench.datasets.reading import cache, pyramid
from zoombench.datasets.reading.images import cut, load_overview, load_rgb
from zoombench.datasets.reading.pictures import read_overview, read_picture
from zoombench.datasets.reading.pyramid import Pyramid, is_pyramid, write
from zoombench.datasets.reading.records import Record
from zoombench.harness.errors import BadFile, DataError
from zoombench.tests.datasets.reading.test_images import with_orientation

ROWS, COLUMNS = 1013, 1531  # neither halves evenly


def smooth(rows: int, columns: int) -> np.ndarray:
    """Like a photograph: large shapes, an edge, a little noise."""
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    waves = [128 + 80 * np.sin(x / 90 + k) * np.cos(y / 70 - k) for k in range(3)]
    picture = np.stack(waves, axis=2) + 40.0 * (x + y > rows)[..., None]
    return (picture + np.random.default_rng(0).normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return smooth(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def path(whole: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pyramid") / "picture.tif"
    write(whole, file)
    return file


def test_the_whole_of_level_0_is_the_picture(whole: np.ndarray, path: Path) -> None:
    opened = Pyramid(path)
    assert opened.shape == whole.shape
    assert np.array_equal(opened.part(0, 0, 0, COLUMNS, ROWS), whole)
    assert np.array_equal(load_rgb(path), whole)  # as by any other reader


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_is_the_rounded_mean_of_four(whole: np.ndarray, path: Path, level: int) -> None:
    expected = whole
    for _ in range(level):
        rows, columns = (side // 2 for side in expected.shape[:2])
        fours = expected[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3).astype(int).sum(axis=(1, 3))
        expected = ((fours + 2) // 4).astype(np.uint8)
    rows, columns = expected.shape[:2]
    assert np.array_equal(Pyramid(path).part(level, 0, 0, columns, rows), expected)


def test_what_lies_outside_is_zero_and_what_halving_left_over_repeats_the_edge(path: Path) -> None:
    opened = Pyramid(path)
    beyond = opened.part(1, 763, 504, 769, 510)  # level 1 has 765 x 506 px of 765.5 x 506.5
    assert (beyond[:3, :3] > 0).all()
    assert np.array_equal(beyond[2], beyond[1])
    assert np.array_equal(beyond[:, 2], beyond[:, 1])
    assert not beyond[3:].any()
    assert not beyond[:, 3:].any()
    assert not opened.part(0, -9, -9, 0, 5).any()
    last = opened.part(1, 765, 506, 766, 507)  # left over alone
    assert np.array_equal(last, opened.part(1, 764, 505, 765, 506))


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 224.0, 224.0),
        (700.3, 511.9, 900.0, 702.2),
        (-50.5, -20.0, 120.0, 150.0),
        (1400.0, 900.0, 1600.0, 1100.0),
    ],
)
def test_a_view_at_full_size_is_that_of_the_whole_picture(
    whole: np.ndarray, path: Path, box: tuple[float, float, float, float], mirrored: bool
) -> None:
    assert torch.equal(cut(Pyramid(path), box, 160, mirrored=mirrored), cut(whole, box, 160, mirrored=mirrored))


@pytest.mark.parametrize("box", [(0.0, 0.0, 1013.0, 1013.0), (0.0, 0.0, 1531.0, 1013.0), (300.7, 100.2, 1300.1, 990.0)])
@pytest.mark.parametrize("side", [16, 60, 200])
def test_a_view_of_a_coarser_level_is_close(
    whole: np.ndarray, path: Path, box: tuple[float, float, float, float], side: int
) -> None:
    found, exact = (cut(picture, box, side).int() for picture in (Pyramid(path), whole))
    assert (found - exact).abs().max() <= 4
    assert (found - exact).abs().float().mean() < 0.6


def test_only_the_tiles_of_the_level_that_is_needed_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    fetch = pyramid._vips().Region.fetch
    monkeypatch.setattr(
        pyramid._vips().Region, "fetch", lambda self, *box: read.append(box[2] * box[3]) or fetch(self, *box)
    )
    opened = Pyramid(path)
    cut(opened, (0.0, 0.0, 1531.0, 1013.0), 100)
    assert sum(read) <= ROWS * COLUMNS / 16
    read.clear()
    opened.sample(identity_grid(9, 9).numpy() * np.float32(0.1))
    assert sum(read) <= (ROWS * 0.11) * (COLUMNS * 0.11)


@pytest.mark.parametrize("reach", [0.2, 1.0, 1.3])
def test_a_grid_reads_what_resample_reads_of_the_whole_picture(whole: np.ndarray, path: Path, reach: float) -> None:
    grid = (torch.rand(1, 24, 31, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1) * reach
    expected = resample(torch.from_numpy(whole).permute(2, 0, 1)[None], grid)[0].numpy()
    found = Pyramid(path).sample(grid[0].numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (2, 3), (256, 512), (257, 513)])
def test_a_grid_reads_pictures_of_any_size(hw: tuple[int, int], tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*hw, 3), np.uint8)
    write(picture, tmp_path / "p.tif")
    grid = identity_grid(*hw).numpy()
    found = Pyramid(tmp_path / "p.tif").sample(np.nan_to_num(grid)) * 255
    np.testing.assert_allclose(found.transpose(1, 2, 0), picture, rtol=0, atol=0.05)


@pytest.mark.parametrize("longest", [16, 100, 256, 4000])
def test_an_overview_is_close_to_the_mean_of_areas(whole: np.ndarray, path: Path, longest: int) -> None:
    found = Pyramid(path).overview(longest)
    shrunk = max(1, COLUMNS / longest)
    size = (round(COLUMNS / shrunk), round(ROWS / shrunk))
    exact = np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BOX))
    assert found.shape == exact.shape
    assert np.abs(found.astype(int) - exact).max() <= 12
    assert np.abs(found.astype(int) - exact).mean() < 1.2


def test_overview_and_parts_of_a_turned_photograph_show_the_same_places(tmp_path: Path) -> None:
    # libvips' thumbnail would turn the one and not the other, and saliency would point at the wrong place.
    photograph = tmp_path / "turned.jpg"
    photograph.write_bytes(with_orientation(6))
    for orient in (True, False):
        stored = load_rgb(photograph, orient=orient)
        write(stored, tmp_path / "p.tif")
        opened = Pyramid(tmp_path / "p.tif")
        assert opened.shape == stored.shape
        assert np.array_equal(opened.overview(4000), stored)
        assert np.array_equal(opened.part(0, 0, 0, stored.shape[1], stored.shape[0]), stored)


def test_the_reader_of_pictures_opens_a_pyramid_without_decoding_it(path: Path, whole: np.ndarray) -> None:
    picture = read_picture(path.parent.parent, f"{path.parent.name}/picture.tif")
    assert isinstance(picture, Pyramid)
    low = read_overview(path.parent.parent, f"{path.parent.name}/picture.tif", 64)
    assert low.shape == (42, 64, 3)


def test_a_cache_leaves_pyramids_to_themselves(path: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "p.tif").write_bytes(path.read_bytes())
    Image.new("RGB", (5, 5)).save(tmp_path / "set" / "a.png")
    records = [Record("train", "set/p.tif"), Record("train", "set/a.png")]
    assert cache.build(records, tmp_path).pictures == 1


@pytest.mark.parametrize("form", ["classic", "big"])
def test_a_pyramid_is_known_by_its_tags(tmp_path: Path, form: str) -> None:
    vips = pyramid._vips()
    image = vips.Image.black(600, 400, bands=3)
    settings: dict[str, Any] = {"tile": True, "bigtiff": form == "big"}
    image.tiffsave(str(tmp_path / "p.tif"), pyramid=True, **settings)
    image.tiffsave(str(tmp_path / "flat.tif"), **settings)
    assert is_pyramid(tmp_path / "p.tif")
    assert not is_pyramid(tmp_path / "flat.tif")
    (tmp_path / "p.tif").rename(tmp_path / "p.jpg")
    assert is_pyramid(tmp_path / "p.jpg")
    (tmp_path / "photograph.tif").write_bytes(with_orientation(1))
    assert not is_pyramid(tmp_path / "photograph.tif")


@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*", b"GIF89a", struct.pack("<2sHI", b"II", 42, 8)]
)
def test_rubbish_is_no_pyramid(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.tif").write_bytes(content)
    assert not is_pyramid(tmp_path / "p.tif")
    assert not is_pyramid(tmp_path / "none.tif")
    with pytest.raises(BadFile, match=r"p.tif, example 3: not readable as a pyramid TIFF"):
        Pyramid(tmp_path / "p.tif", index=3)


def test_a_truncated_pyramid_is_refused_where_it_is_read(path: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "p.tif"
    content = path.read_bytes()
    cut_off.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadFile, match="not readable as a pyramid TIFF"):
        Pyramid(cut_off).part(0, 0, 0, COLUMNS, ROWS)


def test_a_pyramid_that_would_have_to_be_turned_or_converted_is_refused(tmp_path: Path) -> None:
    vips = pyramid._vips()
    colour = vips.Image.black(600, 400, bands=3)
    wrong = {
        "orientation 6": colour.copy(),
        "1 bands of uchar": vips.Image.black(600, 400),
        "4 bands of uchar": vips.Image.black(600, 400, bands=4),
        "3 bands of ushort": colour.cast("ushort"),
    }
    wrong["orientation 6"].set_type(vips.GValue.gint_type, "orientation", 6)
    for what, image in wrong.items():
        image.tiffsave(str(tmp_path / "p.tif"), tile=True, pyramid=True)
        with pytest.raises(BadFile, match=rf"{what}.*expected upright 8-bit RGB, each level half of the last"):
            Pyramid(tmp_path / "p.tif")


def test_without_libvips_one_message_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid._vips.cache_clear()
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(DataError, match=r"libvips, which is not there .*pip install 'zoombench\[large\]'"):
        Pyramid(path)
    pyramid._vips.cache_clear()


def test_a_pyramid_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", None)
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write(np.zeros((9, 9, 3), np.uint8), tmp_path / "p.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("longest", [16, 64, 100, 300])
@pytest.mark.parametrize("orient", [True, False])
def test_the_overview_of_a_jpeg_is_close_to_the_mean_of_areas(tmp_path: Path, longest: int, orient: bool) -> None:
    file = tmp_path / "p.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = load_sample_images().images[0]
    Image.fromarray(photograph).save(file, quality=92, exif=exif)
    stored = load_rgb(file, orient=False)
    shrunk = max(stored.shape) / longest
    size = (round(stored.shape[1] / shrunk), round(stored.shape[0] / shrunk))
    exact = np.asarray(Image.fromarray(stored).resize(size, Image.Resampling.BOX)).astype(int)
    exact = exact.transpose(1, 0, 2)[:, ::-1] if orient else exact
    found = load_overview(file, longest, orient=orient)
    assert found.shape == exact.shape
    assert np.abs(found - exact).max() <= 25
    assert np.abs(found - exact).mean() <= 1.6


def test_the_overview_of_a_file_that_is_no_jpeg_is_the_mean_of_areas(tmp_path: Path, whole: np.ndarray) -> None:
    Image.fromarray(whole).save(tmp_path / "p.png")
    exact = np.asarray(Image.fromarray(whole).resize((64, 42), Image.Resampling.BOX))
    assert np.array_equal(load_overview(tmp_path / "p.png", 64), exact)
    with pytest.raises(BadFile, match=r"none.jpg: not readable as an image"):
        load_overview(tmp_path / "none.jpg", 64)
