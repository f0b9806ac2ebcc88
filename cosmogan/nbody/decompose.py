"""Assign subvolumes to ranks, and route each particle to the ranks whose subvolumes it touches."""

from dataclasses import dataclass

import numpy as np

from cosmogan.nbody import kernels
from cosmogan.nbody.paint import BadPosition


def morton(place: np.ndarray) -> np.ndarray:
    """Return places (n, 3) of whole numbers along a Morton curve, (n,) int64: its consecutive eighths are octants."""
    place = place.astype(np.int64)
    code = np.zeros(len(place), np.int64)
    for bit in range(int(place.max(initial=0)).bit_length()):
        for axis in range(3):
            code |= ((place[:, axis] >> bit) & 1) << (3 * bit + 2 - axis)
    return code


@dataclass(frozen=True)
class Layout:
    """A periodic mesh cut into cubic subvolumes, numbered with the last axis fastest."""

    n_mesh: int
    subvolume: int

    @property
    def n_side(self) -> int:
        """Subvolumes a side."""
        return self.n_mesh // self.subvolume

    @property
    def n_subvolumes(self) -> int:
        """Subvolumes in all."""
        return self.n_side**3

    def corners(self, numbers: np.ndarray) -> np.ndarray:
        """Return the first cells of subvolumes: (n, 3) int32."""
        return (np.stack(np.unravel_index(numbers, (self.n_side,) * 3), axis=-1) * self.subvolume).astype(np.int32)

    def assign(self, n_shards: int) -> list[np.ndarray]:
        """Assign the subvolumes to shards in turn, in the order of a Morton curve.

        A snapshot's particles come in compact regions (GADGET-2 writes them along a Peano-Hilbert curve), so what is
        read in one go belongs to neighbouring subvolumes: assigned in turn, they keep all ranks equally busy.

        Returns
        -------
        ``n_shards`` arrays of subvolumes' numbers, whose lengths differ by at most one
        """
        place = self.corners(np.arange(self.n_subvolumes)) // self.subvolume
        order = np.argsort(morton(place), kind="stable")
        return [order[shard::n_shards] for shard in range(n_shards)]


class Router:
    """Sorts particles by the ranks that own a part of their clouds, keeping their order for each rank.

    Parameters
    ----------
    mesh : cells per length (inverse of the positions' unit), cells a side of the mesh and of a subvolume
    owner : (n_subvolumes,) int32, each subvolume's rank, -1 for one that nobody wants
    n_ranks : ranks in all
    order : of the window
    """

    def __init__(self, mesh: tuple[float, int, int], owner: np.ndarray, n_ranks: int, order: int = 2) -> None:
        self.mesh, self.owner, self.n_ranks = kernels.Mesh(*mesh, order), owner, n_ranks

    def address(self, positions: np.ndarray, destination: np.ndarray) -> np.ndarray:
        """Say where particles go.

        Parameters
        ----------
        positions : (n, 3) float32 or float64
        destination : (n,) int32, set to each one's rank; a negative number marks those for nobody and for several

        Returns
        -------
        (n_ranks,) int64, how many go to each rank

        Raises
        ------
        BadPosition
            for a position that is not a number, or more than a box length outside the box.
        """
        counts = np.zeros(self.n_ranks, np.int64)
        bad = kernels.address((positions, None), self.mesh, self.owner, destination, counts)
        if bad >= 0:
            raise BadPosition(bad, positions[bad], self.mesh.n_mesh / self.mesh.cells_per_length)
        return counts

    def sort(
        self,
        particles: tuple[np.ndarray, np.ndarray | None],
        destination: np.ndarray,
        counts: np.ndarray,
        out: tuple[np.ndarray, np.ndarray | None],
    ) -> None:
        """Copy particles, (positions, weights or None), to ``out`` sorted by rank, given the results of ``address``."""
        next_row = np.cumsum(counts) - counts
        kernels.sort(particles, self.mesh, self.owner, destination, next_row, out)
