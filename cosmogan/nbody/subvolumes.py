"""Paint subvolumes from snapshot files, in rounds of reading, exchange and painting, in bounded memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cosmogan.nbody.decompose import Layout, Router
from cosmogan.nbody.exact import ExactSum
from cosmogan.nbody.paint import UNIT, BadPosition, Painter, unit_of
from cosmogan.nbody.snapshot import Snapshot
from hpc import mpi
from hpc.timing import Timer

MOVED = 3  # rows sorted and received on a rank, for each row that it reads
SMALLEST_ROUND = 1 << 12  # rows a rank: with fewer, ranks would do little but wait for one another
LARGEST_ROUND = 1 << 22  # with more, a round gains nothing, and touching fresh memory takes time

FEW = 1000  # particles that need not reach the box's ends
MARGIN = 0.1  # of the box: h is a larger difference
ZEROS = 0.01  # of the positions may be (0, 0, 0), exactly: a copy that failed leaves zeros
N_SAMPLED = 1 << 12  # positions of a round, at most, of which the extent is computed

Particles = tuple[np.ndarray, np.ndarray | None]  # positions (n, 3); masses (n,) float32 where they differ


def row_bytes(snapshot: Snapshot) -> int:
    """Return the memory that a round takes on a rank for each row that it reads."""
    particle = 3 * snapshot.position_dtype.itemsize + (4 if snapshot.particle_mass is None else 0)
    return (1 + MOVED) * particle + 4  # and where it goes


class Extent:
    """The range of the particles' positions along each axis of their box.

    Parameters
    ----------
    box_size : in the unit that the positions should have
    """

    def __init__(self, box_size: float) -> None:
        self.box_size = box_size
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)
        self._counts = np.zeros(3, np.int64)  # positions sampled, those outside the box, and those at (0, 0, 0)

    def add(self, positions: np.ndarray) -> None:
        """Extend the range by (n, 3) positions; where they are many, by a sample of them."""
        if len(positions) == 0:
            return
        sample = positions[:: 1 + len(positions) // N_SAMPLED]
        self.low, self.high = np.minimum(self.low, sample.min(axis=0)), np.maximum(self.high, sample.max(axis=0))
        outside = ((sample < 0) | (sample > self.box_size)).any(axis=1)
        self._counts += np.array([len(sample), np.count_nonzero(outside), np.count_nonzero(~sample.any(axis=1))])

    def check(self, path: Path, n: int, comm: mpi.Comm) -> None:
        """Raise ValueError when n positions of all ranks are zeros, or cannot be in the box's unit."""
        low = np.min(comm.allgather(self.low), axis=0)
        high = np.max(comm.allgather(self.high), axis=0)
        n_sampled, outside, zeros = comm.allreduce(self._counts)
        if n < FEW:
            return
        if zeros > ZEROS * n_sampled:
            raise ValueError(
                f"{path}: {100 * zeros / n_sampled:.3g} % of the positions are (0, 0, 0); expected particles all over "
                "the box: was the file written, or copied, to its end?"
            )
        extent = (high - low) / self.box_size
        if extent.min() < 1 - MARGIN or (extent.max() > 1 + MARGIN and 2 * outside > n_sampled):
            axis = int(extent.argmin() if extent.min() < 1 - MARGIN else extent.argmax())
            raise ValueError(
                f"{path}: positions along {'xyz'[axis]} are from {low[axis]:g} to {high[axis]:g} in a box of "
                f"{self.box_size:g}; expected particles all over the box: are the positions and BoxSize in one unit, "
                "both with h or both without?"
            )


