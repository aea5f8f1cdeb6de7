"""Every set on disk gives the same examples from a cache, and reads large pictures in parts."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from zoombench.datasets.reading import cache, pictures, pyramid
from zoombench.datasets.reading.images import load_rgb
from zoombench.harness import lookup

ON_DISK = [name for name in lookup.names("dataset") if hasattr(lookup.load("dataset", name), "index")]
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _forget() -> None:
    pictures._store.cache_clear()


def examples(name: str, root: Path, *, workers: int = 0) -> list[Any]:
    """Some of every split."""
    module = lookup.load("dataset", name)
    some = []
    for split in SPLITS:
        whole = module.build(module.Config(), str(root), split, 16)
        some += list(DataLoader(torch.utils.data.Subset(whole, range(min(6, len(whole)))), num_workers=workers))
    return some


def same(one: Any, other: Any) -> bool:
    (tensors, target), (others, also) = one, other
    return bool((target == also).all()) and all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.fixture(params=ON_DISK)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(name: str, data_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data, and a place for a cache of its own."""
    monkeypatch.setenv("ZOOMBENCH_CACHE", str(tmp_path / "cache"))
    return Path(data_root)


def test_examples_from_a_cache_are_those_from_files(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = examples(name, root)
    module = lookup.load("dataset", name)
    built = cache.build(module.index(module.Config(), str(root)), root)
    assert built.pictures > 0
    pictures._store.cache_clear()
    monkeypatch.setattr(pictures, "load_rgb", None)  # who decodes fails
    for workers in (0, 2):
        cached = examples(name, root, workers=workers)
        assert all(same(one, other) for one, other in zip(plain, cached, strict=True))


def test_a_picture_that_lies_there_as_a_pyramid_is_read_in_parts(data_root: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(Path(data_root) / "CUB_200_2011", root / "CUB_200_2011")
    module = lookup.load("dataset", "cub_200")
    config = module.Config(test_size=64)
    path = root / module.build(config, str(root), "test", 16).pictures[0].path
    large = load_rgb(path, orient=False).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(large).save(path, "PNG")
    plain, label = module.build(config, str(root), "test", 16)[0]
    pyramid.write(large, path)
    assert isinstance(pictures.read_picture(root, path.relative_to(root).as_posix()), pyramid.Pyramid)
    tensors, target = module.build(config, str(root), "test", 16)[0]
    assert target == label
    assert torch.equal(tensors["boxes"], plain["boxes"])
    assert (tensors["image"].int() - plain["image"].int()).abs().max() <= 4
