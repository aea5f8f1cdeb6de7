"""A batch holds what torch's own collation gives of the inputs that are asked for."""

import os

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from zoombench.datasets import cluttered_digits
from zoombench.harness.batches import Batches, Loader


@pytest.fixture
def examples():
    grey = torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 4)
    return [
        ({"image": plane.expand(3, -1, -1), "boxes": torch.rand(1, 4), "more": torch.zeros(5)}, at, at == 0)
        for at, plane in enumerate(grey)
    ]


def test_a_batch_is_that_of_torch_without_the_other_inputs(examples):
    found, expected = Batches(examples, ("image", "boxes"))[[1, 0]], default_collate(examples[::-1])
    assert found[0].keys() == {"image", "boxes"}
    for name, value in found[0].items():
        assert torch.equal(value, expected[0][name])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])


def test_one_plane_that_serves_as_three_is_copied_once(examples):
    batches = Batches(examples, ("image",))
    image = batches[[0, 1]][0]["image"]
    assert image.shape == (2, 3, 3, 4)
    assert image.untyped_storage().nbytes() == 2 * 3 * 4
    examples[1][0]["image"] = examples[1][0]["image"].clone()
    assert torch.equal(batches[[0, 1]][0]["image"], image)


def test_a_set_that_draws_batches_is_asked_for_the_inputs_alone():
    asked = []

    class Drawn:
        def batch(self, indices, inputs):
            asked.append((indices, inputs))
            return "a batch"

    assert Batches(Drawn(), ("image",))[[3, 1]] == "a batch"
    assert asked == [([3, 1], ("image",))]


def test_loader_processes_give_the_same_batches():
    drawn = cluttered_digits.build(cluttered_digits.Config(canvas=32), None, "train", 16)
    batches = [
        list(DataLoader(Batches(drawn, ("image",)), batch_size=None, sampler=[[0, 1], [2]], num_workers=count))
        for count in (0, 1)
    ]
    for (one, first), (two, second) in zip(*batches, strict=True):
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(first, second)


class Epochs(Dataset):
    """Examples that say which epoch they are of, in which process and with how many threads."""

    epoch = -1

    def __len__(self) -> int:
        return 4

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int):
        return {"image": torch.tensor([index, self.epoch, os.getpid(), torch.get_num_threads()])}, index


@pytest.fixture
def loader():
    made = []

    def make(workers: int) -> Loader:
        splits = {"train": Epochs(), "test": Epochs()}
        made.append(Loader(splits, inputs=("image",), workers=workers, device=torch.device("cpu"), skips=False))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_every_process_is_told_the_epoch_and_lives_for_all_of_them(loader, workers):
    loading = loader(workers)
    seen = set()
    for split, epoch in (("train", 0), ("test", 0), ("train", 1), ("test", 1), ("train", 3)):
        for batch, (inputs, target, are_it) in zip(
            ([3, 1], [0], [2]), loading.load(split, epoch, [[3, 1], [0], [2]]), strict=True
        ):
            index, epochs, pids, threads = inputs["image"].T
            assert index.tolist() == target.tolist() == batch
            assert set(epochs.tolist()) == {epoch if split == "train" else -1}
            assert are_it is None
            assert not workers or set(threads.tolist()) == {1}
            seen |= set(pids.tolist())
    assert seen == {os.getpid()} if workers == 0 else len(seen) == workers


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_that_was_left_early_does_not_show_in_the_next(loader, workers):
    loading = loader(workers)
    next(loading.load("train", 0, [[0], [1], [2], [3], [0], [1]]))
    batches = [inputs["image"][:, :2].tolist() for inputs, *_ in loading.load("train", 1, [[2], [1, 3]])]
    assert batches == [[[2, 1]], [[1, 1], [3, 1]]]


@pytest.mark.gpu
def test_batches_that_are_copied_ahead_arrive_whole():
    images = [({"image": torch.full((3, 256, 256), index, dtype=torch.uint8)}, index) for index in range(64)]
    loading = Loader({"test": images}, inputs=("image",), workers=0, device=torch.device("cuda"), skips=False)
    busy = torch.rand(4096, 4096, device="cuda")
    order = [[(7 * index + at) % 64 for at in range(8)] for index in range(30)]
    for batch, (inputs, target, _) in zip(order, loading.load("test", 0, order), strict=True):
        busy = busy @ busy / 4096
        assert inputs["image"].float().mean((1, 2, 3)).tolist() == target.tolist() == batch
