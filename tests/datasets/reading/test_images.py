"""What each kind of file gives: the right pixels, or an error that says which file and why."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from zoombench.datasets.reading.images import cut, load_rgb, read_size
from zoombench.harness.errors import BadFile

RAMP = np.linspace(0, 255, 48 * 64).reshape(48, 64).round().astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    return encoded(Image.fromarray(COLOUR).convert(mode), "JPEG", quality=95, subsampling=0, **options)


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """A png that says its size and holds next to nothing."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")


def png_rgb_16(pixels: np.ndarray) -> bytes:
    """Pillow writes no 16-bit colour, so the chunks are written here."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def tiff_rgb_16(pixels: np.ndarray) -> bytes:
    """TIFF 6.0, one strip, by hand for the same reason."""
    height, width, _ = pixels.shape
    strip, bits = 8, 8 + pixels.nbytes
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, strip), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, pixels.nbytes)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    table = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return (
        b"II"
        + struct.pack("<HI", 42, bits + 6)
        + pixels.astype("<u2").tobytes()
        + struct.pack("<3H", 16, 16, 16)
        + table
    )


def rotten() -> bytes:
    """A JPEG in whose scan 200 bytes were changed; none becomes a marker."""
    content = bytearray(jpeg())
    for at in range(len(content) // 2, len(content) // 2 + 200):
        content[at] = (content[at] ^ 0x10) & 0xFE
    return bytes(content)


GREY_16 = (RAMP.astype(np.uint32) * 257 + 100).clip(max=65535).astype(np.uint16)
OPAQUE = Image.fromarray(np.dstack([COLOUR, np.full_like(RAMP, 255)]))
HALF = Image.fromarray(np.dstack([np.full_like(COLOUR, 200), np.full_like(RAMP, 128)]))
PALETTE = Image.fromarray(COLOUR).quantize(16)
BLACK_AND_WHITE = Image.fromarray((RAMP > 127) * np.uint8(255))
GREY = np.repeat(RAMP[..., None], 3, axis=2)

# Each kind of file, what it gives, and by how many levels it may be off: JPEG loses some.
READABLE: dict[str, tuple[Callable[[], bytes], np.ndarray, int]] = {
    "jpeg": (jpeg, COLOUR, 12),
    "greyscale jpeg": (lambda: encoded(Image.fromarray(RAMP), "JPEG", quality=95), GREY, 12),
    "CMYK jpeg": (lambda: jpeg("CMYK"), COLOUR, 16),
    "png": (lambda: encoded(Image.fromarray(COLOUR), "PNG"), COLOUR, 0),
    "png by the name of a jpeg": (lambda: encoded(Image.fromarray(COLOUR), "PNG"), COLOUR, 0),
    "16-bit grey png": (lambda: encoded(Image.fromarray(GREY_16), "PNG"), GREY, 0),
    "16-bit grey tiff": (lambda: encoded(Image.fromarray(GREY_16), "TIFF"), GREY, 0),
    "16-bit colour png": (lambda: png_rgb_16(COLOUR.astype(np.uint16) * 257), COLOUR, 0),
    "16-bit colour tiff": (lambda: tiff_rgb_16(COLOUR.astype(np.uint16) * 257), COLOUR, 0),
    "200 bytes of the scan changed, which no decoder sees": (rotten, COLOUR, 255),
    "palette": (lambda: encoded(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB")), 0),
    "palette with transparency": (
        lambda: encoded(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0))),
        np.where(
            (np.asarray(PALETTE) == PALETTE.getpixel((0, 0)))[..., None], 0, np.asarray(PALETTE.convert("RGB"))
        ).astype(np.uint8),
        0,
    ),
    "RGBA, opaque": (lambda: encoded(OPAQUE, "PNG"), COLOUR, 0),
    "RGBA, half there": (lambda: encoded(HALF, "PNG"), np.full_like(COLOUR, 100), 1),
    "grey with alpha": (lambda: encoded(HALF.convert("LA"), "PNG"), np.full_like(COLOUR, 100), 1),
    "one bit": (
        lambda: encoded(BLACK_AND_WHITE.convert("1"), "PNG"),
        np.repeat(np.asarray(BLACK_AND_WHITE)[..., None], 3, axis=2),
        0,
    ),
    "EXIF that cannot be read": (lambda: jpeg(exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff rotten"), COLOUR, 12),
    "EXIF of nonsense": (lambda: jpeg(exif=b"Exif\0\0nonsense"), COLOUR, 12),
}

REFUSED: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "truncated in the middle": (lambda: jpeg()[: len(jpeg()) // 2], "OSError: .*truncated"),
    "truncated by the last two bytes": (lambda: jpeg()[:-2], "OSError: .*truncated"),
    "truncated png": (lambda: encoded(Image.fromarray(COLOUR), "PNG")[:-60], "truncated|broken"),
    "empty": (lambda: b"", "UnidentifiedImageError"),
    "a web page by the name of a jpeg": (lambda: b"<!DOCTYPE html><html>404</html>", "UnidentifiedImageError"),
    "missing": (lambda: None, "FileNotFoundError"),
    "89.5 to 179 million pixels, where Pillow warns": (lambda: png_header(10_000, 9_000), "DecompressionBombWarning"),
    "more, where Pillow raises": (lambda: png_header(20_000, 18_000), "DecompressionBombError"),
    "32-bit floats": (lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "its mode is F, expected 8"),
}


def written(folder: Path, content: bytes | None) -> Path:
    path = folder / "picture.jpg"
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", READABLE)
def test_a_file_that_can_be_read_gives_the_pixels_that_it_shows(kind: str, tmp_path: Path) -> None:
    content, expected, tolerance = READABLE[kind]
    pixels = load_rgb(written(tmp_path, content()))
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_cannot_be_read_is_named_with_index_and_reason(kind: str, tmp_path: Path) -> None:
    content, reason = REFUSED[kind]
    path = written(tmp_path, content())
    warnings.simplefilter("ignore")  # as elsewhere; pytest restores its own, under which every warning is an error
    with pytest.raises(BadFile, match=rf"picture.jpg, example 17: not readable as an image: .*({reason})") as raised:
        load_rgb(path, index=17)
    assert str(path) in str(raised.value)
    assert "Fetch this file again" in str(raised.value)


@pytest.mark.parametrize("kind", [kind for kind in REFUSED if kind.startswith("truncated")])
def test_a_truncated_file_is_refused_whatever_another_library_has_set(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content, reason = REFUSED[kind]
    with pytest.raises(BadFile, match=reason):
        load_rgb(written(tmp_path, content()))
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_changed_byte_in_the_scan_is_not_seen(tmp_path: Path) -> None:
    # Not wished for, but so: that is why a copy of a dataset is compared by checksum.
    content = bytearray(jpeg())
    middle = len(content) * 3 // 4
    content[middle] ^= 0x10
    assert not np.array_equal(load_rgb(written(tmp_path, bytes(content))), load_rgb(written(tmp_path, jpeg())))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    stored = load_rgb(written(tmp_path, with_orientation(orientation)), orient=False)
    assert stored.shape == COLOUR.shape
    # What each value means, from the EXIF standard: where row 0 and column 0 of the stored picture are.
    meant = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert np.array_equal(load_rgb(written(tmp_path, with_orientation(orientation))), meant)


def test_the_whole_image_at_its_own_size_is_the_image() -> None:
    square = np.ascontiguousarray(COLOUR[:, :48])
    assert torch.equal(cut(square, (0.0, 0.0, 48.0, 48.0), 48).permute(1, 2, 0), torch.from_numpy(square))


def test_a_box_of_whole_pixels_is_that_part_of_the_image() -> None:
    part = cut(COLOUR, (10.0, 5.0, 42.0, 37.0), 32).permute(1, 2, 0).numpy()
    assert np.array_equal(part, COLOUR[5:37, 10:42])


def test_a_mirrored_view_is_the_view_from_right_to_left() -> None:
    box = (3.3, 4.7, 40.2, 44.1)
    assert torch.equal(cut(COLOUR, box, 16, mirrored=True), cut(COLOUR, box, 16).flip(2))


def test_outside_of_the_image_is_zero() -> None:
    view = cut(np.full_like(COLOUR, 255), (-32.0, -32.0, 32.0, 32.0), 64)
    assert not view[:, :, :32].any()
    assert not view[:, :32].any()
    assert (view[:, 32:, 32:] == 255).all()


def test_a_smaller_view_averages_what_it_covers() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    view = cut(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8), (0.0, 0.0, 64.0, 64.0), 8)
    assert view.float().sub(127.5).abs().max() < 8  # points would be 0 or 255


@pytest.mark.parametrize("orient", [True, False])
def test_a_tiff_is_upright_by_its_header_and_its_pixels_whatever_is_asked(tmp_path: Path, orient: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "turned.tif", exif=exif)
    assert np.array_equal(load_rgb(tmp_path / "turned.tif", orient=orient), np.rot90(pixels, -1))
    assert read_size(tmp_path / "turned.tif") == (30, 20)
