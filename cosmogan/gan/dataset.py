"""The training samples: number n is a subvolume in one of the cube's 48 orientations, whoever asks for it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from cosmogan.gan import latent

CACHE_BYTES = 4e9  # a larger training set is read batch by batch

# A symmetry of the cube: the order of the axes, and the axes that are reversed.
SYMMETRIES = [
    (order, tuple(axis for axis in range(3) if signs[axis]))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((False, True), repeat=3)
]


def transform(cube: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Return a cube (m, m, m) in one of its 48 orientations."""
    order, reversed_axes = SYMMETRIES[symmetry]
    return cube.permute(order).flip(reversed_axes)


def symmetries(seed: int, first: int, n: int) -> np.ndarray:
    """Return the orientations of samples ``first`` to ``first + n - 1``, (n,) in 0 … 47, all equally likely."""
    return (latent.bits(seed, latent.SYMMETRY, first, (n, 1))[:, 0] % len(SYMMETRIES)).astype(int)


class Part(NamedTuple):
    """Which of a batch's samples are one process's: consecutive ones, so that BatchNorm groups stay whole."""

    offset: int  # from the batch's first sample
    size: int


class TrainingSet:
    """A process's samples, endlessly; sample n is the same for any number of processes.

    The subvolumes come in a new random order in every pass, and every sample in a random orientation.

    Parameters
    ----------
    read : (n,) row numbers → (n, m, m, m) float32 densities, in units of the mean
    rows : (n,) int, the rows to train on
    subvolume : cells a side, m
    seed : of order and orientations
    device : where the samples go
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        subvolume: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.rows, self.seed, self.device = rows, seed, device
        self._read = read
        self._cached = len(rows) * subvolume**3 * 4 <= CACHE_BYTES
        self._densities = torch.from_numpy(read(rows)) if self._cached else None
        self._order = (-1, np.empty(0, np.int64))
        self._reader = ThreadPoolExecutor(1)

    def places(self, samples: np.ndarray) -> np.ndarray:
        """Return the place among ``rows`` of each numbered sample."""
        passes, at = np.divmod(samples, len(self.rows))
        return np.array([self._order_of(int(number))[i] for number, i in zip(passes, at, strict=True)])

    def batches(self, first: int, stride: int, part: Part) -> Iterator[torch.Tensor]:
        """Yield this process's part of batch after batch, each (size, 1, m, m, m); the next is read meanwhile.

        Parameters
        ----------
        first : number of the first batch's first sample
        stride : samples in a batch, over all processes
        part : this process's share of them
        """
        coming: Future[torch.Tensor] = self._reader.submit(self._load, first + part.offset, part.size)
        while True:
            cubes = coming.result()
            turns = symmetries(self.seed, first + part.offset, part.size)
            first += stride
            coming = self._reader.submit(self._load, first + part.offset, part.size)
            cubes = cubes.to(self.device, non_blocking=True)
            yield torch.stack([transform(cube, s) for cube, s in zip(cubes, turns, strict=True)])[:, None]

    def _load(self, first: int, n: int) -> torch.Tensor:
        places = self.places(np.arange(first, first + n))
        if self._densities is not None:
            return self._densities[torch.from_numpy(places)]
        cubes = torch.from_numpy(self._read(self.rows[places]))
        return cubes.pin_memory() if self.device.type == "cuda" else cubes

    def _order_of(self, number: int) -> np.ndarray:
        """Return the order of the rows in a pass over them."""
        if self._order[0] != number:
            self._order = (number, np.argsort(latent.bits(self.seed, latent.SHUFFLE, number, (1, len(self.rows)))[0]))
        return self._order[1]
