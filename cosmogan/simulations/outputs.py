"""Keep what a simulation puts out, in files and in shards: which of it is missing, and how it is written."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cosmogan.config import Experiment
from cosmogan.nbody import gadget
from cosmogan.simulations import gridding, simulated
from cosmogan.simulations.simulated import SimulatedBox
from hpc import mpi
from hpc.files import whole_file
from hpc.part import Part
from hpc.timing import Timer


class Outputs:
    """All boxes of an experiment at all redshifts, as snapshots of GADGET-2, as shards of subvolumes, or both."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, write = experiment, experiment.simulate.write
        self.files = range(len(experiment.simulate.redshifts) if write != "shards" else 0)
        self.gridded = experiment.gridded_outputs if write != "snapshots" else range(0)
        if self.gridded:
            sources = simulated.sources(experiment)
            self.receipt = gridding.receipt(experiment, sources, 1)
            self.shards = gridding.plan(experiment, sources, self.receipt.recipe["shards"])

    def missing(self, number: int) -> list[int]:
        """Return the redshifts, by number, of which something is missing of a box."""
        return sorted({output for output, path in self._paths(number) if not path.is_file()})

    def boxes_missing(self) -> list[int]:
        """Return the numbers of the boxes of which anything is missing."""
        return [number for number in range(self.experiment.simulate.n_simulations) if self.missing(number)]

    def anything(self) -> bool:
        """Say whether anything is there, of any box."""
        boxes = range(self.experiment.simulate.n_simulations)
        return any(path.is_file() for number in boxes for _, path in self._paths(number))

    def _paths(self, number: int) -> Iterator[tuple[int, Path]]:
        """Yield all files and shards of a box, each with its redshift, by number."""
        for output in self.files:
            yield output, SimulatedBox(self.experiment, number).path(output)
        for output in self.gridded:
            source = SimulatedBox(self.experiment, number).source(output)
            for shard in range(self.shards.n_shards):
                yield output, self.shards.path(source, shard)

    def begin(self, boxes: list[int], part: Part | None) -> None:
        """Make ready to write some boxes, or refuse."""
        if self.gridded:
            sources = tuple(source for source in self.shards.sources if source.simulation in boxes)
            gridding.prepare(dataclasses.replace(self.shards, sources=sources), self.receipt, 1, part)

    def lacks_snapshot(self, box: SimulatedBox, output: int) -> bool:
        """Say whether the snapshot of a box at a redshift is wanted and not there."""
        return output in self.files and not box.path(output).is_file()

    def write_snapshot(self, box: SimulatedBox, output: int, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Write the particles of a box at a redshift as a snapshot of GADGET-2.

        Parameters
        ----------
        positions : (n, 3) float32, in [0, L), in the experiment's length unit
        velocities : (n, 3) float32, v_peculiar / sqrt(a) [km/s]
        """
        header = box.header(self.experiment.simulate.redshifts[output])
        with whole_file(box.path(output)) as temporary:
            gadget.write(temporary, positions, velocities, np.arange(1, len(positions) + 1, dtype=np.uint32), header)

    def write_shards(self, box: SimulatedBox, output: int, positions: np.ndarray) -> None:
        """Write the shards of a box at a redshift that are wanted and not there, from positions as for a snapshot."""
        source = box.source(output, positions)
        if output in self.gridded and self.shards.missing(source):
            gridding.write(self.shards, source, mpi.SerialComm(), Timer())
