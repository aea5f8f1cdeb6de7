"""A batch holds what torch's own collation gives of the inputs that are asked for."""

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from zoombench.datasets import cluttered_digits
from zoombench.harness.batches import Batches


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
