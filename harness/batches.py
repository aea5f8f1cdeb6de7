"""Examples become a batch: only of the inputs that the method asks for, and a grey image is copied once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

Example = tuple[Any, ...]
"""(dict of tensors, target), and perhaps more."""


@dataclass(frozen=True)
class Collate:
    """Examples (tensors, target, ...) to a batch of the same form, in which only some inputs are left."""

    inputs: tuple[str, ...]

    def __call__(self, examples: Sequence[Example]) -> list[Any]:
        """Stack a batch; whatever an example has beside its tensors is stacked as torch does it."""
        tensors = {name: _stack([example[0][name] for example in examples]) for name in self.inputs}
        return [tensors, *(default_collate(list(rest)) for rest in zip(*(one[1:] for one in examples), strict=True))]


def _stack(tensors: list[Tensor]) -> Any:
    """One tensor of many; one plane that serves as three channels stays one plane."""
    if not all(isinstance(tensor, Tensor) and tensor.dim() == 3 and tensor.stride(0) == 0 for tensor in tensors):
        return default_collate(tensors)
    return torch.stack([tensor[:1] for tensor in tensors]).expand(-1, tensors[0].shape[0], -1, -1)
