"""What `select` judges a generator by: the statistics of its samples beside those of the training set."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from cosmogan import conditions, train
from cosmogan.config import Experiment
from cosmogan.gan import learner, matching, networks, released, scaling, scoring, session
from cosmogan.statistics import bispectra, fourier, pdf, power
from hpc import mpi
from hpc.distributed import Processes
from hpc.rundir import checksum, provenance
from hpc.settings import to_tree

REFERENCE_ROWS = 2048  # of the training set are measured, at most
SEED = 0  # of the latents by which all candidates are compared
BATCH = 32
PAIRS = slice(1, 3)  # of the paper's pairs of sides, those in the score: one on large, one on small scales

MAX_LOOKS = 8  # conditions at which a conditional generator is judged, spread evenly over those trained on

Candidate = dict[str, Any]  # ``epoch`` and ``ema``; ``match_steps`` of a matched one


class Look(NamedTuple):
    """One condition at which generators are judged; the only one of an unconditional one."""

    values: np.ndarray | None  # (1, names), what the generator is told
    kappa: float
    target: scoring.Summary  # of the training subvolumes with this condition
    features: dict[str, np.ndarray]


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
        self.folder = conditions.open_shards(experiment)
        self.geometry = self.folder.geometry
        self._network = networks.generator(experiment.model, self.geometry.subvolume, group=1)
        triangles = bispectra.paper_triangles(self.geometry.subvolume_size, self.geometry.subvolume)
        self._triangles = triangles[PAIRS] if self.settings.bispectrum else []
        self._densest = 0.0
        rows = self._rows = train.training_rows(experiment, self.folder)
        self._told = conditions.of_training(experiment, self.folder, rows)
        self.looks = [self._look(*part) for part in self._parts(rows)]
        densest = max(comm.allgather(self._densest))
        self._finish = {"max_density": densest} if self.settings.bound_density else {}
        self._finish |= {"oriented": True} if self.settings.orient else {}

    def _parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray | None, float, np.ndarray]]:
        """Yield each look's condition, its kappa, and the training rows that have it."""
        model = self.experiment.model
        if self._told is None:
            yield None, model.kappa, _some(rows, REFERENCE_ROWS)
            return
        known = self._told.conditions.known
        chosen = _some(np.arange(len(known)), MAX_LOOKS)
        for i in chosen:
            values = np.array([known[i]])
            kappa = float(self._told.conditions.kappa(model, values))
            yield values, kappa, _some(rows[self._told.groups[i]], REFERENCE_ROWS // len(chosen))

    def _look(self, values: np.ndarray | None, kappa: float, rows: np.ndarray) -> Look:
        """Measure the training rows of a look; all ranks work together."""
        parts = []
        for density in self._read(rows):
            parts.append(self._measure(density, kappa))
            self._densest = max(self._densest, float(density.max()))
        target = self._join(parts)
        return Look(values, kappa, target, target.features())

    def _read(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield this rank's batches of training subvolumes, which are dealt out in turn, on the device."""
        for batch in _batches(rows)[self._comm.rank :: self._comm.size]:
            yield torch.from_numpy(self.folder.read(batch)).to(self.device)

    def matching(self, candidate: Candidate, steps: int) -> matching.Matching:
        """Return what matches a candidate's weights to the training set; all ranks work together."""
        reals = self._read(_some(self._rows, REFERENCE_ROWS))
        mine = [[one.cpu() for one in matching.statistics(density)] for density in reals]
        kinds = zip(*mpi.gathered_in_turn(mine, self._comm), strict=True)
        target = matching.Target([torch.cat(kind).to(self.device) for kind in kinds])
        generator = self._load(candidate, 1.0)
        autocast = learner.precision(self.experiment.train.precision, self.device).autocast
        return matching.Matching(generator, target, steps, autocast, self._comm)

    def key(self, candidate: Candidate, latent_scale: float, n: int) -> str:
        """Return what stands for all that a score or an amplitude depends on."""
        trained, settings = train.receipt(self.experiment).recipe, self.settings
        what = [trained, settings.bispectrum, settings.bound_density, scoring.WEIGHTS, latent_scale, n]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        return f"{candidate} {checksum(self.path(candidate))} {digest}"

    def score(self, candidate: Candidate, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples of a candidate; this rank's work alone."""
        generator = self._load(candidate, 1.0)
        return self._mean_score([scoring.Summary.join(self._draw(generator, look, n, 0, 1)) for look in self.looks])

    def score_together(self, candidate: Candidate, latent_scale: float, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples at a latent scale, which all ranks draw together."""
        return self._mean_score(self._draw_together(candidate, latent_scale, n))

    def amplitude(self, candidate: Candidate, latent_scale: float, n: int) -> tuple[float, float]:
        """Return ln of the mean power's amplitude over the training set's, and its error; all ranks work together.

        Of a conditional generator it is the mean over the conditions at which it is judged.
        """
        drawn = self._draw_together(candidate, latent_scale, n)
        found = [
            scoring.amplitude(samples.power, look.target.power) for samples, look in zip(drawn, self.looks, strict=True)
        ]
        value, error = np.transpose(found)
        return float(value.mean()), float(np.linalg.norm(error) / len(error))

    def _mean_score(self, drawn: list[scoring.Summary]) -> dict[str, float]:
        """Return the scores of samples, the mean over all looks, and its error."""
        found = [scoring.score(samples, look.features) for samples, look in zip(drawn, self.looks, strict=True)]
        mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        return {**mean, "error": float(np.linalg.norm([one["error"] for one in found]) / len(found))}

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

    def candidate(self, line: dict[str, Any]) -> Candidate:
        """Return what names a generator among the numbers that were found about it."""
        return {name: line[name] for name in ("epoch", "ema", "match_steps") if name in line}

    def path(self, candidate: Candidate) -> Path:
        """Return where a candidate's weights are."""
        if "match_steps" in candidate:
            return self.experiment.folder / "select" / "matched.safetensors"
        folder = self.experiment.train_folder / "generators"
        return session.generator_path(folder, candidate["epoch"], candidate["ema"])

    def _load(self, candidate: Candidate, latent_scale: float) -> released.Released:
        released.fill(self._network, self.path(candidate))
        model = {**self.experiment.section("model")["model"], "subvolume": self.geometry.subvolume}
        geometry = {name: None if value != value else value for name, value in vars(self.geometry).items()}
        settings = {"model": model, "geometry": geometry, "latent_scale": latent_scale}
        if self._told is not None:
            settings["conditions"] = self._told.conditions.plain()
        settings |= self._finish
        return released.Released(settings, self._network.to(self.device), self.device)

    def _draw_together(self, candidate: Candidate, latent_scale: float, n: int) -> list[scoring.Summary]:
        """Return the summaries of n samples, shared evenly among the looks."""
        generator = self._load(candidate, latent_scale)
        ranks = self._comm.rank, self._comm.size
        return [self._join(self._draw(generator, look, n, *ranks)) for look in self.looks]

    def _draw(self, generator: released.Released, look: Look, n: int, first: int, step: int) -> list[scoring.Summary]:
        """Return summaries of every ``step``-th batch of a look's samples, of the same latents for all looks."""
        batches = _batches(np.arange(-(-n // len(self.looks))))[first::step]
        return [self._measure(generator.draw(SEED, int(b[0]), len(b), look.values), look.kappa) for b in batches]

    def _join(self, mine: list[scoring.Summary]) -> scoring.Summary:
        """Return the summary of all ranks' batches, dealt out in turn, in their order."""
        return scoring.Summary.join(mpi.gathered_in_turn(mine, self._comm))

    def _measure(self, density: torch.Tensor, kappa: float) -> scoring.Summary:
        """Return the summary of (n, m, m, m) densities, their power up to the Nyquist wavenumber."""
        size = self.geometry.subvolume_size
        spectra = power.power_spectrum(density, size)
        resolved = spectra.k <= fourier.k_nyquist(size, self.geometry.subvolume)
        scaled = scaling.scale(density, kappa)
        triples = [bispectra.bispectrum(density, size, triangles).bispectrum for triangles in self._triangles]
        return scoring.Summary(
            spectra.power[:, resolved],
            pdf.voxel_pdf(scaled, pdf.scaled_edges()).fraction,
            pdf.mean_density(density),
            np.concatenate([np.empty((len(density), 0)), *triples], axis=1),
        )


def _some(numbers: np.ndarray, n: int) -> np.ndarray:
    """Return at most n of the numbers, evenly spread."""
    return numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), n)).astype(int)]


def _batches(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
