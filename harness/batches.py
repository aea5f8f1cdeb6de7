"""Examples become a batch: only of the inputs that the method asks for, and a grey image is copied once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

Example = tuple[Any, ...]
"""(dict of tensors, target), and perhaps more."""


@dataclass(frozen=True)
class Batches(Dataset[Any]):
    """A split by lists of indices instead of single ones: for a DataLoader with `batch_size=None`, in whose process
    a batch is then put together.

    A data set that has `batch(indices, inputs)` makes one at once, and only of what is asked for.
    """

    examples: Any
    inputs: tuple[str, ...]

    def __getitem__(self, indices: Sequence[int]) -> Any:
        """(dict of these inputs, targets), and whatever else the examples have, each with the batch in front."""
        if hasattr(self.examples, "batch"):
            return self.examples.batch(indices, self.inputs)
        return collate([self.examples[index] for index in indices], self.inputs)


def collate(examples: Sequence[Example], inputs: Sequence[str]) -> list[Any]:
    """Stack a batch of examples (tensors, target, ...), as torch does it, but of some inputs only."""
    tensors = {name: _stack([example[0][name] for example in examples]) for name in inputs}
    return [tensors, *(default_collate(list(rest)) for rest in zip(*(one[1:] for one in examples), strict=True))]


def _stack(tensors: list[Tensor]) -> Any:
    """One tensor of many; one plane that serves as three channels stays one plane."""
    if not all(isinstance(tensor, Tensor) and tensor.dim() == 3 and tensor.stride(0) == 0 for tensor in tensors):
        return default_collate(tensors)
    return torch.stack([tensor[:1] for tensor in tensors]).expand(-1, tensors[0].shape[0], -1, -1)
