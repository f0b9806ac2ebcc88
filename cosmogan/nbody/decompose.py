"""Ownership by subvolume: which subvolumes a particle's cloud touches, and sorting particles by them."""

from dataclasses import dataclass

import numba
import numpy as np


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


@numba.njit(cache=True, nogil=True)
def _touched(position, cells_per_length, n_mesh, subvolume, low, high):
    """Set the lowest and highest subvolume along each axis; False when the position is not a number or far outside."""
    for axis in range(3):
        u = position[axis] * cells_per_length
        if not (-n_mesh <= u <= 2 * n_mesh):
            return False
        cell = int(np.floor(u)) % n_mesh
        low[axis] = cell // subvolume
        high[axis] = (cell + 1 if cell + 1 < n_mesh else 0) // subvolume
    return True


@numba.njit(cache=True, nogil=True)
def _route(positions, weights, cells_per_length, n_mesh, subvolume, slots, counts):
    """Count, then place: a counting sort of particles by slot, each particle once for every slot it touches."""
    n_side = n_mesh // subvolume
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for p in range(positions.shape[0]):
        if not _touched(positions[p], cells_per_length, n_mesh, subvolume, low, high):
            return p, positions[:0], weights[:0]
        for a in range(1 + (low[0] != high[0])):
            for b in range(1 + (low[1] != high[1])):
                for c in range(1 + (low[2] != high[2])):
                    number = ((high[0] if a else low[0]) * n_side + (high[1] if b else low[1])) * n_side + (
                        high[2] if c else low[2]
                    )
                    if slots[number] >= 0:
                        counts[slots[number]] += 1
    place = np.zeros(counts.shape[0], np.int64)
    for s in range(1, counts.shape[0]):
        place[s] = place[s - 1] + counts[s - 1]
    total = counts.sum()
    sorted_positions = np.empty((total, 3), positions.dtype)
    sorted_weights = np.empty(total if weights.shape[0] > 0 else 0, weights.dtype)
    for p in range(positions.shape[0]):
        _touched(positions[p], cells_per_length, n_mesh, subvolume, low, high)
        for a in range(1 + (low[0] != high[0])):
            for b in range(1 + (low[1] != high[1])):
                for c in range(1 + (low[2] != high[2])):
                    number = ((high[0] if a else low[0]) * n_side + (high[1] if b else low[1])) * n_side + (
                        high[2] if c else low[2]
                    )
                    slot = slots[number]
                    if slot >= 0:
                        q = place[slot]
                        for axis in range(3):
                            sorted_positions[q, axis] = positions[p, axis]
                        if weights.shape[0] > 0:
                            sorted_weights[q] = weights[p]
                        place[slot] += 1
    return -1, sorted_positions, sorted_weights


def route(
    positions: np.ndarray, weights: np.ndarray | None, box_size: float, layout: Layout, slots: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Sort particles by the subvolumes that their CIC clouds touch, keeping their order within each.

    Parameters
    ----------
    positions : (n, 3) float32 or float64
    weights : (n,) float32, or None
    box_size : in the positions' unit
    layout : the mesh and its subvolumes
    slots : (n_subvolumes,) int64, each subvolume's place in the output; -1 for one that nobody wants

    Returns
    -------
    positions : (m, 3), a particle once for each wanted subvolume that it touches
    weights : (m,) or None
    counts : (number of slots,) int64

    Raises
    ------
    ValueError
        for a position that is not a number, or more than a box length outside the box: says which row.
    """
    counts = np.zeros(int(slots.max(initial=-1)) + 1, np.int64)
    given = np.empty(0, np.float32) if weights is None else weights
    bad, sorted_positions, sorted_weights = _route(
        positions, given, layout.n_mesh / box_size, layout.n_mesh, layout.subvolume, slots, counts
    )
    if bad >= 0:
        found = ", ".join(f"{x:g}" for x in positions[bad])
        raise BadPosition(int(bad), f"position ({found}): expected numbers within one box length of 0 to {box_size:g}")
    return sorted_positions, None if weights is None else sorted_weights, counts


class BadPosition(ValueError):
    """A particle that cannot be in the box; ``row`` says which of those given."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row
