"""Assign the mass of particles to the subvolumes of a mesh, summed exactly.

Node i lies at x = i L/n. A particle at u = x n/L gives weight to ``order`` nodes on each axis, the first of them
floor(u - order/2 + 1): NGP 1, CIC 2, TSC 3 (Hockney & Eastwood 1988, section 5-3), PCS 4 (Chaniotis & Poulikakos 2004).
"""

import math

import numpy as np

from cosmogan.nbody import kernels

WINDOWS = {"ngp": 1, "cic": 2, "tsc": 3, "pcs": 4}  # nodes a side that a particle's cloud covers
UNIT = 2.0**-27  # of the lightest particle's weight: less than a share's own rounding, but for shares below 1/8
LIGHTEST = 2.0**-10  # of the mean weight: of lighter particles the share is rounded as of one that has so much
CARRY = 2**32  # units


class Painter:
    """Adds particles' clouds to some of a periodic mesh's subvolumes, in whole numbers of a small unit of weight.

    So a sum depends neither on the order of the particles nor on how many they are. A cell takes 32 bits; what goes
    beyond is kept apart, in two numbers for each of the cells, rare by default, that hold more than 32 particles.

    Parameters
    ----------
    mesh : cells per length n_mesh/L (in the inverse of the positions' unit), cells a side of the mesh, cells a side
        of a subvolume (a divisor; ``n_mesh`` itself for the mesh in one piece)
    slots : (n_side³,) int32, a place for each wanted subvolume (numbered with the last axis fastest), from 0 on;
        -1: not wanted, what falls there is passed over
    order : of the window: NGP 1, CIC 2, TSC 3, PCS 4
    unit : of weight, of which sums are whole numbers
    """

    def __init__(self, mesh: tuple[float, int, int], slots: np.ndarray, order: int = 2, unit: float = UNIT) -> None:
        self._mesh, self._slots, self._unit = kernels.Mesh(*mesh, order), slots, unit
        self._box_size = mesh[1] / mesh[0]
        self._cells = np.zeros((int(slots.max(initial=-1)) + 1, *(mesh[2],) * 3), np.uint32)
        self._sums = kernels.Sums(self._cells, 1 / unit)
        self._beyond = np.empty((0, 2), np.int64)  # cells, rising, and their carries
        self._listed: list[np.ndarray] = []

    def add(self, positions: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add particles.

        Parameters
        ----------
        positions : (n, 3) float32 or float64, C-contiguous, within one box length of the box
        weights : (n,) float32, not negative; 1 when not given

        Raises
        ------
        BadPosition
            for a position that is not a number, or more than a box length outside the box. Some are added then.
        """
        start = 0
        while start < len(positions):
            rest = positions[start:], None if weights is None else weights[start:]
            n_added = kernels.paint(rest, self._mesh, self._slots, self._sums)
            if n_added < 0:
                row = start - 1 - n_added
                raise BadPosition(row, positions[row], self._box_size)
            start += n_added
            if start < len(positions):
                self._list_carries()

    def density(self, scale: float = 1.0) -> tuple[np.ndarray, float]:
        """Return the sums times ``scale``, (number of places, m, m, m) float32, and their total.

        They take the place of the sums in memory: no particle can be added after it.
        """
        self._list_carries()
        self._merge_carries()
        cells, (place, carries) = self._cells.reshape(-1), self._beyond.T
        crowded = (cells[place] + carries * float(CARRY)) * (self._unit * scale)
        total = kernels.density(cells, self._unit * scale) + int(carries.sum()) * CARRY
        density = self._cells.view(np.float32)
        density.reshape(-1)[place] = crowded
        return density, float(total) * self._unit * scale

    def _list_carries(self) -> None:
        """Take over the kernels' list of carries; merge it once it is longer than the merged ones."""
        self._listed.append(self._sums.carries[: self._sums.n_carries].copy())
        self._sums.n_carries = 0
        if sum(map(len, self._listed)) > max(len(self._beyond), kernels.CARRIES):
            self._merge_carries()

    def _merge_carries(self) -> None:
        every = np.concatenate([self._beyond, *self._listed])
        order = np.argsort(every[:, 0], kind="stable")
        every = every[order]
        first = np.flatnonzero(np.diff(every[:, 0], prepend=-1))
        self._beyond = np.stack([every[first, 0], np.add.reduceat(every[:, 1], first)], axis=1) if len(every) else every
        self._listed = []


def unit_of(lightest: float, total: float, n: int) -> float:
    """Return the unit, a power of two, for n weights: the lightest but those of 0, and their sum."""
    smallest = max(lightest, total / n * LIGHTEST) * UNIT
    return 2.0 ** max(math.floor(math.log2(smallest)), math.ceil(math.log2(total)) - 62)


class BadPosition(ValueError):
    """A particle that cannot be in the box; ``row`` says which of those given."""

    def __init__(self, row: int, position: np.ndarray, box_size: float) -> None:
        coordinates = ", ".join(f"{x:g}" for x in position)
        super().__init__(f"position ({coordinates}): expected numbers within one box length of 0 to {box_size:g}")
        self.row = int(row)
