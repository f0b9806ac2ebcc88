"""Fit the calibration of a generator (`cosmogan.gan.calibration`) to training volumes; all ranks work together.

Histograms are whole numbers and spectra are summed in the order of the samples, so that the tables are the same, bit
for bit, on any number of ranks.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from cosmogan.gan import calibration, latent
from cosmogan.gan.calibration import Tables
from cosmogan.selection.candidates import SEED, CandidateScorer, Generator, ScoringCondition, batches
from cosmogan.statistics import fourier, pdf, power
from hpc import mpi

# Histograms of ln density and of the filtered field; the first bin of the densities holds the empty cells.
DENSITIES = np.linspace(np.log(1e-7), np.log(1e6), 6001)
SCORES = np.linspace(-12, 12, 6001)
N_KNOTS = 256
FEWEST = 10  # cells beyond the last knot but one: fewer, and a knot is noise
TAIL = 1e-3  # of the cells, the densest and the emptiest: what has to be known of both sets at the least
FEWER = 4  # times fewer samples for the fits that only decide than for the one that is released
ROUNDS, STEP = 8, 0.5  # of the fixed point for T(k); P(k) goes at most as T², and far less in the corners
LARGEST_STEP, LARGEST = 1.0, 6.0  # of ln T: in a round, in all
SMOOTHING = 0.1  # in ln k
RECIPE = (N_KNOTS, FEWEST, FEWER, ROUNDS, STEP, LARGEST_STEP, LARGEST, SMOOTHING, len(DENSITIES), len(SCORES))


class Target(NamedTuple):
    """The statistics that calibrated volumes shall have."""

    counts: np.ndarray  # (densities,) cells
    power: np.ndarray  # (nk,) mean P(k), to the corner of Fourier space
    scatter: float  # variance of the mean density of a volume


class TrainingSet:
    """The training subvolumes under one condition, measured once.

    Parameters
    ----------
    scorer, condition : whose rows are measured
    """

    def __init__(self, scorer: CandidateScorer, condition: ScoringCondition) -> None:
        self._fold, self._counts = condition.fold, np.zeros((scorer.n_folds, len(DENSITIES)), np.int64)
        ranks, size = slice(scorer.comm.rank, None, scorer.comm.size), scorer.geometry.subvolume_size
        spectra = []
        for rows, density in zip(batches(condition.fold)[ranks], scorer.read(condition.rows), strict=True):
            for fold, cells in zip(rows, density, strict=True):
                self._counts[fold] += histogram(_logarithm(cells), DENSITIES)
            spectra.append(_spectra(density, size))
        self._counts = scorer.comm.allreduce(self._counts)
        self._power, self._mean = _joined(spectra, scorer.comm)

    def target(self, left_out: int | None) -> Target | None:
        """Return what volumes shall have, without one fold; None when nothing is left."""
        rows, folds = self._fold != left_out, np.arange(len(self._counts)) != left_out
        if not rows.any():
            return None
        return Target(self._counts[folds].sum(0), self._power[rows].mean(0), float(self._mean[rows].var()))


class Draws:
    """A generator's samples under one condition: this rank's, Gaussianised, as cosine modes.

    Parameters
    ----------
    scorer, generator, condition : what is drawn
    n : samples of all ranks
    """

    def __init__(self, scorer: CandidateScorer, generator: Generator, condition: ScoringCondition, n: int) -> None:
        self.n, self._comm, self._device, self._size = n, scorer.comm, scorer.device, scorer.geometry.subvolume_size
        mine = batches(np.arange(n))[scorer.comm.rank :: scorer.comm.size]
        drawn = [_sample(generator, numbers, condition.values).cpu() for numbers in mine]
        self.counts = self._summed(histogram(_logarithm(density), DENSITIES) for density in drawn)
        self.generated, self.score = gaussianisation(self.counts)
        tables = Tables(*map(self._sent, (self.generated, self.score, [0.0], [0.0], [0.0], [0.0])))
        for i, density in enumerate(drawn):  # in place of the densities, to hold no more than that
            parts = calibration.pieces(density.to(self._device))
            modes = [calibration.cosine(calibration.gaussianised(part, tables)).float() for part in parts]
            drawn[i] = torch.cat(modes).cpu()
        self._modes = drawn
        self.wavenumbers = wavenumbers(scorer.geometry.subvolume)

    def mapping(self, ln_transfer: np.ndarray, target: Target) -> Tables:
        """Return the tables with this T(k), and the one-point map that belongs to it."""
        counts = self._summed(histogram(field, SCORES) for fields in self._filtered(ln_transfer) for field in fields)
        point_map = one_point_map(counts, target.counts)
        return Tables(*map(self._sent, (self.generated, self.score, ln_transfer, *point_map)))

    def measured(self, tables: Tables) -> tuple[np.ndarray, float]:
        """Return the mean P(k) of the calibrated volumes, and the variance of their mean density."""
        batches_of_fields = self._filtered(tables.ln_transfer.cpu().numpy())
        densities = (torch.cat([calibration.mapped(field, tables) for field in fields]) for fields in batches_of_fields)
        spectra, mean = _joined([_spectra(density, self._size) for density in densities], self._comm)
        return spectra.mean(0), float(mean.var())

    def _filtered(self, ln_transfer: np.ndarray) -> Iterator[Iterator[Tensor]]:
        """Yield each batch's filtered fields, in pieces."""
        for modes in self._modes:
            factor = calibration.transfer(modes.shape[1], self._sent(self.wavenumbers), self._sent(ln_transfer)).float()
            parts = calibration.pieces(modes.to(self._device))
            yield map(calibration.inverse_cosine, (part * factor for part in parts))

    def _summed(self, counts: Iterable[np.ndarray]) -> np.ndarray:
        return self._comm.allreduce(sum(counts, np.zeros(1, np.int64)))

    def _sent(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float64)).to(self._device)


