"""Examples become batches on the device: only of the inputs that the method asks for, a grey image copied once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from .bad_files import Skipping

Batch = tuple[dict[str, Tensor], Tensor, Tensor | None]
"""Inputs, target, and of each example whether it is the one that was asked for, if any may not be."""
Example = tuple[Any, ...]
"""(dict of tensors, target), and perhaps more."""


@dataclass(frozen=True)
class Batches(Dataset[Any]):
    """A split by lists of indices instead of single ones.

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


class Loader:
    """The batches of all splits and epochs of a trial, from one set of loader processes.

    Those live until `close`: starting them takes as long as many a small epoch. On CUDA the next batch is copied, on a
    stream of its own, while the one before is computed with.
    """

    def __init__(
        self, splits: dict[str, Any], *, inputs: tuple[str, ...], workers: int, device: torch.device, skips: bool
    ) -> None:
        self.device = device
        self._asked: list[tuple[str, int, Sequence[int]]] = []
        self._loader: DataLoader[Any] | None = DataLoader(
            _Splits(splits, inputs, skips=skips),
            sampler=self._asked,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # its own: the global one belongs to dropout, and to a checkpoint
        )

    def load(self, split: str, epoch: int, batches: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """These examples of a split as they are in an epoch, on the device. One call at a time."""
        assert self._loader is not None
        self._asked[:] = [(split, epoch, batch) for batch in batches]
        loaded = ((tensors, target, kept[0] if kept else None) for tensors, target, *kept in self._loader)
        return self._ahead(loaded) if self.device.type == "cuda" else map(self._move, loaded)

    def close(self) -> None:
        """End the loader processes."""
        self._loader = None

    def _move(self, batch: Batch) -> Batch:
        tensors, target, are_it = batch
        inputs = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
        return inputs, target.to(self.device, non_blocking=True), are_it

    def _ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Each batch when it has arrived; the copy of the next one has then begun."""
        copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        waiting: tuple[Batch, torch.cuda.Event] | None = None
        for batch in batches:
            with torch.cuda.stream(copies):
                copied = self._move(batch), copies.record_event()
            if waiting is not None:
                yield self._arrived(*waiting)
            waiting = copied
        if waiting is not None:
            yield self._arrived(*waiting)

    def _arrived(self, batch: Batch, copied: torch.cuda.Event) -> Batch:
        current = torch.cuda.current_stream(self.device)
        current.wait_event(copied)
        inputs, target, _ = batch
        for tensor in (*inputs.values(), target):
            tensor.record_stream(current)  # or its memory is given to the next copy while it is still read
        return batch


class _Splits(Dataset[Any]):
    """Batches by split, epoch and indices: a process that lives for many epochs is told which one it is."""

    def __init__(self, splits: dict[str, Any], inputs: tuple[str, ...], *, skips: bool) -> None:
        self.splits = splits
        self.batches = {
            split: Batches(Skipping(examples) if skips else examples, inputs) for split, examples in splits.items()
        }
        self.epoch: int | None = None

    def __getitem__(self, at: tuple[str, int, Sequence[int]]) -> Any:
        split, epoch, indices = at
        if split == "train" and epoch != self.epoch:
            if hasattr(self.splits[split], "set_epoch"):
                self.splits[split].set_epoch(epoch)
            self.epoch = epoch
        return self.batches[split][indices]
