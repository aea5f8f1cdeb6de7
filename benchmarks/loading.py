"""What it costs to get at the pixels of large images, our ways beside naive ones, in one run.

    python -m benchmarks.loading [--rounds 9] [--threads 1]

Files are made first, in a temporary folder: photographs side by side, enlarged, with noise (sigma 3 levels); a JPEG of
4000 x 3000 px (quality 92, 4:2:0), a PNG of 2528 x 2528 px, and of each picture pyramid TIFFs (uncompressed and
deflate) and the decode-once cache. The page cache is warm, as they have just been written. Measured are

    overview   256 px on the longer side; naive: decode all, average areas (Pillow's box filter)
    crop       a box of 224 x 224 px; naive: decode all, cut
    grid       32 x 32 points over a quarter of each side; naive: decode all, make floats, grid_sample

    sample     reading a batch of 2 in memory, bytes 3 x C x C at C = 256, 1024 and 2528, through a grid of 32 x 32
    overview   and its area average of 32 x 32; naive: floats of the whole, grid_sample, avg_pool2d

Ways of one task take turns, in a new order each round, after two rounds that do not count. Printed are median and
quartiles of CPU time (process time: all threads, not other processes) in milliseconds an image, and the naive median
over each: how many times less it costs. On a shared machine trust the ratios.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional

from zoombench.baselines.layers.resample import identity_grid, overview, resample
from zoombench.datasets.reading import cache, pyramid
from zoombench.datasets.reading.images import Pixels, cut, load_overview, load_rgb
from zoombench.datasets.reading.pyramid import Pyramid
from zoombench.datasets.reading.records import Record

from .generators import generators, show

BOX = (1700.0, 1100.0, 1924.0, 1324.0)
OVERVIEW, POINTS, WARM_UP = 256, 32, 2
Call = Callable[[], object]


def photograph(rows: int, columns: int) -> Pixels:
    """scikit-learn's two photographs side by side, enlarged, with noise."""
    both = np.concatenate(load_sample_images().images, axis=1)
    enlarged = np.asarray(Image.fromarray(both).resize((columns, rows), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 3, enlarged.shape)
    return (enlarged + noise).round().clip(0, 255).astype(np.uint8)


def quarter_grid() -> torch.Tensor:
    """Points over a quarter of each side, off the middle."""
    return (identity_grid(POINTS, POINTS) / 4 + 0.1)[None]


def by_grid_sample(picture: Pixels) -> torch.Tensor:
    """What one would write: everything to floats first."""
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    return functional.grid_sample(image, quarter_grid(), padding_mode="border", align_corners=True)


def small(picture: Pixels) -> Pixels:
    """An overview by averaging areas."""
    shrunk = max(picture.shape) / OVERVIEW
    size = (round(picture.shape[1] / shrunk), round(picture.shape[0] / shrunk))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def from_files(folder: Path, name: str, picture: Pixels) -> dict[str, dict[str, Call]]:
    """The tasks on one picture, and for each its ways; the first is the naive one."""
    file = folder / "set" / name
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(file, **({"quality": 92} if file.suffix == ".jpg" else {}))
    cache.build([Record("train", f"set/{name}")], folder)
    flat, packed = (folder / f"{file.stem}-{kind}.tif" for kind in ("none", "deflate"))
    decoded = load_rgb(file)
    pyramid.write(decoded, flat, compression="none")
    pyramid.write(decoded, packed, compression="deflate")

    def held() -> Pixels:
        store = cache.find(folder, "set")  # opened anew, as by a loader's first example
        picture = None if store is None else store.read(f"set/{name}")
        assert picture is not None
        return picture

    store = cache.find(folder, "set")
    assert store is not None
    kept = store
    grid = quarter_grid()
    gathered = resample(torch.from_numpy(decoded).permute(2, 0, 1)[None], grid)
    torch.testing.assert_close(
        torch.from_numpy(Pyramid(flat).sample(grid[0].numpy()))[None], gathered, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(by_grid_sample(decoded), gathered, rtol=0, atol=1e-6)

    def of_cache(path: str = f"set/{name}") -> Pixels:
        picture = kept.read(path)
        assert picture is not None
        return picture

    return {
        "overview": {
            "decode all": lambda: small(load_rgb(file)),
            **({"scaled JPEG": lambda: load_overview(file, OVERVIEW)} if file.suffix == ".jpg" else {}),
            "pyramid, deflate": lambda: Pyramid(packed).overview(OVERVIEW),
            "pyramid, none": lambda: Pyramid(flat).overview(OVERVIEW),
            "cache": lambda: kept.overview(f"set/{name}").copy(),  # type: ignore[union-attr]  # it is there
        },
        "crop": {
            "decode all": lambda: cut(load_rgb(file), BOX, 224),
            "pyramid, deflate": lambda: cut(Pyramid(packed), BOX, 224),
            "pyramid, none": lambda: cut(Pyramid(flat), BOX, 224),
            "cache, opened anew": lambda: cut(held(), BOX, 224),
            "cache": lambda: cut(of_cache(), BOX, 224),
        },
        "grid": {
            "decode all": lambda: by_grid_sample(load_rgb(file)),
            "pyramid, deflate": lambda: Pyramid(packed).sample(grid[0].numpy()),
            "pyramid, none": lambda: Pyramid(flat).sample(grid[0].numpy()),
            "cache": lambda: resample(torch.from_numpy(of_cache()).permute(2, 0, 1)[None], grid),
        },
    }


def in_memory(canvas: int) -> dict[str, dict[str, Call]]:
    """Reading a batch that has been loaded."""
    image = torch.from_numpy(photograph(canvas, canvas)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    grid = quarter_grid().repeat(2, 1, 1, 1).requires_grad_()
    side = canvas // POINTS

    def naive() -> torch.Tensor:
        return functional.grid_sample(image.float() / 255, grid, padding_mode="border", align_corners=True)

    def backward(out: torch.Tensor) -> None:
        out.backward(torch.ones_like(out))
        grid.grad = None

    torch.testing.assert_close(resample(image, grid), naive(), rtol=0, atol=1e-6)
    return {
        "sample": {"floats of all": naive, "bytes": lambda: resample(image, grid)},
        "sample f+b": {
            "floats of all": lambda: backward(naive()),
            "bytes": lambda: backward(resample(image, grid)),
        },
        "overview": {
            "floats of all": lambda: functional.avg_pool2d(image.float() / 255, side),
            "bytes": lambda: overview(image, POINTS),
        },
    }


def compare(where: str, task: str, ways: dict[str, Call], *, rounds: int, images: int) -> None:
    """Time the ways of one task in turns, and print a line for each."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = random.Random(0)
    for turn in range(WARM_UP + rounds):
        for way in order.sample(list(ways), len(ways)):
            before = time.process_time()
            ways[way]()
            if turn >= WARM_UP:
                times[way].append((time.process_time() - before) * 1e3 / images)
    naive = statistics.median(next(iter(times.values())))
    for way, taken in times.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        print(f"{where:18}{task:12}{way:20}{middle:9.3f} [{low:8.3f}, {high:8.3f}] {naive / middle:9.1f}", flush=True)


def main() -> None:
    """Print a table for files and one for what is in memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nobody writes to it
    print(f"{platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}, {arguments.threads} threads")
    print(f"{'':18}{'task':12}{'way':20}{'CPU ms an image, median [quartiles]'}  times less")
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, columns in (("4000x3000.jpg", 3000, 4000), ("2528x2528.png", 2528, 2528)):
            below = Path(folder) / name.split(".")[0]
            below.mkdir()
            for task, ways in from_files(below, name, photograph(rows, columns)).items():
                compare(name, task, ways, rounds=arguments.rounds, images=1)
    for canvas in (256, 1024, 2528):
        for task, ways in in_memory(canvas).items():
            compare(f"{canvas} x {canvas}", task, ways, rounds=arguments.rounds, images=2)
    print("\nThe embedded datasets (see python -m benchmarks.generators)")
    show(generators(rounds=arguments.rounds))


if __name__ == "__main__":
    main()
