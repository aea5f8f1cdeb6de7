"""Pictures that lie together in one file: MNIST's idx format, and numpy's npz."""

import gzip
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from ...harness.errors import DataError


def read_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """An array of bytes in MNIST's own format, packed or not; raises DataError for anything else."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError(f"it begins with {content[:4]!r}, expected {bytes([0, 0, 8, dimensions])!r}")
        shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: not readable: {type(error).__name__}: {error}. Fetch this file again.") from error


def read_fractions(path: Path, count: int) -> UInt8[np.ndarray, "pictures 100 100"]:
    """`data` of an npz file of so many pictures, as bytes, cut and not rounded, as Variational Saccading does.

    Piece by piece, as its fractions take several gigabytes. Raises ValueError for anything else, and what zipfile does.
    """
    with zipfile.ZipFile(path) as archive, archive.open("data.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = read_header(file)
        if shape not in ((count, 1, 100, 100), (count, 100, 100)) or by_column:
            raise ValueError(f"data has the shape {shape} for {count} labels")
        images = np.empty((count, 100, 100), dtype=np.uint8)
        for at in range(0, count, 1000):
            part = images[at : at + 1000]
            fractions = np.frombuffer(file.read(part.size * dtype.itemsize), dtype).reshape(part.shape)
            if not ((fractions >= 0) & (fractions <= 1)).all():
                raise ValueError("data is not between 0 and 1")
            part[:] = (fractions * 255).astype(np.uint8)
    return images
