"""From snapshot files to painted subvolumes: rounds of reading, exchange and painting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmogan.nbody import gadget
from cosmogan.nbody.decompose import BadPosition, Layout, route
from cosmogan.nbody.paint import paint


@dataclass(frozen=True)
class Snapshot:
    """A checked snapshot and the particles of it that count."""

    files: tuple[gadget.SnapshotFile, ...]
    particle_type: int | str
    box_size: float  # in the files' unit

    @property
    def n_particles(self) -> int:
        """Chosen particles in all files."""
        return sum(len(file.rows(self.particle_type)) for file in self.files)

    @property
    def particle_mass(self) -> float | None:
        """The mass that all chosen particles share [1e10 Msun/h], None when they differ."""
        header = self.files[0].header
        found = {
            file.header.mass_table[t]
            for file in self.files
            for t in file.types(self.particle_type)
            if file.header.n_part[t] > 0
        }
        return header.mass_table[header.mass_table.index(found.pop())] if len(found) == 1 and 0.0 not in found else None

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Read chosen particles, numbered over all files: positions (n, 3), and masses (n,) when they differ."""
        parts, masses = [], []
        for file, low, high in self._pieces(start, stop):
            parts.append(file.positions(low, high))
            if self.particle_mass is None:
                masses.append(file.masses(low, high))
        positions = np.concatenate(parts) if parts else np.empty((0, 3), self.files[0].position_dtype.newbyteorder("="))
        if self.particle_mass is not None:
            return positions, None
        return positions, np.concatenate(masses) if masses else np.empty(0, np.float32)

    def where(self, row: int) -> str:
        """Say where a chosen particle lies, for an error message."""
        file, low, _ = next(self._pieces(row, row + 1))
        return f"{file.path}: particle {low}"

    def _pieces(self, start: int, stop: int) -> Any:
        first = 0
        for file in self.files:
            rows = file.rows(self.particle_type)
            low, high = max(start, first), min(stop, first + len(rows))
            if low < high:
                yield file, rows.start + low - first, rows.start + high - first
            first += len(rows)


def paint_owned(
    snapshot: Snapshot,
    layout: Layout,
    owned: list[np.ndarray],
    comm: Any,
    memory: float,
    advance: Callable[[int], None] = lambda n: None,
) -> tuple[np.ndarray, float]:
    """Paint this rank's subvolumes of a snapshot.

    Each round the ranks read consecutive rows, in rank order, and send each particle to the owners of the
    subvolumes that its cloud touches. So a subvolume sees its particles in file order whatever the number of ranks,
    and comes out the same, bit for bit.

    Parameters
    ----------
    snapshot, layout : what to paint, on which mesh
    owned : for each rank, the numbers of the subvolumes that it owns
    comm : communicator
    memory : bytes a rank for the particles that it reads in one round, with their sorted and received copies
    advance : told the number of particles painted, over all ranks, after each round

    Returns
    -------
    density : (n_owned, m, m, m) float32, in units of the mean density
    mass : of all chosen particles [1e10 Msun/h]
    """
    slots = np.full(layout.n_subvolumes, -1, np.int64)
    everyone = np.concatenate(owned)
    slots[everyone] = np.arange(len(everyone))
    slots_of_rank = np.array([len(numbers) for numbers in owned], np.int64)
    corners = layout.corners(owned[comm.rank])
    m = layout.subvolume
    density = np.zeros((len(corners), m, m, m), np.float32)
    mass = 0.0
    row_bytes = snapshot.files[0].position_dtype.itemsize * 3 + 4
    rows_per_round = max(int(memory / (3 * row_bytes)), 1) * comm.size
    for start in range(0, snapshot.n_particles, rows_per_round):
        n = min(rows_per_round, snapshot.n_particles - start)
        low, high = start + comm.rank * n // comm.size, start + (comm.rank + 1) * n // comm.size
        positions, masses = snapshot.read(low, high)
        mass += (high - low) * snapshot.particle_mass if masses is None else float(masses.sum(dtype=np.float64))
        try:
            routed = route(positions, masses, snapshot.box_size, layout, slots)
        except BadPosition as error:
            raise ValueError(f"{snapshot.where(low + error.row)}: {error}") from None
        _exchange_and_paint(routed, slots_of_rank, comm, (snapshot.box_size, layout, corners), density)
        advance(n)
    mass = float(f"{comm.allreduce(mass):.10e}")  # rounded: the sum's last bits depend on the number of ranks
    if snapshot.particle_mass is not None:
        mass = snapshot.n_particles * snapshot.particle_mass
    density *= np.float32(layout.n_mesh**3 / (snapshot.n_particles if snapshot.particle_mass is not None else mass))
    return density, mass


def _exchange_and_paint(
    routed: tuple[np.ndarray, np.ndarray | None, np.ndarray],
    slots_of_rank: np.ndarray,
    comm: Any,
    target: tuple[float, Layout, np.ndarray],
    density: np.ndarray,
) -> None:
    positions, masses, slot_counts = routed
    box_size, layout, corners = target
    n_slots = len(corners)
    ends = np.concatenate(([0], np.cumsum(slots_of_rank)))
    padded = np.zeros(int(slots_of_rank.sum()), np.int64)
    padded[: len(slot_counts)] = slot_counts
    row_counts = np.array([padded[ends[r] : ends[r + 1]].sum() for r in range(comm.size)], np.int64)
    counts, _ = comm.alltoallv(padded, slots_of_rank)
    received, _ = comm.alltoallv(positions, row_counts)
    weights = None if masses is None else comm.alltoallv(masses, row_counts)[0]
    segments = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    for slot in range(n_slots):
        for source in range(comm.size):
            part = slice(segments[source * n_slots + slot], segments[source * n_slots + slot + 1])
            if part.start < part.stop:
                weight = None if weights is None else weights[part]
                paint(
                    received[part], layout.n_mesh / box_size, layout.n_mesh, tuple(corners[slot]), density[slot], weight
                )


def compile_kernels() -> None:
    """Compile the kernels and leave them in the cache, or load them from it."""
    for dtype in (np.float32, np.float64):
        nothing = np.zeros((0, 3), dtype)
        route(nothing, None, 1.0, Layout(2, 1), np.zeros(8, np.int64))
        paint(nothing, 2.0, 2, (0, 0, 0), np.zeros((1, 1, 1), np.float32))
