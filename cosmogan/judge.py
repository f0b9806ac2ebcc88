"""What `select` judges a generator by: the statistics of its samples beside those of the training set."""

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import torch

from cosmogan import shards, train
from cosmogan.config import Experiment
from cosmogan.gan import networks, released, scaling, scoring, session
from cosmogan.statistics import bispectra, fourier, pdf, power
from hpc import mpi
from hpc.distributed import Processes
from hpc.rundir import checksum, provenance
from hpc.settings import to_tree

REFERENCE_ROWS = 2048  # of the training set are measured, at most
SEED = 0  # of the latents by which all candidates are compared
BATCH = 32
PAIRS = slice(1, 3)  # of the paper's pairs of sides, those in the score: one on large, one on small scales

Candidate = dict[str, Any]  # ``epoch`` and ``ema``


class Judge:
    """Scores this experiment's generators against its training set.

    Parameters
    ----------
    experiment : with finished training
    comm : its ranks measure the training set together
    """

    def __init__(self, experiment: Experiment, comm: mpi.Comm) -> None:
        self.experiment, self.settings, self._comm = experiment, experiment.select, comm
        self.device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
        if comm.size > 1:
            torch.set_num_threads(1)  # one rank a core
        self.folder = shards.open_one(experiment.shards_folder, experiment.redshift)
        self.geometry = self.folder.geometry
        self._network = networks.generator(experiment.model, self.geometry.subvolume, group=1)
        triangles = bispectra.paper_triangles(self.geometry.subvolume_size, self.geometry.subvolume)
        self._triangles = triangles[PAIRS] if self.settings.bispectrum else []
        rows = train.training_rows(experiment, self.folder)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), REFERENCE_ROWS)).astype(int)]
        parts, densest = [], 0.0
        for batch in _batches(rows)[comm.rank :: comm.size]:
            density = torch.from_numpy(self.folder.read(batch))
            parts.append(self._measure(density))
            densest = max(densest, float(density.max()))
        self.target = self._join(parts)
        self._features = self.target.features()
        self._bound = {"max_density": max(comm.allgather(densest))} if self.settings.bound_density else {}

    def key(self, candidate: Candidate, latent_scale: float, n: int) -> str:
        """Return what stands for all that a score or an amplitude depends on."""
        trained, settings = train.receipt(self.experiment).recipe, self.settings
        what = [trained, settings.bispectrum, settings.bound_density, scoring.WEIGHTS, latent_scale, n]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        return f"{candidate} {checksum(self._path(candidate))} {digest}"

    def score(self, candidate: Candidate, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples of a candidate; this rank's work alone."""
        generator = self._load(candidate, 1.0)
        parts = [self._measure(generator.draw(SEED, int(b[0]), len(b))) for b in _batches(np.arange(n))]
        return scoring.score(scoring.Summary.join(parts), self._features)

    def score_together(self, candidate: Candidate, latent_scale: float, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples at a latent scale, which all ranks draw together."""
        return scoring.score(self._draw_together(candidate, latent_scale, n), self._features)

    def amplitude(self, candidate: Candidate, latent_scale: float, n: int) -> tuple[float, float]:
        """Return ln of the mean power's amplitude over the training set's, and its error; all ranks work together."""
        return scoring.amplitude(self._draw_together(candidate, latent_scale, n).power, self.target.power)

    def release(self, candidate: Candidate, latent_scale: float, about: dict[str, Any]) -> None:
        """Write the released generator with its settings: all that it was made with, and ``about``."""
        generator = self._load(candidate, latent_scale)
        settings = {
            **generator.settings,
            **candidate,
            **about,
            "config": to_tree(self.experiment),
            "data": self.folder.checksum,
            "versions": provenance(),
        }
        released.write(self.experiment.generator_path, generator.network, settings)

    def _path(self, candidate: Candidate) -> Any:
        folder = self.experiment.train_folder / "generators"
        return session.generator_path(folder, candidate["epoch"], candidate["ema"])

    def _load(self, candidate: Candidate, latent_scale: float) -> released.Released:
        released.fill(self._network, self._path(candidate))
        model = {**dataclasses.asdict(self.experiment.model), "subvolume": self.geometry.subvolume}
        settings = {"model": model, "geometry": dataclasses.asdict(self.geometry), "latent_scale": latent_scale}
        settings |= self._bound
        return released.Released(settings, self._network.to(self.device), self.device)

    def _draw_together(self, candidate: Candidate, latent_scale: float, n: int) -> scoring.Summary:
        generator = self._load(candidate, latent_scale)
        mine = _batches(np.arange(n))[self._comm.rank :: self._comm.size]
        return self._join([self._measure(generator.draw(SEED, int(b[0]), len(b))) for b in mine])

    def _join(self, mine: list[scoring.Summary]) -> scoring.Summary:
        """Return the summary of all ranks' batches, dealt out in turn, in their order."""
        return scoring.Summary.join(mpi.gathered_in_turn(mine, self._comm))

    def _measure(self, density: torch.Tensor) -> scoring.Summary:
        """Return the summary of (n, m, m, m) densities, their power up to the Nyquist wavenumber."""
        size = self.geometry.subvolume_size
        spectra = power.power_spectrum(density, size)
        resolved = spectra.k <= fourier.k_nyquist(size, self.geometry.subvolume)
        scaled = scaling.scale(density, self.experiment.model.kappa)
        triples = [bispectra.bispectrum(density, size, triangles).bispectrum for triangles in self._triangles]
        return scoring.Summary(
            spectra.power[:, resolved],
            pdf.voxel_pdf(scaled, pdf.scaled_edges()).fraction,
            pdf.mean_density(density),
            np.concatenate([np.empty((len(density), 0)), *triples], axis=1),
        )


def _batches(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