def fit(draws: Draws, target: Target, rounds: int = ROUNDS) -> Tables:
    """Return the tables that give samples the training set's mean P(k) and PDF, and the scatter of its mean density.

    ln T(k) rises, ``rounds`` times, by `STEP` ln(P(k) wanted / P(k)), at k = 0 with the variances of the mean density
    in place of P(k); each step is smoothed in ln k. Without rounds T(k) stays 1, as for a local generator, whose cells
    a filter would tie together.
    """
    ln_transfer = np.zeros(len(draws.wavenumbers))
    for _ in range(rounds):
        spectrum, scatter = draws.measured(draws.mapping(ln_transfer, target))
        wanted, measured = np.append(target.scatter, target.power), np.append(scatter, spectrum)
        ratio = np.divide(wanted, measured, out=np.ones_like(wanted), where=(wanted > 0) & (measured > 0))
        step = smooth(STEP * np.log(ratio), draws.wavenumbers)
        ln_transfer = np.clip(ln_transfer + step.clip(-LARGEST_STEP, LARGEST_STEP), -LARGEST, LARGEST)
    return draws.mapping(ln_transfer, target)


def wavenumbers(m: int) -> np.ndarray:
    """Return where T(k) is tabulated, in units of the fundamental: 0, and the bins of P(k) of m³ cells."""
    edges = fourier.linear_edges(2 * np.pi, m)
    return np.append(0.0, fourier.bins(2 * np.pi, m, edges, torch.device("cpu")).k)


def check_enough(m: int, n_samples: int, n_training: int) -> None:
    """Raise a ValueError when a fraction `TAIL` of all cells that a fit has is fewer than `FEWEST` cells."""
    wanted = int(np.ceil(FEWEST / TAIL / m**3))
    if n_samples < FEWER * wanted:
        raise ValueError(
            f"select.n_calibrate: {n_samples} samples of {m}³ cells a condition do not tell the densest {TAIL:g} of "
            f"all cells; it takes at least {FEWER * wanted}"
        )
    if n_training < 2 * wanted:
        raise ValueError(
            f"select.calibrate: {n_training} training subvolumes of {m}³ cells a condition do not tell the densest "
            f"{TAIL:g} of all cells with some left out; it takes at least {2 * wanted}"
        )


