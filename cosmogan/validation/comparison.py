"""Define what is compared: sets of volumes from anywhere, and how they are measured."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cosmogan import shards
from cosmogan.config import Experiment, Validate
from cosmogan.nbody.decompose import morton
from cosmogan.training import subvolumes
from hpc.files import read_json

ROUNDING = 1e-5  # ρ/ρ̄ this little below 0 is 0


class VolumeSource(Protocol):
    """Volumes that can be read by their rows: a folder of shards, or a file of someone else's."""

    path: Path
    geometry: shards.Geometry
    checksum: str

    def __len__(self) -> int:
        """Return the number of volumes."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read volumes, (rows, m, m, m) float32, in units of the mean density."""


class SimulatedVolumes(VolumeSource, Protocol):
    """Volumes of simulated boxes."""

    @property
    def simulations(self) -> np.ndarray:
        """The simulation of each row, (n,) int."""


@dataclass(frozen=True)
class Volumes:
    """Some rows of a source."""

    source: VolumeSource
    rows: np.ndarray  # (n,)
    boxes: np.ndarray  # (n,) the simulation of each, one number for all that are independent
    hint: str = ""  # what to do about negative densities

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def morton_index(self) -> np.ndarray | None:
        """The place of each volume on a curve that fills its box, (n,); None: not known."""
        if not isinstance(self.source, shards.Folder) or self.source.kind != "simulated":
            return None
        return morton(self.corners // self.source.geometry.subvolume)

    @property
    def corners(self) -> np.ndarray:
        """The first cell of each volume in its box, (n, 3); of a folder of shards alone."""
        assert isinstance(self.source, shards.Folder)
        return self.source.corners[self.rows]

    def picked(self, which: np.ndarray | slice) -> "Volumes":
        """Return some of the volumes, in the order that is asked for."""
        return dataclasses.replace(self, rows=self.rows[which], boxes=self.boxes[which])

    def read(self, which: np.ndarray | slice) -> np.ndarray:
        """Read some of the volumes, (n, m, m, m) float32.

        Raises
        ------
        ValueError
            when a density is negative, infinite or no number: names the file, the row and the value.
        """
        rows = self.rows[which]
        density = self.source.read(rows)
        density[(density < 0) & (density > -ROUNDING)] = 0  # an empty cell, of which someone kept δ in float32
        if not (density.min() >= 0 and density.max() < np.inf):  # false for NaN too
            bad = ~((density >= 0) & (density < np.inf))
            first = np.argmax(bad.reshape(len(bad), -1).any(axis=1))
            value = density[first][bad[first]][0]
            hint = self.hint if -np.inf < value < 0 else ""
            raise ValueError(
                f"{self.source.path}: volume {rows[first]}: found a density of {value:g} ({bad[first].sum()} of "
                f"{bad[first].size} cells), expected ρ/ρ̄ ≥ 0{hint}"
            )
        return density


@dataclass(frozen=True)
class Comparison:
    """Generated volumes and the real ones that they are measured against."""

    name: str
    nbody: Volumes
    generated: Volumes
    training: Volumes | None
    settings: Validate
    kappa: float
    h: float
    warnings: tuple[str, ...] = ()
    beside: dict[str, Volumes] = dataclasses.field(default_factory=dict)  # more generated sets: name → volumes

    @property
    def measured(self) -> dict[str, Volumes]:
        """All sets whose statistics are kept, by their names in the file of statistics."""
        training = {} if self.training is None else {"training": self.training}
        return {**self.sets, **self.beside, **training}

    @property
    def sets(self) -> dict[str, Volumes]:
        """The two sets, by their names in the file of statistics."""
        return {"nbody": self.nbody, "generated": self.generated}

    @property
    def originals(self) -> tuple[str, Volumes]:
        """The volumes of which generated ones could be copies: the training set's, or else the real ones there are."""
        return ("nbody", self.nbody) if self.training is None else ("training", self.training)

    @property
    def geometry(self) -> shards.Geometry:
        """The geometry of the volumes, the same in both sets."""
        return self.nbody.source.geometry

    @property
    def recipe(self) -> dict[str, Any]:
        """All that the values of the samples depend on, as plain data."""
        files = {
            name: _of(volumes) for name, volumes in {**self.sets, **self.beside, "originals": self.originals[1]}.items()
        }
        return {"validate": dataclasses.asdict(self.settings), "kappa": self.kappa, "h": self.h, **files}


def _of(volumes: Volumes) -> dict[str, Any]:
    numbers = np.unique(volumes.boxes)
    redshift = volumes.source.geometry.redshift
    origin = {"redshift": None if math.isnan(redshift) else redshift, "boxes": [int(number) for number in numbers]}
    return {"sha256": volumes.source.checksum, "n": len(volumes), **origin, **getattr(volumes.source, "read_as", {})}


def of_experiment(experiment: Experiment) -> Comparison:
    """Compare an experiment's samples with its held-out simulations.

    Raises
    ------
    ValueError
        when a set is missing, or the two are of different geometry.
    """
    simulated, generated = subvolumes.open_compared(experiment)
    check_same_geometry(simulated, generated)
    held_out = list(experiment.held_out)
    if not np.isin(held_out, simulated.simulations).all() or not held_out:
        raise ValueError(
            f"{simulated.path}: held_out: expected some of the simulations "
            f"{np.unique(simulated.simulations).tolist()}, found {held_out}"
        )
    trained_on = experiment.trained_on(simulated.simulations.tolist())
    nbody, drawn = of_rows(simulated, simulated.rows_of(held_out)), independent(generated)
    if experiment.input.is_used:  # the first draw of each: others of the same input are alike
        drawn = drawn.picked(slice(len(nbody)))
    return Comparison(
        experiment.name,
        nbody,
        drawn,
        of_rows(simulated, simulated.rows_of(trained_on)) if trained_on else None,
        experiment.validate,
        subvolumes.kappa_at(experiment.model, simulated.geometry.redshift),
        experiment.cosmology.h,
        tuple(_seen_in_training(experiment)),
    )


def of_rows(folder: SimulatedVolumes, rows: np.ndarray) -> Volumes:
    """Return volumes of a folder of simulated ones, which know the boxes that they are of."""
    return Volumes(folder, rows, folder.simulations[rows])


def independent(source: VolumeSource, hint: str = "") -> Volumes:
    """Return all of a source's volumes, none of which knows of another."""
    return Volumes(source, np.arange(len(source)), np.zeros(len(source), int), hint)


def _seen_in_training(experiment: Experiment) -> list[str]:
    """Return a line when the released generator was trained on what is held out here."""
    path = experiment.generator_path.with_suffix(".json")
    if not path.exists():
        return []
    theirs = read_json(path).get("config", {})
    if theirs.get("data", None) != experiment.data or theirs.get("output") != experiment.output:
        return []
    seen = sorted(set(experiment.held_out) - set(theirs.get("held_out", experiment.held_out)))
    if not seen:
        return []
    return [f"the generator was trained on simulations {seen}, which are held out here: it may have memorised them"]


def check_same_geometry(first: VolumeSource, second: VolumeSource) -> None:
    """Raise a ValueError that names both sources when their volumes cannot be compared; NaN: not known."""
    for name in ("cell_size", "subvolume", "mean_cell_mass", "redshift"):
        values = [getattr(source.geometry, name) for source in (first, second)]
        if not any(map(math.isnan, values)) and not math.isclose(*values, rel_tol=1e-6, abs_tol=1e-9):
            raise ValueError(
                f"{second.path}: expected the {name} of {first.path}, {values[0]:g}, found {values[1]:g}; "
                "these are not subvolumes of one kind"
            )
