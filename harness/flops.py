"""Floating-point operations of a method: counted by formula, by part of the method, and refused where formulas lack.

torch's own formulas know convolutions, products of matrices and attention, and give 0 for everything else: for
sampling through a grid, resizing, pooling and deformable convolutions, which is what methods that look somewhere add.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401 - brings the operator torch.ops.torchvision.deform_conv2d
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper

TASK_NETWORK = "task_network"
"""What every method calls the network that answers, which the budget gives to all of them."""
COVERAGE = 0.95
"""A total of which a smaller share was counted by formula is refused."""


@dataclass(frozen=True)
class Flops:
    """The floating-point operations of a call; a multiply-add is two."""

    total: float
    pointwise: float
    """Of these: batch norm, activations and all else that is done element by element, an exp as one operation."""
    parts: dict[str, float]
    """The same total by the method's uppermost modules, and by TASK_NETWORK; "" is what it does outside of them."""
    coverage: float
    """Share of the total that a formula counted."""
    unknown: tuple[str, ...]
    """Operators without a formula: taken to combine each element that they read or write with a whole side of the
    largest tensor, as a matrix inverse does; that is too many for most, so that the coverage is rather told too low."""

    @property
    def overhead(self) -> float | None:
        """What the method adds to its task network: deciding where to look, and looking; None where it has none."""
        return self.total - self.parts[TASK_NETWORK] if TASK_NETWORK in self.parts else None

    @property
    def refusal(self) -> str | None:
        """Why the total is not to be printed; None where it is.

        An operator from outside of torch may do anything with what it reads, so that one alone is enough.
        """
        named = ", ".join(self.unknown)
        if any(not name.startswith("aten.") for name in self.unknown):
            return f"no formula for {named}"
        if self.coverage < COVERAGE:
            return f"formulas count {100 * self.coverage:.0f}%, fewer than {100 * COVERAGE:.0f}%: none for {named}"
        return None


def count_flops(call: Callable[[], object], *, method: nn.Module | None = None) -> Flops:
    """Count a call; with a method, by its parts too."""
    tally = _Tally()
    with _telling_parts(method, tally), tally:
        call()
    total = float(sum(tally.of_part.values()))
    unknown = sum(tally.unknown.values())
    return Flops(
        total=total,
        pointwise=float(tally.pointwise),
        parts={part: float(count) for part, count in tally.of_part.items()},
        coverage=1 - unknown / total if total else 1.0,
        unknown=tuple(sorted(tally.unknown)),
    )


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations of all that runs: by part, those element by element, and those that nobody knows, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inside: list[str] = []
        """The parts of the modules that run now, the outermost first."""
        self.of_part: Counter[str] = Counter()
        self.pointwise = 0
        self.unknown: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = func._overloadpacket
        formula = _FORMULAS.get(operation) or flop_registry.get(operation)
        if formula is None:
            with self:  # one that is made of others is counted as these
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        if formula is not None:
            count = int(formula(*args, **kwargs, out_val=out))
        elif func.is_view or operation in _MOVES:
            count = 0
        elif torch.Tag.pointwise in func.tags:
            count = _floats(out)
        elif torch.Tag.reduction in func.tags:
            count = _floats(args)
        else:
            count = (_floats(args) + _floats(out)) * _longest_side((args, out))
            if count:
                self.unknown[str(operation)] += count
        if operation in _NORMS or (formula is None and torch.Tag.pointwise in func.tags):
            self.pointwise += count
        if count:
            self.of_part[TASK_NETWORK if TASK_NETWORK in self.inside else [*self.inside, ""][0]] += count
        return out


