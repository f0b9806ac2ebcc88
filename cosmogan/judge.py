"""What `select` judges a generator by: the statistics of its samples beside those of the training set."""

import dataclasses
from typing import Any

import numpy as np
import torch

from cosmogan import shards, train
from cosmogan.config import Experiment
from cosmogan.gan import networks, released, scaling, scoring, session
from cosmogan.statistics import fourier, pdf, power
from hpc import mpi
from hpc.distributed import Processes
from hpc.rundir import provenance

REFERENCE_ROWS = 2048  # of the training set are measured, at most
SEED = 0  # of the latents by which all candidates are compared
BATCH = 32


class Judge:
    """Scores this experiment's generators against its training set.

    Parameters
    ----------
    experiment : with finished training
    comm : its ranks measure the training set together
    """

    def __init__(self, experiment: Experiment, comm: mpi.Comm) -> None:
        self.experiment, self.settings = experiment, experiment.select
        self.device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
        if comm.size > 1:
            torch.set_num_threads(1)  # one rank a core
        self.folder = shards.open_one(experiment.shards_folder, experiment.redshift)
        self.geometry = self.folder.geometry
        self._network = networks.generator(experiment.model, self.geometry.subvolume, group=1)
        rows = train.training_rows(experiment, self.folder)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), REFERENCE_ROWS)).astype(int)]
        mine = np.array_split(rows, comm.size)[comm.rank]
        densities = [torch.from_numpy(self.folder.read(rows)) for rows in _batches(mine)]
        densest = max(comm.allgather(max((float(batch.max()) for batch in densities), default=0.0)))
        self._bound = {"max_density": densest} if self.settings.bound_density else {}
        parts = [self._measure(batch) for batch in densities]
        self.target = scoring.Summary.join([part for parts in comm.allgather(parts) for part in parts])

    def score(self, candidate: dict[str, Any], latent_scale: float, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples of a candidate."""
        generator = self._load(candidate, latent_scale)
        batches = _batches(np.arange(n))
        parts = [self._measure(generator.draw(SEED, int(batch[0]), len(batch))) for batch in batches]
        return scoring.compare(scoring.Summary.join(parts), self.target)

    def release(self, candidate: dict[str, Any], latent_scale: float) -> None:
        """Write the released generator and its settings."""
        generator = self._load(candidate, latent_scale)
        settings = {
            **generator.settings,
            **candidate,
            "config": self.experiment.section("cosmology", "model", "train", "select"),
            "data": self.folder.checksum,
            "versions": provenance(),
        }
        released.write(self.experiment.generator_path, generator.network, settings)

    def _load(self, candidate: dict[str, Any], latent_scale: float) -> released.Released:
        path = session.generator_path(self.experiment.train_folder / "generators", candidate["epoch"], candidate["ema"])
        released.fill(self._network, path)
        model = {**dataclasses.asdict(self.experiment.model), "subvolume": self.geometry.subvolume}
        settings = {"model": model, "geometry": dataclasses.asdict(self.geometry), "latent_scale": latent_scale}
        settings |= self._bound
        return released.Released(settings, self._network.to(self.device), self.device)

    def _measure(self, density: torch.Tensor) -> scoring.Summary:
        """Return the summary of (n, m, m, m) densities, their power up to the Nyquist wavenumber."""
        size = self.geometry.subvolume_size
        spectra = power.power_spectrum(density, size)
        resolved = spectra.k <= fourier.k_nyquist(size, self.geometry.subvolume)
        scaled = scaling.scale(density, self.experiment.model.kappa)
        return scoring.Summary(
            spectra.power[:, resolved], pdf.voxel_pdf(scaled, pdf.scaled_edges()), pdf.mean_density(density)
        )


def _batches(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
