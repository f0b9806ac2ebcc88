"""Score a candidate generator by the statistics of its samples beside those of the training set."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from cosmogan import shards
from cosmogan.config import Experiment, generator_file
from cosmogan.gan import local, networks, released, scaling
from cosmogan.gan.calibration import Calibration
from cosmogan.gan.local_generator import LocalGenerator
from cosmogan.selection import scoring
from cosmogan.statistics import bispectra, fourier, pdf, power
from cosmogan.training import session, setup, subvolumes
from cosmogan.training.local_samples import LocalSamples
from cosmogan.training.pairs import Boxes
from cosmogan.training.plan import TrainingStage
from hpc import mpi
from hpc.distributed import Processes
from hpc.files import checksum
from hpc.receipts import provenance
from hpc.settings import to_tree

REFERENCE_ROWS = 2048  # of the training set are measured, at most
SEED = 0  # of the latents by which all candidates are compared
BATCH = 32
PAIRS = slice(1, 3)  # of the paper's pairs of sides, those in the score: one on large, one on small scales

MAX_CONDITIONS = 8  # conditions at which a conditional generator is scored, spread evenly over those trained on

MAX_FOLDS = 4  # parts of the training boxes, each left out in turn of what is fitted after choosing

Generator = released.Released | LocalSamples
Candidate = dict[str, Any]  # ``epoch`` and ``ema``, or ``generator``, the file of one that was released before


class ScoringCondition(NamedTuple):
    """One condition at which generators are scored; the only one for an unconditional generator."""

    values: np.ndarray | None  # (1, names), of the condition; None for an unconditional generator
    kappa: float
    rows: np.ndarray  # (n,) the training subvolumes with this condition that are measured
    fold: np.ndarray  # (n,) which fold each belongs to
    target: scoring.Summary  # of them
    features: dict[str, np.ndarray]


class CandidateScorer:
    """Scores this experiment's generators against its training set.

    Parameters
    ----------
    experiment : with finished training
    comm : its ranks measure the training set together

    Attributes
    ----------
    conditions : those at which generators are scored
    n_folds : of the training boxes
    is_local : whether the generators start from quick simulations of the training boxes
    geometry : of the training subvolumes
    settings, device, comm : of this selection
    """

    def __init__(self, experiment: Experiment, comm: mpi.Comm) -> None:
        if experiment.select.generator is not None:
            model = released.model_of(released.read_settings(generator_file(experiment.select.generator)))
            experiment = dataclasses.replace(experiment, model=model)
        self.experiment, self.settings, self.comm = experiment, experiment.select, comm
        self.device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
        if comm.size > 1:
            torch.set_num_threads(1)  # one rank a core
        self.folder = subvolumes.open_shards(experiment)
        self.geometry = self.folder.geometry
        if experiment.select.generator is not None:
            check_fits(generator_file(experiment.select.generator), self.folder)
        self.is_local = experiment.input.is_used
        self._network: nn.Sequential
        if self.is_local:
            self._network = local.Generator(experiment.model, experiment.input)
            self._quick = Boxes(subvolumes.open_shards(experiment.quick))
        else:
            self._network = networks.generator(experiment.model, self.geometry.subvolume, group=1)
        triangles = bispectra.paper_triangles(self.geometry.subvolume_size, self.geometry.subvolume)
        self._triangles = triangles[PAIRS] if self.settings.bispectrum else []
        rows = setup.training_rows(experiment, self.folder)
        self._training_conditions = setup.training_conditions(experiment, self.folder, rows)
        self.n_folds, self._folds = _folds(rows, self.folder.simulations[rows])
        self.conditions = [self._measure_condition(*part) for part in self._parts(rows)]

    def _parts(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray | None, float, np.ndarray]]:
        """Yield each condition's values, its kappa, and the training rows that have it."""
        model = self.experiment.model
        if self._training_conditions is None:
            yield None, model.kappa, _some(rows, REFERENCE_ROWS)
            return
        distinct = self._training_conditions.conditions.distinct
        chosen = _some(np.arange(len(distinct)), MAX_CONDITIONS)
        for i in chosen:
            values = np.array([distinct[i]])
            kappa = float(self._training_conditions.conditions.kappa(model, values))
            yield values, kappa, _some(rows[self._training_conditions.groups[i]], REFERENCE_ROWS // len(chosen))

    def _measure_condition(self, values: np.ndarray | None, kappa: float, rows: np.ndarray) -> ScoringCondition:
        """Measure the training rows of a condition; all ranks work together."""
        target = self._join([self._measure(density, kappa) for density in self.read(rows)])
        fold = np.array([self._folds[row] for row in rows.tolist()])
        return ScoringCondition(values, kappa, rows, fold, target, target.features())

    def read(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """Yield this rank's batches of training subvolumes, which are shared out in turn, on the device."""
        for batch in batches(rows)[self.comm.rank :: self.comm.size]:
            yield torch.from_numpy(self.folder.read(batch)).to(self.device)

    def key(self, candidate: Candidate, latent_scale: float, n: int) -> str:
        """Return what stands for all that a score or an amplitude depends on."""
        trained, settings = TrainingStage(self.experiment).receipt.recipe, self.settings
        what = [trained, settings.bispectrum, scoring.WEIGHTS, latent_scale, n]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        return f"{candidate} {checksum(self.path(candidate))} {digest}"

    def score(self, candidate: Candidate, n: int) -> dict[str, float]:
        """Return the scores of ``n`` samples of a candidate; this rank's work alone."""
        generator = self.generator(candidate, 1.0)
        drawn = [
            [self._measure(density, condition.kappa) for density in self._batches(generator, condition, n, 0, 1)]
            for condition in self.conditions
        ]
        return self.scored([scoring.Summary.join(summaries) for summaries in drawn])

    def drawn(self, generator: Generator, n: int) -> list[scoring.Summary]:
        """Return the summaries of n samples, shared evenly among the conditions, which all ranks draw together."""
        return self.summaries(self._of_this_rank(generator, n))

    def densities(self, generator: Generator, n: int) -> list[list[torch.Tensor]]:
        """Return this rank's batches of the samples that `drawn` measures, under each condition, on the host."""
        return [[density.cpu() for density in batches] for batches in self._of_this_rank(generator, n)]

    def summaries(self, densities: Sequence[Iterable[torch.Tensor]]) -> list[scoring.Summary]:
        """Return the summaries of all ranks' batches under each condition."""
        return [
            self._join([self._measure(density.to(self.device), condition.kappa) for density in batches])
            for batches, condition in zip(densities, self.conditions, strict=True)
        ]

    def scored(self, drawn: list[scoring.Summary]) -> dict[str, float]:
        """Return the scores of samples against the whole training set, the mean over all conditions, and its error."""
        pairs = zip(drawn, self.conditions, strict=True)
        scores = [scoring.score(samples, condition.features) for samples, condition in pairs]
        mean = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
        return {**mean, "error": float(np.linalg.norm([score["error"] for score in scores]) / len(scores))}

    def score_on(self, fold: int, drawn: list[scoring.Summary]) -> float:
        """Return the score of samples against one fold of the training set, the mean over the conditions in it."""
        pairs = [
            (samples, condition.target.rows(condition.fold == fold))
            for samples, condition in zip(drawn, self.conditions, strict=True)
        ]
        scores = [scoring.compare(samples.features(), real.features()) for samples, real in pairs if len(real.power)]
        return float(np.mean([score["score"] for score in scores]))

    def amplitude(self, drawn: list[scoring.Summary], left_out: int | None = None) -> tuple[float, float]:
        """Return ln of the mean power's amplitude over that of the training set, less a fold of it, and its error.

        Of a conditional generator it is the mean over the conditions at which it is scored.
        """
        pairs = [
            (samples, condition.target.rows(condition.fold != left_out))
            for samples, condition in zip(drawn, self.conditions, strict=True)
        ]
        amplitudes = [scoring.amplitude(samples.power, real.power) for samples, real in pairs if len(real.power)]
        value, error = np.transpose(amplitudes)
        return float(value.mean()), float(np.linalg.norm(error) / len(error))

    def release(self, generator: Generator, about: dict[str, Any]) -> None:
        """Write the released generator with its settings: all that it was made with, and ``about``."""
        settings = {**generator.settings, **about, "versions": provenance()}
        path = self.experiment.generator_path
        released.write(path, generator.network, settings, calibration=generator.calibration)

    def given(self) -> dict[str, Any]:
        """Return the generator that was released before, `select.generator`, as a candidate with its scores."""
        file = str(self.settings.generator)
        settings = released.read_settings(generator_file(file))
        candidate: Candidate = {"generator": file} | {k: settings[k] for k in ("epoch", "ema") if k in settings}
        return {**candidate, **self.scored(self.drawn(self.generator(candidate, 1.0), self.settings.n_samples))}

    def candidate(self, line: dict[str, Any]) -> Candidate:
        """Return the keys that identify a generator among its numbers."""
        return {name: line[name] for name in ("epoch", "ema", "generator") if name in line}

    def path(self, candidate: Candidate) -> Path:
        """Return where a candidate's weights are."""
        if "generator" in candidate:
            return generator_file(candidate["generator"])
        folder = self.experiment.train_folder / "generators"
        return session.generator_path(folder, candidate["epoch"], candidate["ema"])

    def generator(self, candidate: Candidate, latent_scale: float, calibration: Calibration | None = None) -> Generator:
        """Return a candidate as it is drawn from; the next call changes its weights."""
        released.load_weights(self._network, self.path(candidate))
        if self.settings.calibrate:  # before the fit, which is then to the very weights that are released
            released.rounded(self._network)
        settings = {**self._describe(candidate), "latent_scale": latent_scale}
        network = self._network.to(self.device)
        if isinstance(network, local.Generator):
            rows = np.random.default_rng(SEED).permutation(setup.training_rows(self.experiment, self.folder))
            return LocalSamples(LocalGenerator(settings, network, self.device, calibration), self._quick, rows)
        return released.Released(settings, network, calibration).to(self.device)

    def _describe(self, candidate: Candidate) -> dict[str, Any]:
        """Return the settings of a candidate: what it draws and how it was made."""
        if "generator" in candidate:
            kept = released.read_settings(generator_file(candidate["generator"]))
            return {name: value for name, value in kept.items() if name not in ("format", "sha256", "max_density")}
        model = {**self.experiment.section("model")["model"], "subvolume": self.geometry.subvolume}
        fields: dict[str, Any] = vars(self.geometry)
        geometry = {name: None if value != value else value for name, value in fields.items()}
        settings: dict[str, Any] = {"model": model, "geometry": geometry, "latent_scale": 1.0}
        if self._training_conditions is not None:
            settings["conditions"] = self._training_conditions.conditions.plain()
        if self.settings.orient:
            settings["oriented"] = True
        if self.is_local:
            settings |= subvolumes.of_quick_simulation(self.experiment)
        origin = {"config": to_tree(self.experiment), "data": self.folder.checksum}
        return {**settings, **candidate, **origin}

    def _of_this_rank(self, generator: Generator, n: int) -> list[Iterator[torch.Tensor]]:
        ranks = self.comm.rank, self.comm.size
        return [self._batches(generator, condition, n, *ranks) for condition in self.conditions]

    def _batches(
        self, generator: Generator, condition: ScoringCondition, n: int, first: int, step: int
    ) -> Iterator[torch.Tensor]:
        """Yield every ``step``-th batch of samples under a condition; all conditions have the same latents."""
        for numbers in batches(np.arange(-(-n // len(self.conditions))))[first::step]:
            yield generator.draw(SEED, int(numbers[0]), len(numbers), condition.values)

    def _join(self, mine: list[scoring.Summary]) -> scoring.Summary:
        """Return the summary of all ranks' batches, shared out in turn, in their order."""
        return scoring.Summary.join(mpi.gathered_in_turn(mine, self.comm))

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


def check_fits(path: Path, folder: shards.Folder) -> None:
    """Raise a ValueError when a folder's subvolumes are not of the kind that a released generator draws."""
    drawn, geometry = released.read_settings(path)["geometry"], folder.geometry
    pairs = {
        "subvolume": (drawn["subvolume"], geometry.subvolume),
        "cell size": (drawn["box_size"] / drawn["n_mesh"], geometry.cell_size),
        "redshift": (drawn["redshift"], geometry.redshift),
        "mean_cell_mass": (drawn["mean_cell_mass"], geometry.mean_cell_mass),
        "window": (drawn["window"], geometry.window),
    }
    for name, (wanted, value) in pairs.items():
        varies = wanted is None or wanted != wanted  # with the conditions
        if not varies and not np.isclose(value, wanted, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f"{folder.path}: {name} {value:g}, but select.generator {path} draws {name} {wanted:g}; expected "
                "training subvolumes of its own kind"
            )


def _some(numbers: np.ndarray, n: int) -> np.ndarray:
    """Return at most n of the numbers, evenly spread."""
    return numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), n)).astype(int)]


def batches(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the numbers in runs of `BATCH`."""
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


def _folds(rows: np.ndarray, simulations: np.ndarray) -> tuple[int, dict[int, int]]:
    """Return the number of folds, and each row's: whole simulations in turn, or of a single one its two halves."""
    distinct, number = np.unique(simulations, return_inverse=True)
    if len(distinct) == 1:
        distinct, number = np.arange(2), (2 * np.arange(len(rows))) // len(rows)
    n = min(len(distinct), MAX_FOLDS)
    return n, dict(zip(rows.tolist(), (number.ravel() % n).tolist(), strict=True))
