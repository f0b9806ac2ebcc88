"""Hand on a simulated box at one redshift, as a snapshot file or straight from memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmogan.config import Experiment
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


def header(experiment: Experiment, number: int, redshift: float) -> Header:
    """Return the header of a box's snapshot: all particles are of one type and in one file."""
    settings, cosmos = experiment.simulate, parameters.box_cosmology(experiment, number)
    n = settings.n_particles**3
    mass = CRITICAL_DENSITY * cosmos.omega_m * settings.box_size**3 / n
    counts = tuple(n if kind == HALO else 0 for kind in range(N_TYPES))
    return Header(
        n_part=counts,
        mass_table=tuple(mass if count else 0.0 for count in counts),
        redshift=redshift,
        box_size=settings.box_size * UNITS[experiment.preprocess.length_unit],
        omega_m=cosmos.omega_m,
        omega_lambda=1 - cosmos.omega_m,
        h=cosmos.h,
        n_total=counts,
        n_files=1,
    )


def path(experiment: Experiment, number: int, output: int) -> Path:
    """Return the file of one box at one redshift."""
    return experiment.simulations_folder / f"box-{number:03d}" / f"snapshot_{output:03d}"


def is_there(path: Path) -> bool:
    """Say whether a snapshot is there, in one file or in several."""
    return path.exists() or path.with_name(f"{path.name}.0").exists()


def source(experiment: Experiment, number: int, output: int, positions: np.ndarray | None = None) -> Source:
    """Return a box's particles at one redshift as `preprocess` takes them.

    Parameters
    ----------
    number, output : of the box and the redshift, from 0
    positions : (n, 3) float32, in the unit of the header
    """
    made = header(experiment, number, experiment.simulate.redshifts[output])
    file = Output(path(experiment, number, output), made, np.dtype(np.float32), positions)
    numbered = output if "redshift" in experiment.model.condition else None
    return Source(number, numbered, Snapshot((file,), experiment.preprocess.particle_type))


def sources(experiment: Experiment) -> tuple[Source, ...]:
    """Return all that `preprocess` takes of the simulations, without particles."""
    boxes = range(experiment.simulate.n_simulations)
    return tuple(source(experiment, number, output) for number in boxes for output in experiment.gridded_outputs)
