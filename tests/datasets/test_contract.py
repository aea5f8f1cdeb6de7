"""What every file in datasets/ promises, with its default settings (images of 2,528 px are made smaller)."""

import ast
import hashlib
import itertools
import pickle
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from zoombench.datasets.reading.folders import PICTURES
from zoombench.harness import lookup
from zoombench.harness.batches import Batches
from zoombench.harness.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass
class Case:
    """A dataset's module with its default settings."""

    module: Any
    name: str
    root: str

    @property
    def config(self) -> Any:
        return self.module.Config(**SMALLER.get(self.name, {}))

    def build(self, split: str) -> Any:
        return self.build_at(self.root, split)

    def build_at(self, root: str | None, split: str = "train") -> Any:
        return self.module.build(self.config, root, split, 16)


SMALLER = {"mit_adobe_5k": {"size": 96}}
DECLARED = {name: lookup.declaration("dataset", name) for name in lookup.names("dataset")}
ON_DISK = [name for name, declared in DECLARED.items() if declared.missing(declared.config(), None)]
IN_ONE_FILE = ["cluttered_mnist"]  # which no index of pictures can name


@pytest.fixture(params=lookup.names("dataset"))
def case(request: pytest.FixtureRequest, data_root: str) -> Case:
    return Case(lookup.load("dataset", request.param), request.param, data_root)


@pytest.fixture(params=ON_DISK)
def disk(request: pytest.FixtureRequest, data_root: str) -> Case:
    return Case(lookup.load("dataset", request.param), request.param, data_root)


@pytest.fixture(params=[name for name in ON_DISK if name not in IN_ONE_FILE])
def listed(request: pytest.FixtureRequest, data_root: str) -> Case:
    return Case(lookup.load("dataset", request.param), request.param, data_root)


def digest(example: tuple[dict[str, Tensor], Any]) -> str:
    tensors, target = example
    content = b"".join(tensors[name].contiguous().numpy().tobytes() for name in sorted(tensors))
    return hashlib.sha256(content + repr(target).encode()).hexdigest()


def some(dataset: Any, count: int = 12) -> Iterator[Any]:
    return (dataset[index] for index in range(min(count, len(dataset))))


def digests(dataset: Any) -> list[str]:
    return [digest(example) for example in some(dataset)]


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_examples_and_an_end(case: Case, split: str) -> None:
    dataset = case.build(split)
    assert len(dataset) > 0
    with pytest.raises(IndexError, match=f"example {len(dataset)} of {len(dataset)}"):
        dataset[len(dataset)]


def test_an_unknown_split_is_refused_by_name(case: Case) -> None:
    with pytest.raises(ValueError, match="no split 'val'; it has train, validation, test"):
        case.build("val")


@pytest.mark.parametrize("split", SPLITS)
def test_examples_hold_the_declared_tensors(case: Case, split: str) -> None:
    for tensors, _ in some(case.build(split)):
        assert set(tensors) == set(lookup.declaration("dataset", case.name).inputs)
        image = tensors["image"]
        assert image.dtype == torch.uint8
        assert image.ndim == 3
        assert image.shape[0] == 3
        assert image.max() > 0


@pytest.mark.parametrize("split", SPLITS)
def test_targets_fit_the_task(case: Case, split: str) -> None:
    task = case.module.task(case.config)
    targets = default_collate([target for _, target in some(case.build(split))])
    answers = task.answer(torch.zeros(len(targets), task.outputs))
    assert task.loss(answers, targets).isfinite()
    assert all(len(column) == len(targets) for column in task.judge(answers, targets).values())


@pytest.mark.parametrize("split", SPLITS)
def test_an_example_is_the_same_every_time(case: Case, split: str) -> None:
    assert digests(case.build(split)) == digests(case.build(split))


@pytest.mark.parametrize("split", SPLITS)
def test_examples_do_not_touch_the_global_generators(case: Case, split: str) -> None:
    before = torch.get_rng_state()
    digests(case.build(split))
    assert torch.equal(torch.get_rng_state(), before)


def test_epochs_differ_in_training_only(case: Case) -> None:
    for split in SPLITS:
        dataset = case.build(split)
        if not hasattr(dataset, "set_epoch"):
            continue
        first = digests(dataset)
        dataset.set_epoch(1)
        assert (digests(dataset) != first) == (split == "train")
        dataset.set_epoch(0)
        assert digests(dataset) == first


def test_splits_share_no_example(case: Case) -> None:
    seen = [set(digests(case.build(split))) for split in SPLITS]
    assert all(not one & other for one, other in itertools.combinations(seen, 2))


def test_a_pickled_copy_gives_the_same_examples(case: Case) -> None:
    dataset = case.build("train")
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(3)
    assert digests(pickle.loads(pickle.dumps(dataset))) == digests(dataset)


