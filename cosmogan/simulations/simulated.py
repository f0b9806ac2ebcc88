"""Hand on a simulated box at one redshift, as a snapshot file or straight from memory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cosmogan.config import Cosmology, Experiment
from cosmogan.nbody.gadget import CRITICAL_DENSITY
from cosmogan.nbody.particle_file import N_TYPES, Header, ParticleFile
from cosmogan.nbody.snapshot import Snapshot
from cosmogan.simulations import parameters
from cosmogan.simulations.snapshots import Source

HALO = 1  # GADGET-2's particle type for dark matter
UNITS = {"Mpc/h": 1.0, "kpc/h": 1000.0}  # one Mpc/h in the file's length unit


@dataclass(frozen=True)
class Output(ParticleFile):
    """Particles in memory, in the place of the file that they would be in."""

    positions: np.ndarray | None = None  # (n, 3) float32, in the header's unit; None: not made yet

    def read_positions(self, out: np.ndarray, particle_type: int | str, start: int) -> None:
        assert self.positions is not None
        out[:] = self.positions[start : start + len(out)]

    def _read_mass_rows(self, out: np.ndarray, kind: int, row: int) -> None:
        raise AssertionError("all masses are in the header")

    def where(self, row: int, particle_type: int | str) -> str:
        return f"{self.path}: particle {row}"


@dataclass(frozen=True)
class SimulatedBox:
    """A box of an experiment's simulations: its cosmology, its files, and how its particles are handed on."""

    experiment: Experiment
    number: int

    @cached_property
    def cosmology(self) -> Cosmology:
        """The box's own cosmology."""
        return parameters.box_cosmology(self.experiment, self.number)

    @property
    def folder(self) -> Path:
        """The folder of its snapshots, and of GADGET-2's input for them."""
        return self.experiment.simulations_folder / f"box-{self.number:03d}"

    def path(self, output: int) -> Path:
        """Return the file of the box at a redshift, by number."""
        return self.folder / f"snapshot_{output:03d}"

    def header(self, redshift: float) -> Header:
        """Return the header of a snapshot: all particles are of one type and in one file."""
        settings, cosmos = self.experiment.simulate, self.cosmology
        n = settings.n_particles**3
        mass = CRITICAL_DENSITY * cosmos.omega_m * settings.box_size**3 / n
        counts = tuple(n if kind == HALO else 0 for kind in range(N_TYPES))
        return Header(
            n_part=counts,
            mass_table=tuple(mass if count else 0.0 for count in counts),
            redshift=redshift,
            box_size=settings.box_size * UNITS[self.experiment.preprocess.length_unit],
            omega_m=cosmos.omega_m,
            omega_lambda=1 - cosmos.omega_m,
            h=cosmos.h,
            n_total=counts,
            n_files=1,
        )

    def source(self, output: int, positions: np.ndarray | None = None) -> Source:
        """Return the particles at a redshift as `preprocess` takes them.

        Parameters
        ----------
        output : number of the redshift, from 0
        positions : (n, 3) float32, in the unit of the header
        """
        header = self.header(self.experiment.simulate.redshifts[output])
        file = Output(self.path(output), header, np.dtype(np.float32), positions)
        numbered = output if "redshift" in self.experiment.model.condition else None
        return Source(self.number, numbered, Snapshot((file,), self.experiment.preprocess.particle_type))


def is_there(path: Path) -> bool:
    """Say whether a snapshot is there, in one file or in several."""
    return path.exists() or path.with_name(f"{path.name}.0").exists()


def sources(experiment: Experiment) -> tuple[Source, ...]:
    """Return all that `preprocess` takes of the simulations, without particles."""
    boxes = [SimulatedBox(experiment, number) for number in range(experiment.simulate.n_simulations)]
    return tuple(box.source(output) for box in boxes for output in experiment.gridded_outputs)
