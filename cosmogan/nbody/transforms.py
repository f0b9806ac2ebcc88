"""Transform cubes to Fourier space and back: by torch on a GPU, by scipy in threads and in place on a CPU.

On a CPU a cube is cut into blocks of lines, whose size depends on the cube alone, and each block is transformed by one
thread. So the bytes are the same on any number of threads, whatever the processor: no library is asked to share out
a transform.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
import torch

BLOCK = 1 << 17  # modes that a thread transforms at once, to stay in its cache; more where a plane or line has more


def transform(field: torch.Tensor) -> torch.Tensor:
    """Return the modes (n, n, n//2 + 1) of a real field (n, n, n), as ``rfftn`` orders them."""
    if field.device.type != "cpu":
        return torch.fft.rfftn(field)
    n, values = field.shape[0], field.numpy()
    modes = np.empty((n, n, n // 2 + 1), np.result_type(values, np.complex64))
    forward_planes(values, modes)
    columns(modes, lambda block, start: in_place(scipy.fft.fft, block, 0))
    return torch.from_numpy(modes)


def transform_back(modes: torch.Tensor) -> torch.Tensor:
    """Return the field (n, n, n) of ``transform``'s modes, which are overwritten: on a CPU it lies in their memory."""
    n = modes.shape[0]
    if modes.device.type != "cpu":
        return torch.fft.irfftn(modes, s=(n, n, n))
    values = modes.numpy()
    columns(values, lambda block, start: in_place(scipy.fft.ifft, block, 0))
    return torch.from_numpy(backward_planes(values))


def forward_planes(field: np.ndarray, modes: np.ndarray) -> None:
    """Transform a field (n, n, n) along its last two axes, into ``modes``, whose memory may be the field's."""

    def work(start: int, stop: int) -> None:
        modes[start:stop] = scipy.fft.rfft2(field[start:stop])

    in_threads(work, _blocks(modes))


def columns(modes: np.ndarray, work: Callable[[np.ndarray, int], Any]) -> None:
    """Change modes (n, n, n//2 + 1) by whole lines of the first axis; ``work`` gets some, and the second's start."""
    in_threads(lambda start, stop: work(modes[:, start:stop], start), _blocks(modes))


def backward_planes(modes: np.ndarray) -> np.ndarray:
    """Transform modes back along the last two axes, in place; return the field (n, n, n), a view of their memory."""
    n = modes.shape[0]
    field = as_field(modes)

    def work(start: int, stop: int) -> None:
        in_place(scipy.fft.ifft, modes[start:stop], 1)
        field[start:stop] = scipy.fft.irfft(modes[start:stop], n, axis=2)

    in_threads(work, _blocks(modes))
    return field


def in_place(function: Callable[..., np.ndarray], block: np.ndarray, axis: int) -> None:
    """Transform a block along an axis by one of scipy's functions, which may, but need not, put it into its memory."""
    transformed = function(block, axis=axis, overwrite_x=True)
    if not np.may_share_memory(transformed, block):
        block[...] = transformed


def as_field(modes: np.ndarray) -> np.ndarray:
    """Return the memory of modes (n, n, n//2 + 1) as a real field (n, n, n), its rows one or two numbers apart."""
    return modes.view(modes.real.dtype)[..., : modes.shape[0]]


def in_threads(work: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """Call ``work`` with each of the arguments, on as many threads as torch uses."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for future in [pool.submit(work, *call) for call in calls]:
            future.result()


def pieces(n: int, size: int) -> list[tuple[int, int]]:
    """Return the first and last numbers of pieces of ``size`` that make up n."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _blocks(modes: np.ndarray) -> list[tuple[int, int]]:
    return pieces(modes.shape[0], max(1, BLOCK // modes[0].size))
