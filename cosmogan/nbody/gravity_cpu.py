"""Compute gravity on a mesh on a CPU: compiled kernels in threads, one array for counts, modes and potential.

Whatever a thread does at once (pencils of the mesh, a block of modes, a piece of the particles) depends on their
numbers alone, and so do the bytes: they are the same on any number of threads.
"""

import numpy as np
import scipy.fft

from cosmogan.nbody import kernels
from cosmogan.nbody.kernels import SIDE
from cosmogan.nbody.transforms import as_field, backward_planes, columns, forward_planes, in_place, in_threads, pieces

PIECE = 1 << 18  # particles that a thread takes at once
MOST_PIECES = 64  # that are counted, for each has numbers of its own for all pencils
NEAR, FAR = 2 / 3, -1 / 12  # weights of the four-point difference, as in _gravity.c


class Field:
    """The mesh of a run, kept from step to step.

    Parameters
    ----------
    n : particles
    n_mesh : cells a side
    box_size : [Mpc/h]
    """

    def __init__(self, n: int, n_mesh: int, box_size: float) -> None:
        self.n_mesh, self.box_size, self.per_length = n_mesh, box_size, n_mesh / box_size
        # of numpy, which asks the system for huge pages: clearing small ones took a third of a step
        self._modes = np.empty((n_mesh, n_mesh, n_mesh // 2 + 1), np.complex64)
        if n >= 2**32:
            raise ValueError(f"simulate.n_particles: expected fewer than 2³² particles on a CPU, found {n}")
        self._order, self._ends = np.empty(n, np.uint32), np.empty(0, np.int64)  # of the particles sorted last

    def sort(self, positions: np.ndarray) -> None:
        """Put the particles' numbers in the order of pencils, rising within."""
        n_side = -(-self.n_mesh // SIDE)
        size = max(PIECE, -(-len(positions) // MOST_PIECES))
        parts = [(positions[start:stop], start) for start, stop in pieces(len(positions), size)]
        counts, mesh = np.zeros((len(parts), n_side**2), np.int64), (self.per_length, as_field(self._modes))
        in_threads(kernels.count, [(part, *mesh, row) for (part, _), row in zip(parts, counts, strict=True)])
        # a piece's first place in a pencil: after all smaller ones, and after the pieces before it
        places = np.ascontiguousarray(np.cumsum(counts.T).reshape(counts.T.shape).T - counts)
        self._ends = np.append(places[0], len(positions))
        calls = [(part, first, mesh, row, self._order) for (part, first), row in zip(parts, places, strict=True)]
        in_threads(kernels.number, calls)

    def paint(self, positions: np.ndarray) -> np.ndarray:
        """Return the CIC particle counts (n_mesh, n_mesh, n_mesh) of positions (n, 3), in this field's memory."""
        self.sort(positions)
        mesh = as_field(self._modes)
        in_threads(lambda start, stop: self._modes[start:stop].fill(0), pieces(self.n_mesh, SIDE))

        def work(start: int) -> None:
            kernels.paint_pencils(positions, self._pencils(start), self.per_length, mesh)

        # The last planes reach into the first: where both are of even number they come alone.
        starts = list(range(0, self.n_mesh, SIDE))
        last = len(starts) - 1
        turns = [2 if i == last and i % 2 == 0 else i % 2 for i in range(len(starts))]
        for turn in range(3):
            in_threads(work, [(start,) for start, its in zip(starts, turns, strict=True) if its == turn])
        return mesh

    def potential(self, positions: np.ndarray) -> np.ndarray:
        """Return φ (n_mesh, n_mesh, n_mesh) of ∇²φ = δ, in (Mpc/h)², in this field's memory."""
        n, n_mesh, modes = len(positions), self.n_mesh, self._modes
        forward_planes(self.paint(positions), modes)
        k = np.fft.fftfreq(n_mesh, 1 / n_mesh).astype(np.float32)
        # The windows of painting and reading, as `gravity.potential` divides by them.
        inverse = (1 / np.sinc(k / n_mesh) ** 4 if n_mesh**3 <= n else np.ones(n_mesh)).astype(np.float32)
        factor = -((self.box_size / (2 * np.pi)) ** 2) * n_mesh**3 / n

        def solve(block: np.ndarray, start: int) -> None:
            in_place(scipy.fft.fft, block, 0)
            kernels.solve(block, start, k**2, inverse, factor)
            in_place(scipy.fft.ifft, block, 0)

        columns(modes, solve)
        return backward_planes(modes)

    def push(self, particles: tuple[np.ndarray, np.ndarray], potential: np.ndarray, factors: np.ndarray) -> None:
        """Kick and move the particles, at the positions that were sorted last, as `kernels.push_pencils` does."""

        def work(start: int) -> None:
            kernels.push_pencils(particles, self._pencils(start), self.per_length, potential, factors)

        in_threads(work, [(start,) for start in range(0, self.n_mesh, SIDE)])

    def _pencils(self, start: int) -> kernels.Pencils:
        """Return the pencils whose first plane is ``start``."""
        n_side = -(-self.n_mesh // SIDE)
        first = start // SIDE * n_side
        return kernels.Pencils(self._order, self._ends[first : first + n_side + 1], start)


def slope(positions: np.ndarray, potential: np.ndarray, box_size: float) -> np.ndarray:
    """Return ∇φ (n, 3) at the positions."""
    field, values = Field(len(positions), potential.shape[0], box_size), np.zeros_like(positions)
    field.sort(positions)
    field.push((positions.copy(), values), potential, np.array((0, -1, 0, np.inf), np.float32))
    return values


def drift(positions: np.ndarray, velocities: np.ndarray, growth: float, box_size: float) -> None:
    """Move particles by their velocities times a step in D, in place."""

    def work(start: int, stop: int) -> None:
        kernels.drift(positions[start:stop], velocities[start:stop], growth, box_size)

    in_threads(work, pieces(len(positions), PIECE))


def kick_and_drift(
    particles: tuple[np.ndarray, np.ndarray], field: Field, kick: tuple[float, float], growth: float
) -> None:
    """Change velocities to kick[0] v + kick[1] g, and move the particles by them times a step in D, in place."""
    potential = field.potential(particles[0])
    field.push(particles, potential, np.array((*kick, growth, field.box_size), np.float32))
