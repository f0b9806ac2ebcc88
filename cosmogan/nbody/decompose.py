"""Ownership by subvolume: who gets which subvolumes, and which particles go to whom."""

from dataclasses import dataclass

import numba
import numpy as np

from cosmogan.nbody.paint import BLOCK, BadPosition, f32, i32, in_one_subvolume, locate, u64

NOBODY = -1
SEVERAL = -2  # marks a particle whose cloud lies in several subvolumes


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

    def deal(self, n_hands: int) -> list[np.ndarray]:
        """Deal the subvolumes out like cards, in the order of a Morton curve.

        A snapshot's particles come in compact regions (GADGET-2 writes them along a Peano-Hilbert curve), so what is
        read in one go belongs to neighbouring subvolumes: dealt out, they keep every hand equally busy.

        Returns
        -------
        ``n_hands`` arrays of subvolumes' numbers, whose lengths differ by at most one
        """
        place = self.corners(np.arange(self.n_subvolumes)).astype(np.int64) // self.subvolume
        code = np.zeros(self.n_subvolumes, np.int64)
        for bit in range(int(self.n_side - 1).bit_length()):
            for axis in range(3):
                code |= ((place[:, axis] >> bit) & 1) << (3 * bit + 2 - axis)
        order = np.argsort(code, kind="stable")
        return [order[hand::n_hands] for hand in range(n_hands)]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _span(first, side, order):
    """Return how many subvolumes a cloud that begins at cell ``first`` of one reaches into, on one axis."""
    n, beyond = 1, first + order - side
    while beyond > 0:
        n, beyond = n + 1, beyond - side
    return n


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _owners_of(p, mesh, order, owner, sub, first, found):
    """Set the ranks, each once, that own a part of a cloud; return how many they are."""
    side, n_side, n = i32(mesh[2]), i32(mesh[1] // mesh[2]), 0
    sa = sub[3 * p]
    for _ in range(_span(first[3 * p], side, order)):
        sb = sub[3 * p + 1]
        for _ in range(_span(first[3 * p + 1], side, order)):
            sc = sub[3 * p + 2]
            for _ in range(_span(first[3 * p + 2], side, order)):
                rank = owner[u64(i32(i32(sa * n_side + sb) * n_side + sc))]
                new = rank != NOBODY
                for i in range(n):
                    new &= found[i] != rank
                if new:
                    found[n] = rank
                    n += 1
                sc = i32(sc + 1 if sc + 1 < n_side else 0)
            sb = i32(sb + 1 if sb + 1 < n_side else 0)
        sa = i32(sa + 1 if sa + 1 < n_side else 0)
    return n


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _address(positions, mesh, order, owner, destination, counts):
    """Set where each particle goes, and count; return the row of the first that cannot be in the box, or -1.

    Neighbours in the file go to one rank, and a counter waits for its last increment: four of each take turns.
    """
    sub, first, fraction = np.empty(3 * BLOCK, i32), np.empty(3 * BLOCK, i32), np.empty(3 * BLOCK, f32)
    found, n_side, last = np.empty(order**3, i32), u64(mesh[1] // mesh[2]), i32(mesh[2] - order)
    for start in range(0, len(positions), BLOCK):
        count = min(BLOCK, len(positions) - start)
        bad = locate(positions, start, count, mesh, order, sub, first, fraction)
        if bad >= 0:
            return bad
        if in_one_subvolume(count, mesh, order, sub, first):
            rank = owner[(u64(sub[0]) * n_side + u64(sub[1])) * n_side + u64(sub[2])]
            destination[start : start + count] = rank
            if rank != NOBODY:
                counts[rank, 0] += count
            continue
        for p in range(count):
            rank = owner[(u64(sub[3 * p]) * n_side + u64(sub[3 * p + 1])) * n_side + u64(sub[3 * p + 2])]
            whole = (first[3 * p] <= last) & (first[3 * p + 1] <= last) & (first[3 * p + 2] <= last)
            destination[start + p] = rank if whole else SEVERAL
        for p in range(count):
            rank = destination[start + p]
            if rank >= 0:
                counts[u64(rank), u64(p & 3)] += 1
            elif rank == SEVERAL:
                n = _owners_of(p, mesh, order, owner, sub, first, found)
                destination[start + p] = SEVERAL if n > 1 else found[0] if n == 1 else NOBODY
                for i in range(n):
                    counts[found[i], 0] += 1
    return -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sort(positions, weights, mesh, order, owner, destination, next_row, sorted_positions, sorted_weights):
    """Put each particle behind the last one of its destination, at ``next_row`` and on."""
    sub, first, fraction = np.empty(3, i32), np.empty(3, i32), np.empty(3, f32)
    found, weighted = np.empty(order**3, i32), len(weights) > 0
    for p in range(len(positions)):
        n = 1
        found[0] = destination[p]
        if found[0] == SEVERAL:
            locate(positions, p, 1, mesh, order, sub, first, fraction)
            n = _owners_of(0, mesh, order, owner, sub, first, found)
        elif found[0] == NOBODY:
            continue
        for i in range(n):
            row = u64(next_row[u64(found[i])])
            next_row[u64(found[i])] += 1
            for axis in range(3):
                sorted_positions[row, axis] = positions[p, axis]
            if weighted:
                sorted_weights[row] = weights[p]


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
        self.mesh, self.owner, self.n_ranks, self.order = mesh, owner, n_ranks, order

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
        counts = np.zeros((self.n_ranks, 4), np.int64)
        bad = _address(positions, self.mesh, self.order, self.owner, destination, counts)
        if bad >= 0:
            raise BadPosition(bad, positions[bad], self.mesh[1] / self.mesh[0])
        return counts.sum(axis=1)

    def sort(
        self,
        particles: tuple[np.ndarray, np.ndarray | None],
        destination: np.ndarray,
        counts: np.ndarray,
        out: tuple[np.ndarray, np.ndarray | None],
    ) -> None:
        """Copy particles, (positions, weights or None), to ``out`` sorted by rank, given what ``address`` said."""
        next_row = np.cumsum(counts) - counts
        weights, out_weights = (np.empty(0, np.float32) if part[1] is None else part[1] for part in (particles, out))
        _sort(particles[0], weights, self.mesh, self.order, self.owner, destination, next_row, out[0], out_weights)