def test_two_loader_workers_give_the_same_batches_as_none(case: Case) -> None:
    dataset = torch.utils.data.Subset(case.build("train"), range(16))
    alone = list(DataLoader(dataset, batch_size=4))
    spread = list(DataLoader(dataset, batch_size=4, num_workers=2))
    for (tensors, target), (others, other) in zip(alone, spread, strict=True):
        assert torch.equal(target, other)
        assert all(torch.equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_holds_its_examples_and_of_them_what_is_asked_for(case: Case, split: str) -> None:
    dataset = case.build(split)
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(2)
    declared = lookup.declaration("dataset", case.name).inputs
    indices = [3, 0, min(9, len(dataset) - 1), 0]
    examples = default_collate([dataset[index] for index in indices])
    for inputs in (declared, *((name,) for name in declared)):
        tensors, targets = Batches(dataset, inputs)[indices]
        assert tuple(tensors) == inputs
        assert all(torch.equal(tensors[name], examples[0][name]) for name in inputs)
        assert all(tensors[name].dtype == examples[0][name].dtype for name in inputs)
        assert torch.equal(targets, examples[1])
        assert targets.dtype == examples[1].dtype
    if hasattr(dataset, "batch"):
        with pytest.raises(IndexError, match=f"example {len(dataset)} of {len(dataset)}"):
            dataset.batch([0, len(dataset)], declared)


def test_the_index_names_each_picture_of_each_split_once(listed: Case) -> None:
    """Below the root, with labels of the task; no picture is in two splits."""
    records = list(listed.module.index(listed.config, listed.root))
    assert {split: len(listed.build(split)) for split in SPLITS} == Counter(record.split for record in records)
    assert len({record.path for record in records}) == len({record.key for record in records}) == len(records)
    task = listed.module.task(listed.config)
    for record in records:
        assert (Path(listed.root) / record.path).is_file()
        assert record.label is None or 0 <= record.label < task.classes
    assert records == list(listed.module.index(listed.config, listed.root))


def test_another_seed_changes_no_official_split(listed: Case) -> None:
    """Only a validation split of ours may move, out of and into training. FiveK has no official split."""
    if not hasattr(listed.config, "seed") or listed.name == "mit_adobe_5k":
        return
    one, other = (listed.module.index(replace(listed.config, seed=seed), listed.root) for seed in (0, 1))
    for of in (("test",), ("train", "validation")):
        assert {x.path for x in one if x.split in of} == {x.path for x in other if x.split in of}


def test_a_picture_that_is_damaged_or_gone_is_named_with_its_index(listed: Case, tmp_path: Path) -> None:
    copy(listed, tmp_path)
    dataset = listed.build_at(str(tmp_path), "test")
    records = [one for one in listed.module.index(listed.config, listed.root) if one.split == "test"]
    index, record = next((at, one) for at, one in enumerate(records) if not one.path.endswith((".png", ".tif")))
    picture = tmp_path / record.path
    whole = picture.read_bytes()
    for content, reason in (
        (whole[: -len(whole) // 8], "OSError"),
        (b"", "UnidentifiedImageError"),
        (None, "FileNotFoundError"),
    ):
        picture.unlink() if content is None else picture.write_bytes(content)
        with pytest.raises(DataError, match=rf"{picture.name}, example {index}: .*{reason}"):
            dataset[index]


def copy(case: Case, root: Path) -> Path:
    shutil.copytree(Path(case.root) / case.module.FOLDER, root / case.module.FOLDER)
    return root


def test_a_set_that_is_not_there_is_one_clear_error_everywhere(disk: Case, tmp_path: Path) -> None:
    declared = lookup.declaration("dataset", disk.name)
    assert declared.missing(disk.config, disk.root) is None
    refusing = [disk.build_at, lambda root: disk.module.fingerprint(disk.config, root)]
    if disk.name not in IN_ONE_FILE:
        refusing.append(lambda root: list(disk.module.index(disk.config, root)))
    for root, reason in ((None, "no folder of datasets is named"), (str(tmp_path), f"{disk.module.FOLDER} has no ")):
        for refuse in refusing:
            with pytest.raises(DataError, match=f"^{disk.name}: .*{reason}.*It comes from https?://"):
                refuse(root)
        assert reason in str(declared.missing(disk.config, root))


def test_an_empty_folder_is_refused(disk: Case, tmp_path: Path) -> None:
    """With every file and folder that `missing` asks for, and nothing in them."""
    for path in sorted((copy(disk, tmp_path) / disk.module.FOLDER).rglob("*"), reverse=True):
        if path.is_file():
            path.unlink() if path.suffix.lower() in PICTURES else path.write_bytes(b"")
    with pytest.raises(DataError):
        disk.build_at(str(tmp_path))


@pytest.mark.parametrize("name", ["cub_200", "imagenet", "inaturalist_2017", "oxford_pets", "stanford_cars"])
def test_without_validation_the_whole_official_split_is_trained_on(name: str, data_root: str) -> None:
    module = lookup.load("dataset", name)
    config = module.Config(validation_per_class=0)
    whole, carved = (list(module.index(one, data_root)) for one in (config, module.Config()))
    held_out = sum(record.split == "validation" for record in carved)
    assert held_out > 0
    counts = {split: len(module.build(config, data_root, split, 16)) for split in SPLITS}
    assert counts["validation"] == 0
    assert counts["train"] == sum(record.split == "train" for record in carved) + held_out
    assert sum(counts.values()) == len(whole) == len(carved)


def test_terms_tree_and_official_counts_are_read_without_torch(disk: Case) -> None:
    declared = lookup._execute(
        ast.parse(Path(disk.module.__file__).read_text()), kind="dataset", name=disk.name, path=Path(disk.name)
    )
    assert set(declared.TERMS) == {"access", "homepage", "terms", "citation"}
    assert declared.TERMS["access"] in ("open", "gated", "unavailable")
    assert declared.TREE.startswith(f"{disk.module.FOLDER}/")
    assert set(declared.EXPECTED) <= {*SPLITS, "classes"}
    assert declared.fingerprint(disk.config, disk.root) == disk.module.fingerprint(disk.config, disk.root)
    assert re.fullmatch("[0-9a-f]{16}", declared.fingerprint(disk.config, disk.root))
