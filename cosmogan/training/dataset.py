"""Give training samples by number: each a subvolume, or a crop, in one of the cube's 48 orientations."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch

from cosmogan.gan import latent
from cosmogan.gan.conditions import BatchConditions, TrainingConditions
from cosmogan.gan.symmetry import SYMMETRIES, each_oriented
from cosmogan.training import crops


def symmetries(seed: int, first: int, n: int) -> np.ndarray:
    """Return the orientations of samples ``first`` to ``first + n - 1``, (n,) in 0 … 47, all equally likely."""
    return (latent.bits(seed, latent.SYMMETRY, first, (n, 1))[:, 0] % len(SYMMETRIES)).astype(int)


class Share(NamedTuple):
    """One process's samples of a batch: consecutive ones, so that BatchNorm groups stay whole."""

    offset: int  # from the batch's first sample
    size: int


class Batch(NamedTuple):
    """A process's part of a batch."""

    density: torch.Tensor  # (n, 1, m, m, m), in units of the mean
    conditions: BatchConditions | None = None  # for conditional networks
    surroundings: torch.Tensor | None = None  # for local generators: the input density around, (n, m + 2 halo, …)


class Samples(Protocol):
    """What training takes its batches from."""

    def batches(self, seed: int, first: int, stride: int, part: Share) -> Iterator[Batch]:
        """Yield this process's part of batch after batch."""

    def fakes(self, seed: int, first: int, n: int) -> Batch:
        """Return what consecutive fakes are drawn for, as a batch."""

    def previews(self, n: int) -> Batch:
        """Return what the samples of a preview are drawn for, as a batch."""


