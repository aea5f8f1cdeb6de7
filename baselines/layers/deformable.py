"""A convolution that chooses where it samples: Dai et al. 2017, and v2, Zhu et al. 2019."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import DeformConv2d

from .resample import resample


class Deformable(DeformConv2d):
    """A convolution whose every sample is moved by an offset, read off the same features by another convolution.

    Made from a plain one, whose weight and bias it shares: at the start, with offsets of zero, it is the same function.
    With a mask each sample is also weighed, between 0 and 1; at the start by 0.5, so it is half of it, bias apart.
    `groups` is of channels that move together. Raises ValueError where they cannot be shared out to so many.
    """

    def __init__(self, plain: nn.Conv2d, *, groups: int, mask: bool) -> None:
        if plain.in_channels % groups:
            raise ValueError(f"groups is {groups}: {plain.in_channels} channels cannot be shared out to them")
        geometry: dict[str, Any] = {
            "kernel_size": plain.kernel_size,
            "stride": plain.stride,
            "padding": plain.padding,
            "dilation": plain.dilation,
        }
        super().__init__(
            plain.in_channels, plain.out_channels, groups=plain.groups, bias=plain.bias is not None, **geometry
        )
        self.weight, self.bias = plain.weight, plain.bias
        samples = groups * plain.kernel_size[0] * plain.kernel_size[1]
        self.moved_together = groups
        self.parts = [2 * samples, samples] if mask else [2 * samples]
        self.to_offset = nn.Conv2d(plain.in_channels, sum(self.parts), **geometry)
        nn.init.zeros_(self.to_offset.weight)
        nn.init.zeros_(self.to_offset.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch filters h w"]:
        """The convolution of moved samples, in the precision of the features; beyond the border they are zero."""
        moves = self.to_offset(features)  # in bfloat16 under autocast: no worse than what the features' rounding does
        with torch.autocast(device_type=features.device.type, enabled=False):
            offset, *mask = moves.to(self.weight.dtype).split(self.parts, dim=1)
            weights = mask[0].sigmoid() if mask else None
            convolve = super().forward if features.is_cuda else self.by_resampling
            moved: Tensor = convolve(features.to(self.weight.dtype), offset, weights)
        return moved.to(features.dtype)

    def by_resampling(
        self,
        features: Float[Tensor, "batch channels rows columns"],
        offset: Float[Tensor, "batch moves h w"],
        mask: Float[Tensor, "batch weights h w"] | None = None,
    ) -> Float[Tensor, "batch filters h w"]:
        """What torchvision computes, by grid_sample and a product of matrices.

        On one CPU thread forward and backward take a sixth to a ninth of the time of torchvision's loops.
        Offsets are in cells of the features, (y, x) for each group and cell of the kernel, as torchvision has them.
        """
        # Of one cell both corners are the same place; a cell of zeros more is what lies beyond it anyway.
        features = functional.pad(features, (0, int(features.shape[3] == 1), 0, int(features.shape[2] == 1)))
        batch, rows_columns = len(features), features.shape[2:]
        height, width = offset.shape[2:]
        samples = self.kernel_size[0] * self.kernel_size[1]
        moves = offset.reshape(batch * self.moved_together, samples, 2, height, width)
        cells = [torch.arange(length, device=offset.device, dtype=offset.dtype) for length in self.kernel_size]
        in_kernel = torch.meshgrid(*cells, indexing="ij")
        yx = []
        for axis, length in enumerate((height, width)):
            start = torch.arange(length, device=offset.device, dtype=offset.dtype) * self.stride[axis]
            start = (start - self.padding[axis]).view((-1, 1) if axis == 0 else (1, -1))
            place = start + self.dilation[axis] * in_kernel[axis].reshape(-1, 1, 1) + moves[:, :, axis]
            yx.append(place * (2 / (rows_columns[axis] - 1)) - 1)  # -1 and 1 are the centres of the corner cells
        grid = torch.stack((yx[1], yx[0]), dim=-1).flatten(1, 2)
        together = features.reshape(batch * self.moved_together, -1, *rows_columns)
        read = resample(together, grid, beyond="zeros")
        if mask is not None:
            read = read * mask.reshape(batch * self.moved_together, 1, samples * height, width)
        columns = read.reshape(batch, self.groups, -1, height * width)
        filters = self.weight.reshape(self.groups, self.out_channels // self.groups, -1)
        result: Tensor = (filters @ columns).reshape(batch, self.out_channels, height, width)
        return result if self.bias is None else result + self.bias[:, None, None]
