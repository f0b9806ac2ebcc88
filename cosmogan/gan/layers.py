"""Convolve next to the density, where few channels make torch's own layers slow, and with a condition.

On an axis padded by one cell at either end, a kernel of 4 at stride 2 is a kernel of 2 at stride 1 over pairs of cells:
tap t is cell t mod 2 of pair t div 2. So the 2³ cells of a block become 8 channels, and the kernel 2³ blocks, with no
product more than before but for the padding.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cosmogan.gan import fused
from cosmogan.gan.scaling import LIMIT

CHANNELS_LAST = {"memory_format": torch.channels_last_3d}
PAIRS = ((slice(1, None, 2), slice(1, None)), (slice(0, None, 2), slice(None, -1)))  # an axis' cells, where in a pair


class Views(nn.Module):
    """The scaled density as it is, scaled with other kappas, eq. (5), and in logarithms: a channel each.

    One kappa resolves the densities around it: emptier cells lie close to -1, denser ones close to 1. A logarithm
    resolves all of them.

    Parameters
    ----------
    ratios : of the other kappas to the first
    floor : density added before the logarithm is taken, in units of kappa; None: no such channel
    """

    def __init__(self, ratios: Sequence[float], floor: float | None = None) -> None:
        super().__init__()
        self.ratios, self.floor = ratios, floor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, channels, m, m, m) of (n, 1, m, m, m)."""
        up, down = 1 + x, 1 - x
        views = [x, *(2 * up / (up + ratio * down) - 1 for ratio in self.ratios)]
        if self.floor is not None:
            views.append(log_density(x, self.floor))
        return torch.cat(views, 1)


