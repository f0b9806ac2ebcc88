"""Add baselines to a comparison: mapped Gaussian mocks, and the generator as trained."""

import dataclasses
import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.validation import comparison
from cosmogan.validation.comparison import Comparison, Volumes
from hpc.rundir import read_json

N_BOXES = 4  # of the training set, whose P(k) is measured
N_VOLUMES = 64  # of the training set, whose densities are sorted


def compared(experiment: Experiment) -> Comparison:
    """Return what an experiment's `validate` compares, all sets included; see `comparison.of_experiment`."""
    found = comparison.of_experiment(experiment)
    beside = {"mocks": _mocks(experiment, found), "as_trained": _as_trained(experiment, found)}
    return dataclasses.replace(found, beside={name: some for name, some in beside.items() if some is not None})


def _mocks(experiment: Experiment, found: Comparison) -> Volumes | None:
    """Return as many mocks as there are held-out volumes; None where no whole training box is there."""
    if found.training is None or experiment.model.condition:
        return None
    source = Mocks(found.training, found.settings.seed, len(found.nbody), found.settings.device)
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
        self._box: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return self._n

    @property
    def per_box(self) -> int:
        """Subvolumes of a box."""
        return (self.geometry.n_mesh // self.geometry.subvolume) ** 3

    @cached_property
    def whole_boxes(self) -> list[int]:
        """The first few training boxes of which no subvolume is missing."""
        source, geometry = self._training.source, self.geometry
        if not isinstance(source, shards.Folder) or geometry.n_mesh % geometry.subvolume:
            return []
        corners = source.corners[self._training.rows]
        numbers = np.unique(self._training.boxes)
        counts = [len(np.unique(corners[self._training.boxes == number], axis=0)) for number in numbers]
        return numbers[np.array(counts) == self.per_box][:N_BOXES].tolist()

    @cached_property
    def recipe(self) -> Any:
        """The Gaussian spectrum and the map, solved for on every process alike."""
        import torch

        from cosmogan.statistics import mocks

        torch.set_num_threads(1)  # a transform's rounding depends on the threads it is cut into
        on_gpu = self._wanted in ("auto", "cuda") and torch.cuda.is_available()
        device = torch.device("cuda" if on_gpu else "cpu")
        spectra = [mocks.shell_power(torch.from_numpy(self._assembled(box)).to(device)) for box in self.whole_boxes]
        chosen = np.unique(np.linspace(0, len(self._training) - 1, N_VOLUMES).astype(int))
        densities = torch.from_numpy(np.sort(self._training.read(chosen), axis=None)).to(device)
        power = np.mean([spectrum[1] for spectrum in spectra], axis=0)
        return mocks.solve(spectra[0][0], power, densities, self.geometry.n_mesh, self._seed)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Draw mocks, (rows, m, m, m) float32; those of one box should be asked for one after another."""
        import torch

        from cosmogan.statistics import mocks

        torch.set_num_threads(1)
        n, m = self.geometry.n_mesh, self.geometry.subvolume
        out = np.empty((len(rows), m, m, m), np.float32)
        for place, row in enumerate(rows):
            number, part = divmod(int(row), self.per_box)
            if self._box[0] != number:
                self._box = number, mocks.draw(self.recipe, n, self._seed, number).cpu().numpy()
            x, y, z = (m * i for i in np.unravel_index(part, (n // m,) * 3))
            out[place] = self._box[1][x : x + m, y : y + m, z : z + m]
        return out

    def _assembled(self, box: int) -> np.ndarray:
        """Return a whole training box, (n, n, n)."""
        rows = np.flatnonzero(self._training.boxes == box)
        n, m = self.geometry.n_mesh, self.geometry.subvolume
        corners = self._training.source.corners[self._training.rows[rows]]
        whole = np.empty((n, n, n), np.float32)
        for start in range(0, len(rows), N_VOLUMES):
            part = slice(start, start + N_VOLUMES)
            for (x, y, z), volume in zip(corners[part], self._training.read(rows[part]), strict=True):
                whole[x : x + m, y : y + m, z : z + m] = volume
        return whole


def _as_trained(experiment: Experiment, found: Comparison) -> Volumes | None:
    """Return as many samples as there are held-out volumes, drawn without calibration; None where there is none."""
    path = experiment.drawn_from
    if experiment.model.condition or not (path.exists() and path.with_suffix(".json").exists()):
        return None
    settings = read_json(path.with_suffix(".json"))
    if not settings.get("calibration", {}).get("kept"):
        return None
    geometry = found.generated.source.geometry
    source = AsTrained(path, settings["sha256"], experiment.sample.seed, len(found.nbody), geometry)
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
    def _generator(self) -> Any:
        from cosmogan.gan import released

        return released.load(self.path).as_trained()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Draw samples by their numbers, (rows, m, m, m) float32."""
        return self._generator.volumes(self._generator.latents(self._seed, np.asarray(rows))).cpu().numpy()
