"""Add baselines to a comparison: mapped Gaussian mocks, and the generator as trained."""

import dataclasses
import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from cosmogan import load_generator, shards
from cosmogan.config import Experiment
from cosmogan.training import subvolumes
from cosmogan.validation import comparison
from cosmogan.validation.comparison import Comparison, Volumes
from hpc.files import read_json

if TYPE_CHECKING:
    from cosmogan.gan.released import Released
    from cosmogan.validation.mock_boxes import MockBoxes

MAPPED_BY = 256  # training volumes, at most, that say what quick simulations are mapped to
N_BOXES = 4  # of the training set, whose P(k) is measured


def compared(experiment: Experiment) -> Comparison:
    """Return all sets that an experiment's `validate` compares; see `comparison.of_experiment`."""
    sets = comparison.of_experiment(experiment)
    mocks = None if experiment.model.condition else _mocks(sets)
    beside = {"mocks": mocks, "as_trained": _as_trained(experiment, sets), "mapped_input": _mapped(experiment, sets)}
    return dataclasses.replace(sets, beside={name: some for name, some in beside.items() if some is not None})


def _mocks(sets: Comparison) -> Volumes | None:
    """Return as many mocks as there are held-out volumes; None where no whole training box is there."""
    if sets.training is None:
        return None
    source = Mocks(sets.training, sets.settings.seed, len(sets.nbody), sets.settings.device)
    if not source.whole_boxes:
        return None
    rows = np.arange(len(source))
    return Volumes(source, rows, rows // source.per_box)


class Mocks:
    """Mapped Gaussian mocks with a training set's P(k) and voxel PDF, cut from boxes of its size as N-body is.

    Parameters
    ----------
    training : the set
    seed : of the boxes
    n : mocks
    device : ``validate.device``
    """

    def __init__(self, training: Volumes, seed: int, n: int, device: str) -> None:
        self._training, self._seed, self._n, self._wanted = training, seed, n, device
        self.path, self.geometry = training.source.path, training.source.geometry
        made_of = f"mapped Gaussian mocks {training.source.checksum} {np.unique(training.boxes).tolist()} {seed} {n}"
        self.checksum = hashlib.sha256(made_of.encode()).hexdigest()

    def __len__(self) -> int:
        return self._n

    @property
    def per_box(self) -> int:
        """Subvolumes of a box."""
        return (self.geometry.n_mesh // self.geometry.subvolume) ** 3

    @cached_property
    def whole_boxes(self) -> list[int]:
        """The first few training boxes of which no subvolume is missing."""
        geometry = self.geometry
        if not isinstance(self._training.source, shards.Folder) or geometry.n_mesh % geometry.subvolume:
            return []
        corners = self._training.corners
        numbers = np.unique(self._training.boxes)
        counts = [len(np.unique(corners[self._training.boxes == number], axis=0)) for number in numbers]
        return numbers[np.array(counts) == self.per_box][:N_BOXES].tolist()

    @cached_property
    def boxes(self) -> "MockBoxes":
        """The boxes from which mocks are cut."""
        from cosmogan.validation.mock_boxes import MockBoxes  # imports torch

        return MockBoxes(self._training, self.whole_boxes, self._seed, self._wanted)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Draw mocks, (rows, m, m, m) float32; those of one box should be asked for one after another."""
        return self.boxes.read(rows)


def _mapped(experiment: Experiment, sets: Comparison) -> Volumes | None:
    """Return the held-out volumes of the quick simulations, mapped; None where the generator starts from none."""
    if not experiment.input.is_used or sets.training is None:
        return None
    source = MappedInput(subvolumes.open_shards(experiment.quick), sets.training)
    return comparison.of_rows(source, source.rows_of(sets.nbody))


class MappedInput:
    """Volumes of quick simulations, with a monotone map of the density that gives them a training set's PDF.

    Parameters
    ----------
    folder : of the quick simulations
    training : the set
    """

    def __init__(self, folder: shards.Folder, training: Volumes) -> None:
        self._folder, self._training = folder, training
        self.path, self.geometry, self.simulations = folder.path, folder.geometry, folder.simulations
        self.checksum = f"mapped {folder.checksum} {training.source.checksum}"

    def __len__(self) -> int:
        return len(self._folder)

    def rows_of(self, volumes: Volumes) -> np.ndarray:
        """Return the rows of the quick simulations that belong to some volumes of the simulations themselves."""
        places = map(tuple, np.column_stack([self.simulations, self._folder.corners]).tolist())
        row = {place: i for i, place in enumerate(places)}
        wanted = np.column_stack([volumes.boxes, volumes.corners]).tolist()
        return np.array([row[tuple(place)] for place in wanted])

    @cached_property
    def _map(self) -> tuple[np.ndarray, np.ndarray]:
        """Densities of the quick simulations, and those that take their place."""
        volumes = self._training.picked(slice(None, None, -(-len(self._training) // MAPPED_BY)))
        n_cells = len(volumes) * self.geometry.subvolume**3
        levels = np.concatenate([np.linspace(0, 0.99, 1000), 1 - np.geomspace(0.01, 1 / n_cells, 1000)[1:], [1.0]])
        quick = np.quantile(self._folder.read(self.rows_of(volumes)), levels)
        target = np.quantile(volumes.source.read(volumes.rows), levels)
        distinct, first = np.unique(quick, return_index=True)
        return distinct, target[first]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read volumes and map them, (rows, m, m, m) float32."""
        return np.interp(self._folder.read(rows), *self._map).astype(np.float32)


def _as_trained(experiment: Experiment, sets: Comparison) -> Volumes | None:
    """Return as many samples as there are held-out volumes, drawn without calibration; None where there is none."""
    path = experiment.drawn_from
    if (
        experiment.model.condition
        or experiment.input.is_used
        or not (path.exists() and path.with_suffix(".json").exists())
    ):
        return None
    settings = read_json(path.with_suffix(".json"))
    if not settings.get("calibration", {}).get("kept"):
        return None
    geometry = sets.generated.source.geometry
    source = AsTrained(path, settings["sha256"], experiment.sample.seed, len(sets.nbody), geometry)
    return comparison.independent(source)


class AsTrained:
    """Samples of a calibrated generator without its calibration.

    Parameters
    ----------
    path, sha256 : of the generator
    seed : of the samples
    n : how many
    geometry : of its subvolumes
    """

    def __init__(self, path: Path, sha256: str, seed: int, n: int, geometry: shards.Geometry) -> None:
        self.path, self._seed, self._n, self.geometry = path, seed, n, geometry
        self.checksum = f"as trained {sha256} {seed}"

    def __len__(self) -> int:
        return self._n

    @cached_property
    def _generator(self) -> "Released":
        return cast("Released", load_generator(self.path)).as_trained()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Draw samples by their numbers, (rows, m, m, m) float32."""
        return self._generator(self._generator.latents(self._seed, np.asarray(rows))).cpu().numpy()