class TrainingSet:
    """Gives a process's samples, endlessly; sample n is the same for any number of processes.

    The subvolumes come in a new random order in every pass, and every sample in a random orientation. A process reads
    only the rows of its own samples; with a cache, each of them once.

    Parameters
    ----------
    read : (n,) row numbers → (n, m, m, m) float32 densities, in units of the mean
    rows : (n,) int, the rows to train on
    subvolume : cells a side, m
    device : where the samples go
    cache : where the densities stay once they are read; None: they are read again
    conditions : of the rows, for conditional networks. The distinct ones then come in turn, in a new random order each
        time round, so that batches hold all equally often; and each has its own passes over its own rows
    neighbours : of the rows, by `crops.neighbours`. A sample is then not the subvolume but a crop of its box that
        begins at a random cell of the subvolume; it needs a cache, which gets all subvolumes that it lies in
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        subvolume: int,
        device: torch.device,
        cache: torch.device | None,
        conditions: TrainingConditions | None = None,
        neighbours: np.ndarray | None = None,
    ) -> None:
        self.rows, self.device = rows, device
        self._read, self._subvolume = read, subvolume
        self._held = np.zeros(len(rows), bool)
        self._cached = None if cache is None else torch.empty(len(rows), *[subvolume] * 3, device=cache)
        self._conditions, self._neighbours = conditions, neighbours
        self._groups = [np.arange(len(rows))] if conditions is None else conditions.groups
        self._orders: dict[int, tuple[int, int, np.ndarray]] = {}  # of each group: seed, pass, and its order then
        self._reader = ThreadPoolExecutor(1)

    def places(self, seed: int, samples: np.ndarray) -> np.ndarray:
        """Return the place among ``rows`` of each numbered sample."""
        return np.array([self._place(seed, *divmod(int(number), len(self._groups))) for number in samples])

    def _place(self, seed: int, turn: int, slot: int) -> int:
        """Return the place of the sample in a slot of a turn, in which each group comes once."""
        groups = self._groups
        number = 0
        if len(groups) > 1:
            number = int(np.argsort(latent.bits(seed, latent.TURN, turn, (1, len(groups)))[0])[slot])
        number_of_pass, at = divmod(turn, len(groups[number]))
        return int(groups[number][self._order_of(seed, number_of_pass, number)[at]])

    def batches(self, seed: int, first: int, stride: int, part: Share) -> Iterator[Batch]:
        """Yield this process's part of batch after batch; the next is read meanwhile.

        Parameters
        ----------
        seed : of order and orientations
        first : number of the first batch's first sample
        stride : samples in a batch, over all processes
        part : this process's share of them
        """
        first += part.offset
        coming: Future[Batch] = self._reader.submit(self._load, seed, first, part.size)
        while True:
            batch = coming.result()
            first += stride
            coming = self._reader.submit(self._load, seed, first, part.size)
            yield batch

    def fakes(self, seed: int, first: int, n: int) -> Batch:
        """Return what consecutive fakes are drawn for, as a batch without densities."""
        conditions = None
        if self._conditions is not None:
            conditions = self._conditions.of_batch(self.places(seed, np.arange(first, first + n)), seed, first)
        return Batch(torch.empty(n, 0), conditions)

    def previews(self, n: int) -> Batch:
        """Return what the samples of a preview are drawn for, all under one condition, as a batch without densities."""
        if self._conditions is None:
            return Batch(torch.empty(n, 0))
        condition, kappa = self._conditions.of_preview()
        return Batch(torch.empty(n, 0), BatchConditions(condition.expand(n, -1), condition.expand(n, -1), kappa))

    def _load(self, seed: int, first: int, n: int) -> Batch:
        places = self.places(seed, np.arange(first, first + n))
        conditions = None if self._conditions is None else self._conditions.of_batch(places, seed, first)
        turns = symmetries(seed, first, n)
        if self._cached is None or self._cached.device.type == "cpu":
            cubes = each_oriented(crops.to_device(self._on_host(places, seed, first), self.device), turns)
        else:
            cubes = crops.crop_on_device(self._cached, *self._pieces(places, seed, first), turns)
        return Batch(cubes[:, None], conditions)

    def _on_host(self, places: np.ndarray, seed: int, first: int) -> torch.Tensor:
        """Return the samples at some places as they lie in their box, (n, m, m, m)."""
        if self._cached is None:
            return torch.from_numpy(self._read(self.rows[places]))
        if self._neighbours is not None:
            return crops.crop(self._cached, *self._pieces(places, seed, first))
        self._hold(places)
        return self._cached[torch.from_numpy(places)]

    def _pieces(self, places: np.ndarray, seed: int, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the subvolumes of samples, (n, 8), all cached, and the first cells in the first of them, (n, 3)."""
        n, shift = len(places), np.zeros((len(places), 3), int)
        pieces = np.repeat(places[:, None], 8, axis=1)
        if self._neighbours is not None:
            pieces, shift = self._neighbours[places], crops.shifts(seed, first, n, self._subvolume)
        self._hold(pieces.ravel())
        return pieces, shift

    def _hold(self, places: np.ndarray) -> None:
        """Read the densities at some places into the cache, where they are not there yet."""
        places = np.unique(places[~self._held[places]])
        if len(places) and self._cached is not None:
            densities = torch.from_numpy(self._read(self.rows[places]))
            self._cached[torch.from_numpy(places).to(self._cached.device)] = densities.to(self._cached.device)
            self._held[places] = True

    def _order_of(self, seed: int, number: int, group: int) -> np.ndarray:
        """Return the order of a group's rows in a pass over them."""
        kept = self._orders.get(group)
        if kept is None or kept[:2] != (seed, number):
            first = number * len(self._groups) + group
            words = latent.bits(seed, latent.SHUFFLE, first, (1, len(self.rows)))[0]
            kept = self._orders[group] = (seed, number, np.argsort(words[: len(self._groups[group])]))
        return kept[2]


def cache(wanted: str, n_bytes: int, device: torch.device, processes: int) -> torch.device | None:
    """Choose the device that holds the training set in memory, or None.

    ``auto`` keeps it on a GPU that it half fills at most; else in the host's memory, when a copy for each process
    (each meets all rows in time) takes at most half of it; else not at all.

    Parameters
    ----------
    wanted : ``train.cache``
    n_bytes : size of the training set
    device : where it is trained
    processes : that share the host, at most
    """
    host = torch.device("cpu")
    if wanted != "auto":
        return {"none": None, "host": host, "device": device}[wanted]
    if device.type == "cuda" and 2 * n_bytes <= torch.cuda.mem_get_info(device)[0]:
        return device
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return host if 2 * n_bytes * processes <= memory else None