class Gridder:
    """Paints the subvolumes that this rank owns of one snapshot.

    In each round the ranks read consecutive rows, in rank order, and send each particle to all owners of subvolumes
    that its cloud touches. Sums are exact, so they are the same, bit for bit, whatever the number of ranks. Where
    masses differ, they are read once before: their sum and the least of them say in what unit cells are summed.

    Parameters
    ----------
    snapshot : what to paint
    layout : the mesh and its subvolumes
    owned : for each rank, the numbers of the subvolumes that it owns
    order : of the window
    comm : communicator
    memory : for this rank's subvolumes and one round [bytes]
    timer : measures how long reading, routing, waiting, exchange and painting take
    """

    def __init__(
        self,
        snapshot: Snapshot,
        layout: Layout,
        owned: list[np.ndarray],
        order: int,
        comm: mpi.Comm,
        memory: float,
        timer: Timer,
    ) -> None:
        self.snapshot, self.order, self.comm, self.timer = snapshot, order, comm, timer
        self.mesh = (layout.n_mesh / snapshot.box_size, layout.n_mesh, layout.subvolume)
        mine = owned[comm.rank]
        self.slots = np.full(layout.n_subvolumes, -1, np.int32)
        self.slots[mine] = np.arange(len(mine))
        owner = np.full(layout.n_subvolumes, -1, np.int32)
        for rank, numbers in enumerate(owned):
            owner[numbers] = rank
        self.router = Router(self.mesh, owner, comm.size, order)
        self.extent = Extent(snapshot.box_size)
        share = -(-snapshot.n_particles // comm.size)
        room = int((memory - 4 * len(mine) * layout.subvolume**3) / row_bytes(snapshot))
        self.rows = -comm.max(-min(max(room, SMALLEST_ROUND), LARGEST_ROUND, share))  # the same on all ranks
        moved = MOVED * self.rows if comm.size > 1 else 0
        self._read, self._moved = self._particles(self.rows), self._particles(moved)
        self._destination = np.empty(self.rows, np.int32)

    def paint(self, advance: Callable[[int], None] = lambda n: None) -> tuple[np.ndarray, float, float]:
        """Paint all particles.

        A round that would not fit the buffers of a rank, because too many of its particles are that rank's, is done in
        halves. One of as many rows as a single rank reads always fits: each rank gets a particle at most once.

        Parameters
        ----------
        advance : called with the number of particles painted, over all ranks, after each round

        Returns
        -------
        density : (n_owned, m, m, m) float32, in units of the mean density
        mass : of all chosen particles [1e10 Msun/h]
        filled : sum of this rank's densities; over all ranks it is the number of cells when the whole box is painted
        """
        n, step = self.snapshot.n_particles, self.rows * self.comm.size
        particle_mass = self.snapshot.particle_mass
        mass, unit = self._weigh() if particle_mass is None else (n * particle_mass, UNIT)
        painter = Painter(self.mesh, self.slots, self.order, unit)
        waiting = [(start, min(start + step, n)) for start in range(0, n, step)][::-1]
        while waiting:
            start, stop = waiting.pop()
            if self._round(start, stop, painter):
                advance(stop - start)
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
        if self.snapshot.particle_type in ("all", 1):  # others need not fill the box
            self.extent.check(self.snapshot.files[0].path, n, self.comm)
        with self.timer("paint"):
            density, filled = painter.density(self.mesh[1] ** 3 / (mass if particle_mass is None else n))
        return density, mass, filled

    def _weigh(self) -> tuple[float, float]:
        """Return the mass of all particles, and the unit that it is summed in; check every mass."""
        n, comm, total, lightest = self.snapshot.n_particles, self.comm, ExactSum(), np.float32(np.inf)
        room = self._read[1]
        assert room is not None  # masses differ
        last = (comm.rank + 1) * n // comm.size
        for start in range(comm.rank * n // comm.size, last, self.rows):
            masses = room[: min(self.rows, last - start)]
            with self.timer("read", masses.nbytes):
                self.snapshot.read_masses(masses, start)
            self._check_masses(masses, start)
            total.add(masses)
            lightest = min(lightest, masses[masses > 0].min(initial=np.inf))
        mass, lightest_of_all = total.total(comm.allreduce), -comm.max(-float(lightest))
        if mass == 0:
            raise ValueError(
                f"{self.snapshot.files[0].path}: the masses of all {n} particles are 0; expected some mass"
            )
        return mass, unit_of(lightest_of_all, mass, n)

    def _round(self, start: int, stop: int, painter: Painter) -> bool:
        """Read, exchange and paint rows; False when that would not fit, and nothing was painted."""
        comm, n = self.comm, stop - start
        low, high = start + comm.rank * n // comm.size, start + (comm.rank + 1) * n // comm.size
        read = _part(self._read, 0, high - low)
        with self.timer("read", _bytes(read)):
            self.snapshot.read_positions(read[0], low)
            self.extent.add(read[0])
            if read[1] is not None:
                self.snapshot.read_masses(read[1], low)
        try:
            arrived = read if comm.size == 1 else self._exchange(read, n)
            if arrived is None:
                return False
            with self.timer("paint", _bytes(arrived)):
                painter.add(*arrived)
        except BadPosition as error:  # several ranks find it before they exchange, one while it paints
            raise ValueError(f"{self.snapshot.where(low + error.row)}: {error}") from None
        return True

    def _check_masses(self, masses: np.ndarray, first: int) -> None:
        bad = np.flatnonzero(~((masses >= 0) & (masses < np.inf)))
        if len(bad):
            where = self.snapshot.where(first + int(bad[0]))
            raise ValueError(f"{where}: mass {masses[bad[0]]:g}: expected a finite number, not below 0")

    def _exchange(self, read: Particles, n: int) -> Particles | None:
        """Return the particles that touch this rank's subvolumes, in file order; None when they do not fit."""
        comm, destination = self.comm, self._destination[: len(read[0])]
        with self.timer("route"):
            sent = self.router.address(read[0], destination)
        with self.timer("wait"):
            received = comm.alltoall(sent)
            n_sent, n_moved = int(sent.sum()), int(sent.sum() + received.sum())
            if comm.max(n_moved) > MOVED * self.rows:
                assert n > self.rows
                return None
        outgoing, incoming = _part(self._moved, 0, n_sent), _part(self._moved, n_sent, n_moved)
        with self.timer("route"):
            self.router.sort(read, destination, sent, outgoing)
        others = n_sent - int(sent[comm.rank])
        messages = int(np.count_nonzero(np.delete(sent, comm.rank)))
        for values, out in zip(outgoing, incoming, strict=True):
            if values is not None and out is not None:
                with self.timer("exchange", others * values[:1].nbytes, messages):
                    comm.alltoallv(values, sent, out, received)
        return incoming

    def _particles(self, n: int) -> Particles:
        masses = np.empty(n, np.float32) if self.snapshot.particle_mass is None else None
        return np.empty((n, 3), self.snapshot.position_dtype), masses


def _part(particles: Particles, start: int, stop: int) -> Particles:
    positions, masses = particles
    return positions[start:stop], None if masses is None else masses[start:stop]


def _bytes(particles: Particles) -> int:
    return sum(values.nbytes for values in particles if values is not None)