def smooth(values: np.ndarray, wavenumbers: np.ndarray) -> np.ndarray:
    """Return values smoothed by a Gaussian in ln k, the first, at k = 0, as it is."""
    position = np.log(wavenumbers[1:])
    weight = np.exp(-(((position[:, None] - position) / SMOOTHING) ** 2) / 2)
    return np.append(values[0], weight @ values[1:] / weight.sum(1))


def histogram(values: Tensor, edges: np.ndarray) -> np.ndarray:
    """Return counts below each edge and above the one before, (edges,) int64; the outer bins hold what lies beyond."""
    width = (edges[-1] - edges[0]) / (len(edges) - 1)
    index = (values - edges[0]).div_(width).floor_().clamp_(-1, len(edges) - 2).add_(1)
    counts = torch.bincount(index.int().flatten(), minlength=len(edges))
    return counts.cpu().numpy()


def quantile(counts: np.ndarray, edges: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return the values below which fractions of the cells lie, evenly spread in their bins.

    Parameters
    ----------
    counts, edges : of `histogram`
    """
    below = np.cumsum(counts)
    return np.interp(np.asarray(fraction) * below[-1], below, edges)


def levels(lowest: float, n_cells: float) -> np.ndarray:
    """Return normal scores from a fraction of the cells on, as far as `FEWEST` cells are left, (N_KNOTS - 1,)."""
    return np.linspace(ndtri(lowest), -ndtri(FEWEST / n_cells), N_KNOTS - 1)


def gaussianisation(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln density and normal score at all knots: of empty cells, or a few, at the first to the densest."""
    n_cells = counts.sum()
    score = levels(max(counts[0], FEWEST) / n_cells, n_cells)
    density = quantile(counts, DENSITIES, ndtr(score))
    return _with_last(density, _densest(counts, DENSITIES)), np.append(score, -ndtri(0.5 / n_cells))


def one_point_map(counts: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of the filtered field at all knots, ln of the training set's densities of the same ranks, and
    the density below the first knot, (1,).

    The first knot has the rank below which the training set's cells are empty, the last one is the densest of both.

    Parameters
    ----------
    counts : (scores,) of the filtered field
    target : (densities,) of the training set
    """
    empty = target[0] >= FEWEST
    lowest = (target[0] if empty else FEWEST) / target.sum()
    fraction = ndtr(levels(lowest, min(counts.sum(), target.sum())))
    filtered = _with_last(quantile(counts, SCORES, fraction), _densest(counts, SCORES))
    density = _with_last(quantile(target, DENSITIES, fraction), _densest(target, DENSITIES))
    return filtered, density, np.zeros(1) if empty else np.exp(density[:1])


def _densest(counts: np.ndarray, edges: np.ndarray) -> float:
    return float(edges[np.flatnonzero(counts)[-1]])


def _with_last(knots: np.ndarray, last: float) -> np.ndarray:
    return np.append(knots, max(last, knots[-1]))


def _sample(generator: Generator, numbers: np.ndarray, values: np.ndarray | None) -> Tensor:
    return generator(generator.latents(SEED, numbers, latent.FIT), values)


def _logarithm(density: Tensor) -> Tensor:
    return density.clamp(min=1e-30).log()


def _spectra(density: Tensor, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return P(k) and the mean density of each volume."""
    return power.power_spectrum(density, size).power, pdf.mean_density(density)


def _joined(mine: list[tuple[np.ndarray, np.ndarray]], comm: mpi.Comm) -> list[np.ndarray]:
    """Return arrays of all ranks' batches, shared out in turn, in their order."""
    return [np.concatenate(kind) for kind in zip(*mpi.gathered_in_turn(mine, comm), strict=True)]