class ViewsBeside(Views):
    """`Views`, and beside them the fields from which the densities were made."""

    def forward(self, x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return (n, channels, m, m, m) of densities (n, 1, m, m, m) and fields (n, fields, m, m, m)."""
        return torch.cat((super().forward(x), fields), 1)


def log_density(scaled: torch.Tensor, floor: float) -> torch.Tensor:
    """Return ln(rho / kappa + floor) in units of -ln floor: -1 where there is no matter, about 0 at kappa.

    Its slope is finite everywhere; from `LIMIT` on, where float32 loses the density, it is 0.

    Parameters
    ----------
    scaled : c of eq. (5), where rho / kappa = (1 + c) / (1 - c)
    floor : between 0 and 1
    """
    below = (1 - scaled).clamp(min=1 - LIMIT)
    return ((1 + scaled + floor * below) / below).log() / -math.log(floor)


class DensityConv(nn.Conv3d):
    """The convolution of few channels by kernels of 4³, stride 2, padding 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (n, in_channels, m, m, m), m even, to (n, channels, m/2, m/2, m/2)."""
        taps = self.weight.reshape(*self.weight.shape[:2], 2, 2, 2, 2, 2, 2).permute(0, 2, 4, 6, 3, 5, 7, 1)
        kernel = taps.reshape(len(taps), 2, 2, 2, -1).permute(0, 4, 1, 2, 3)  # channels last
        return F.conv3d(_Blocks.apply(x, kernel.dtype), kernel, self.bias)


class DensityDeconv(nn.ConvTranspose3d):
    """The transposed convolution to one channel by kernels of 4³, stride 2, padding 1."""

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Convolve (n, channels, m, m, m) to (n, 1, 2m, 2m, 2m), in float32 at least: near -1 tanh needs it."""
        taps = self.kernel().reshape(-1, 2, 2, 2, 2, 2, 2).flip(1, 3, 5).permute(2, 4, 6, 1, 3, 5, 0)
        kernel = taps.reshape(8, 2, 2, 2, -1).permute(0, 4, 1, 2, 3)  # channels last
        out = _Cells.apply(F.conv3d(x, kernel, padding=1), torch.float64 if x.dtype == torch.float64 else torch.float32)
        return out if self.bias is None else out + self.bias

    def kernel(self) -> torch.Tensor:
        """Return the kernel, (channels, 1, 4, 4, 4)."""
        return self.weight


class ResizeDeconv(DensityDeconv):
    """Each cell made 2³ alike, then a convolution by kernels of 3³, padding 1: no checkerboard of its own.

    Both together are the transposed convolution whose kernel is that of 3³ summed over 2³ neighbours.
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__(channels, 1, 3, bias=bias)

    def kernel(self) -> torch.Tensor:
        """Return the kernel of the transposed convolution, (channels, 1, 4, 4, 4)."""
        kernel = self.weight.flip(2, 3, 4)
        for axis in (2, 3, 4):
            none = torch.zeros_like(kernel.narrow(axis, 0, 1))
            kernel = torch.cat((kernel, none), axis) + torch.cat((none, kernel), axis)
        return kernel


class LatentDeconv(nn.ConvTranspose3d):
    """The transposed convolution of latents, which have one cell: on a GPU a matrix product.

    On a CPU a product of few rows has other last bits than one of many, and samples must not depend on their batch.
    """

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Convolve (n, numbers, 1, 1, 1) to (n, channels, *kernel_size)."""
        x = x.to(self.weight.dtype)
        return self.product(x) if x.is_cuda else super().forward(x)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same as `forward`, by a matrix product."""
        weight = self.weight.permute(0, 2, 3, 4, 1)  # as it lies in memory, channels last
        return (x.flatten(1) @ weight.flatten(1)).view(-1, *weight.shape[1:]).permute(0, 4, 1, 2, 3)


class LogitConv(nn.Conv3d):
    """The convolution that sees all cells at once, and gives one number: on a GPU a matrix product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (n, channels, *kernel_size) to (n, 1, 1, 1, 1)."""
        return self.product(x) if x.is_cuda else super().forward(x)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same as `forward`, by a matrix product."""
        samples, weight = (t.permute(0, 2, 3, 4, 1).flatten(1) for t in (x, self.weight))
        return F.linear(samples, weight, self.bias)[:, :, None, None, None]


class ConditionedConv(nn.Conv3d):
    """A convolution of the input and of constant channels after it, one for each number of a condition.

    A constant channel gives the same pattern for all samples, times its value, so the channels are never made.
    """

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Convolve (n, channels, m, m, m) under conditions (n, numbers)."""
        kernel, of_constants = self.weight.split((x.shape[1], conditions.shape[1]), dim=1)
        out = F.conv3d(x, kernel.contiguous(**CHANNELS_LAST), self.bias, self.stride, self.padding)
        ones = x.new_ones(1, 1, *x.shape[2:])
        each = of_constants.transpose(0, 1).reshape(-1, 1, *self.kernel_size)
        patterns = F.conv3d(ones, each, None, self.stride, self.padding).unflatten(1, (-1, out.shape[1]))[0]
        patterns = patterns.permute(0, 2, 3, 4, 1)  # channels last, as out is
        return out + (conditions @ patterns.flatten(1)).view(len(out), *patterns.shape[1:]).permute(0, 4, 1, 2, 3)


class _Blocks(torch.autograd.Function):
    """Cells, padded by one at either end, to blocks of 2³: the transposed of `_Cells`, and so its backward pass."""

    @staticmethod
    def forward(ctx: Any, cells: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Gather (n, channels, m, m, m) to (n, 8 channels, h, h, h), h = m/2 + 1, channels last, in some precision."""
        ctx.dtype = cells.dtype
        if fused.available(cells):
            return fused.to_blocks(cells, dtype)
        n, channels, m = cells.shape[:3]
        h = m // 2 + 1
        blocks = cells.new_zeros(n, h, h, h, 8, channels, dtype=dtype).permute(0, 4, 5, 1, 2, 3)
        for of_cells, of_blocks in _places():
            blocks[of_blocks] = cells[of_cells]
        return blocks.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient of the cells."""
        return _Cells.apply(gradient, ctx.dtype), None


class _Cells(torch.autograd.Function):
    """Blocks to their cells, without those of the padding."""

    @staticmethod
    def forward(ctx: Any, blocks: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Scatter (n, 8 channels, h, h, h) to (n, channels, m, m, m), m = 2h - 2, in some precision."""
        ctx.dtype = blocks.dtype
        if fused.available(blocks):
            return fused.to_cells(blocks, dtype)
        n, h = len(blocks), blocks.shape[-1]
        pairs = blocks.permute(0, 2, 3, 4, 1).unflatten(4, (2, 2, 2, -1)).permute(0, 7, 1, 4, 2, 5, 3, 6)
        padded = pairs.reshape(n, -1, 2 * h, 2 * h, 2 * h)
        return padded[..., 1:-1, 1:-1, 1:-1].to(dtype, memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient of the blocks."""
        return _Blocks.apply(gradient, ctx.dtype), None


def _places() -> Iterator[tuple[Any, Any]]:
    """Yield for each cell of a block the index of all such cells, and of the same in the blocks (n, 8, channels, …)."""
    for cell, axes in enumerate(itertools.product(PAIRS, repeat=3)):
        taken, pairs = zip(*axes, strict=True)
        yield (..., *taken), (slice(None), cell, ..., *pairs)