@contextmanager
def _telling_parts(method: nn.Module | None, tally: _Tally) -> Iterator[None]:
    """Tell the tally which uppermost module of the method is at work."""
    handles = []
    for name, module in method.named_modules() if method is not None else ():
        if name:
            part = TASK_NETWORK if TASK_NETWORK in name.split(".") else name.split(".")[0]
            handles += [
                module.register_forward_pre_hook(lambda *_, part=part: tally.inside.append(part)),
                module.register_forward_hook(lambda *_: tally.inside.pop() and None),
            ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _floats(value: Any) -> int:
    """Elements of all floating-point tensors in what an operation was given or gave."""
    if isinstance(value, Tensor):
        return value.numel() if value.is_floating_point() else 0
    return sum(map(_floats, value)) if isinstance(value, tuple | list) else 0


def _longest_side(value: Any) -> int:
    if isinstance(value, Tensor):
        return max(value.shape, default=1)
    return max(map(_longest_side, value), default=1) if isinstance(value, tuple | list) else 1


def _grid_sample(image: Any, grid: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Bilinear: 4 multiply-adds for each channel; 18 operations for each location.

    The 18: unnormalise x and y (2 x 3), the fractions (2), their complements (2), four weights (4), four corners'
    coordinates (2), and two comparisons of a border (2).
    """
    return int(math.prod(grid[:-1]) * (8 * image[1] + 18))


def _affine_grid(theta: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Each coordinate of each location is a product of three numbers with three others."""
    return int(6 * math.prod(out_shape))


def _weighted(reads: int) -> Callable[..., int]:
    """Each output element is a weighted sum of so many pixels: 4 if bilinear, 16 if bicubic, none if the nearest."""

    def count(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return int(2 * reads * math.prod(out_shape))

    return count


def _window(image: Any, kernel: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Each output element is the mean or the largest of a window: as many operations as it has elements.

    A mean adds all but one and divides; a maximum compares all but one and is counted the same. One that reaches
    beyond the border counts as whole.
    """
    sides = kernel if len(kernel) == 2 else (kernel[0], kernel[0])
    return int(math.prod(_first(out_shape)) * math.prod(sides))


def _adaptive_window(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """The same with windows that share the image out, and overlap where it does not divide."""
    shape, read = _first(out_shape), 1
    for pixels, windows in zip(image[-2:], shape[-2:], strict=True):
        read *= sum(-(-(i + 1) * pixels // windows) - i * pixels // windows for i in range(windows))
    return int(math.prod(shape[:-2]) * read)


def _first(shapes: Any) -> Any:
    """The shape of the first of several outputs; a maximum also gives where it stood."""
    return shapes if isinstance(shapes, torch.Size) else shapes[0]


def _softmax(logits: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of each element: compared, subtracted from, raised, added and divided."""
    return int(5 * math.prod(logits))


def _batch_norm(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """With known mean and spread, a multiply-add for each element: scale and shift are folded together.

    Where they are found from the batch itself, 4 more: the sum, the difference from the mean, its square, their sum.
    """
    return int((6 if args[4] else 2) * math.prod(image))


def _group_norm(image: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Mean and spread are always of the image itself, as in _batch_norm."""
    return int(6 * math.prod(image))


def _deformable(features: Any, weight: Any, offset: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A convolution, and what its samples cost, bilinear: as for a grid, but 14 operations for each location.

    The 14: the two offsets instead of unnormalising. A mask multiplies each sample once. A location is one for all
    channels that move together.
    """
    locations = math.prod(offset) // 2
    channels = features[1] * 2 * math.prod(weight[2:]) // offset[1]  # that move together
    with_mask = bool(args[-1])
    return int(locations * ((8 + with_mask) * channels + 14) + 2 * math.prod(out_shape) * math.prod(weight[1:]))


_aten = torch.ops.aten
_NORMS: dict[Any, Callable[..., int]] = {
    _aten.native_batch_norm: _batch_norm,
    _aten.cudnn_batch_norm: _batch_norm,
    _aten.native_layer_norm: _group_norm,
    _aten.native_group_norm: _group_norm,
}
_FORMULAS: dict[Any, Any] = {
    operation: shape_wrapper(formula)  # type: ignore[no-untyped-call]
    for operation, formula in {
        _aten.grid_sampler_2d: _grid_sample,
        _aten.cudnn_grid_sampler: _grid_sample,
        _aten.affine_grid_generator: _affine_grid,
        _aten.upsample_bilinear2d: _weighted(4),
        _aten.upsample_bicubic2d: _weighted(16),
        _aten.upsample_nearest2d: _weighted(0),
        _aten.avg_pool2d: _window,
        _aten.max_pool2d_with_indices: _window,
        _aten._adaptive_avg_pool2d: _adaptive_window,
        _aten.adaptive_max_pool2d: _adaptive_window,
        _aten._softmax: _softmax,
        _aten._log_softmax: _softmax,
        torch.ops.torchvision.deform_conv2d: _deformable,
        **_NORMS,
    }.items()
}
_MOVES = {
    *(_aten._to_copy, _aten._unsafe_view, _aten.cat, _aten.clone, _aten.constant_pad_nd, _aten.copy_, _aten.embedding),
    *(_aten.fill_, _aten.flip, _aten.full, _aten.gather, _aten.index, _aten.index_select, _aten.lift_fresh),
    *(_aten.new_empty, _aten.new_full, _aten.new_ones, _aten.new_zeros, _aten.ones, _aten.ones_like, _aten.repeat),
    *(_aten.reflection_pad2d, _aten.replication_pad2d, _aten.roll, _aten.stack, _aten.tril, _aten.triu, _aten.zeros),
    *(_aten.arange, _aten.empty, _aten.empty_like, _aten.eye, _aten.linspace, _aten.zero_, _aten.zeros_like),
}
"""Operations that make, copy or pick numbers and compute none."""
