"""The two layers next to the density, whose one channel makes torch's slow; and the one that is told the condition.

On an axis padded by one cell at either end, a kernel of 4 at stride 2 is a kernel of 2 at stride 1 over pairs of cells:
tap t is cell t mod 2 of pair t div 2. So the 2³ cells of a block become 8 channels, and the kernel 2³ blocks, with no
product more than before but for the padding.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS_LAST = {"memory_format": torch.channels_last_3d}
PAIRS = ((slice(1, None, 2), slice(1, None)), (slice(0, None, 2), slice(None, -1)))  # an axis' cells, where in a pair


class DensityConv(nn.Conv3d):
    """The convolution of one channel by kernels of 4³, stride 2, padding 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (n, 1, m, m, m), m even, to (n, channels, m/2, m/2, m/2)."""
        kernel = self.weight.reshape(-1, 2, 2, 2, 2, 2, 2).permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, 8, 2, 2, 2)
        return F.conv3d(_Blocks.apply(x), kernel.contiguous(**CHANNELS_LAST), self.bias)


class DensityDeconv(nn.ConvTranspose3d):
    """The transposed convolution to one channel by kernels of 4³, stride 2, padding 1."""

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        """Convolve (n, channels, m, m, m) to (n, 1, 2m, 2m, 2m)."""
        taps = self.weight.reshape(-1, 2, 2, 2, 2, 2, 2).flip(1, 3, 5).permute(2, 4, 6, 0, 1, 3, 5).flatten(0, 2)
        out = _Cells.apply(F.conv3d(x, taps.contiguous(**CHANNELS_LAST), padding=1))
        return out if self.bias is None else out + self.bias.to(out.dtype)


class ConditionedConv(nn.Conv3d):
    """A convolution of the input and of constant channels after it, one for each number of a condition.

    A constant channel gives the same pattern for all samples, times its value, so the channels are never made.
    """

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Convolve (n, channels, m, m, m), told (n, numbers)."""
        kernel, of_constants = self.weight.split((x.shape[1], told.shape[1]), dim=1)
        out = F.conv3d(x, kernel.contiguous(**CHANNELS_LAST), self.bias, self.stride, self.padding)
        ones = x.new_ones(1, 1, *x.shape[2:])
        each = of_constants.transpose(0, 1).reshape(-1, 1, *self.kernel_size)
        patterns = F.conv3d(ones, each, None, self.stride, self.padding).unflatten(1, (-1, out.shape[1]))[0]
        patterns = patterns.permute(0, 2, 3, 4, 1)  # channels last, as out is
        return out + (told @ patterns.flatten(1)).view(len(out), *patterns.shape[1:]).permute(0, 4, 1, 2, 3)


class _Blocks(torch.autograd.Function):
    """Cells, padded by one at either end, to blocks of 2³: the transposed of `_Cells`, and so its backward pass."""

    @staticmethod
    def forward(ctx: Any, cells: torch.Tensor) -> torch.Tensor:
        """Gather (n, 1, m, m, m) to (n, 8, h, h, h), h = m/2 + 1, channels last."""
        h = cells.shape[-1] // 2 + 1
        blocks = cells.new_zeros(len(cells), h, h, h, 8).permute(0, 4, 1, 2, 3)
        for here, there in _places():
            blocks[there] = cells[here]
        return blocks

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient of the cells."""
        return _Cells.apply(gradient)


class _Cells(torch.autograd.Function):
    """Blocks to their cells, without those of the padding."""

    @staticmethod
    def forward(ctx: Any, blocks: torch.Tensor) -> torch.Tensor:
        """Scatter (n, 8, h, h, h) to (n, 1, m, m, m), m = 2h - 2."""
        m = 2 * blocks.shape[-1] - 2
        cells = blocks.new_empty(len(blocks), 1, m, m, m)
        for here, there in _places():
            cells[here] = blocks[there]
        return cells

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient of the blocks."""
        return _Blocks.apply(gradient)


def _places() -> Iterator[tuple[Any, Any]]:
    """Yield for each channel of the blocks the index of its cells, and of the same in the blocks."""
    for channel, axes in enumerate(itertools.product(PAIRS, repeat=3)):
        taken, pairs = zip(*axes, strict=True)
        yield (slice(None), 0, *taken), (slice(None), channel, *pairs)
