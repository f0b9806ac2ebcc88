"""Check density fields, numpy arrays or torch tensors, one cube or a batch of them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

# Cells that are worked on at once. A 64³ field stays in a core's cache while everything is measured on it, which is
# faster than going through a whole batch step by step; a GPU wants many fields at once.
CELLS_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}

# glibc gives freed memory back to the system, and to get it again for the next field can take as long as a transform.
# Once it has freed a block of up to 32 MiB, it keeps twice as much (M_MMAP_THRESHOLD in mallopt(3)). This one is never
# touched, so it takes no memory; `hpc.memory.keep_freed`, which has no bound, is for a process of one's own.
torch.empty(31 * 2**20, dtype=torch.uint8)

Density = Tensor | np.ndarray[Any, Any]


def batch(density: Density) -> Tensor:
    """Return densities as a batch of cubes.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n), real: a torch tensor on any device, or anything that numpy takes

    Returns
    -------
    (b, n, n, n) float32 or float64, on the device it was on; a view where that is possible

    Raises
    ------
    ValueError
        when it has another shape, is not real, or there is none.
    """
    cubes = density if isinstance(density, Tensor) else torch.from_numpy(_native(np.asarray(density)))
    if cubes.ndim == 3:
        cubes = cubes[None]
    if cubes.ndim != 4 or len(set(cubes.shape[1:])) != 1:
        shape = tuple(np.shape(density))
        raise ValueError(f"density: expected cubes, (n, n, n) or (b, n, n, n), found shape {shape}")
    if cubes.is_complex():
        raise ValueError("density: expected real numbers, found complex ones")
    if cubes.numel() == 0:
        raise ValueError(f"density: expected one cube or more, found shape {tuple(cubes.shape)}")
    cubes = cubes.detach()  # results are numbers, through which no gradient flows
    return cubes if cubes.dtype in (torch.float32, torch.float64) else cubes.float()


def _native(values: np.ndarray) -> np.ndarray:
    """Return an array as torch takes it: in this machine's byte order, writable, with positive strides."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy()


def rising(edges: ArrayLike, name: str) -> np.ndarray:
    """Return the edges of bins as an array of their own, (nbins + 1,) float64.

    Raises
    ------
    ValueError
        when they are fewer than two, or do not rise: calls them by the name.
    """
    values = np.array(edges, np.float64)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(f"{name}: expected two or more rising numbers, found {values}")
    return values


def pieces(density: Tensor) -> tuple[Tensor, ...]:
    """Cut a batch into parts of the size that its device works on best."""
    at_once = CELLS_AT_ONCE.get(density.device.type, CELLS_AT_ONCE["cuda"])
    return density.split(max(at_once // density[0].numel(), 1))
