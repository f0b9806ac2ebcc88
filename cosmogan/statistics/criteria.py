"""Measure how far samples are from N-body: one number per criterion, its error and its noise floor.

Every measure takes the values of real and of generated samples, (n, d) each, and returns one number that should be
small. Its error comes from drawing pieces of boxes, and of the generated set, again with replacement; its noise floor
from real samples alone, one half of their boxes, or of regions of few boxes, against the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosmogan.statistics import regions
from cosmogan.statistics.ensemble import mean, variance

N_DRAWS = 100
KNOWN = 0.05  # counts are compared where the standard error of the real mean is below this fraction of it
PDF_AGREES = 0.2  # a voxel PDF agrees within this fraction

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Distance:
    """The distance of generated samples from real ones by one measure, its error and its noise floor."""

    value: float
    error: float  # standard deviation of the value when the samples are drawn again; NaN: not known
    floor: float  # the value that real samples reach against themselves: median over ways to halve them
    floor_error: float = np.nan  # standard deviation over these ways; NaN: not known


@dataclass(frozen=True)
class Resamples:
    """Ways to draw real and generated samples again: groups of them with replacement; and to halve the real ones."""

    real: list[np.ndarray]  # rows, for each draw
    fake: list[np.ndarray]
    halves: np.ndarray  # (n_splits, n_real) bool

    @classmethod
    def of(
        cls, boxes: np.ndarray, morton_index: np.ndarray | None, density: np.ndarray, n_fake: int, seed: int
    ) -> "Resamples":
        """Make them.

        Parameters
        ----------
        boxes, morton_index, density : (n_real,) of the real samples, as `regions.halves` takes them
        n_fake : generated samples
        seed : of the draws
        """
        rng = np.random.default_rng(seed)
        groups = regions.groups(boxes, morton_index), regions.of_one_kind(n_fake)
        real, fake = ([_drawn(labels, rng) for _ in range(N_DRAWS)] for labels in groups)
        labels, halves = regions.halves(boxes, morton_index, density, N_DRAWS, seed)
        return cls(real, fake, halves[:, labels])


def _drawn(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of as many groups as there are, drawn with replacement."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


def evaluate(measure: Measure, real: np.ndarray, fake: np.ndarray, resamples: Resamples) -> Distance:
    """Measure generated samples against real ones, with error and noise floor.

    Parameters
    ----------
    measure : small when they agree
    real, fake : (n, d)
    resamples : how to draw them again
    """
    pairs = zip(resamples.real, resamples.fake, strict=True)
    drawn = np.array([measure(real[rows], fake[others]) for rows, others in pairs])
    error = float(drawn.std()) if np.isfinite(drawn).all() else np.nan
    halves = np.array([measure(real[half], real[~half]) for half in resamples.halves])
    floor = float(np.nanmedian(halves)) if np.isfinite(halves).any() else np.nan
    scatter = float(halves.std()) if np.isfinite(halves).all() and len(halves) > 1 else np.nan
    return Distance(measure(real, fake), error, floor, scatter)


def worst_mean(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest |mean(fake)/mean(real) - 1|."""
    return float(np.max(abs(mean(fake) / mean(real) - 1)))


def worst_factor(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest factor between the means, whichever is larger."""
    ratio = mean(fake) / mean(real)
    return float(np.max(np.maximum(ratio, 1 / ratio)))


def worst_known(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest |mean(fake)/mean(real) - 1| where the real mean is known well; NaN when it is nowhere."""
    precise = _known(real)
    return worst_mean(real[:, precise], fake[:, precise]) if precise.any() else np.nan


def worst_variance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest |variance(fake)/variance(real) - 1|."""
    return float(np.max(abs(variance(fake) / variance(real) - 1)))


def worst_scaled(real: np.ndarray, fake: np.ndarray, parts: np.ndarray) -> float:
    """Return the largest |mean(fake) - mean(real)| over the largest |mean(real)| of the same part.

    Parameters
    ----------
    real, fake : (n, d) numbers that may cross zero
    parts : (d,) which numbers belong together
    """
    size = np.array([abs(mean(real))[parts == part].max() for part in parts])
    return float(np.max(abs(mean(fake) - mean(real)) / size))


def median_shift(real: np.ndarray, fake: np.ndarray) -> float:
    """Return |median(fake)/median(real) - 1| of a number a sample, (n, 1)."""
    return float(abs(np.median(fake) / np.median(real) - 1))


def significance(samples: np.ndarray) -> float:
    """Return the mean's distance from zero in standard errors, rms over its d components: 1 when there is nothing."""
    error = np.sqrt(variance(samples) / len(samples))
    return float(np.sqrt(np.mean((mean(samples) / error) ** 2)))


def lowest_agreement(real: np.ndarray, fake: np.ndarray, lower_edges: np.ndarray) -> float:
    """Return the density down to which the mean voxel PDFs agree, coming from the densest bin that is well known.

    Parameters
    ----------
    real, fake : (n, nbins) fractions of voxels
    lower_edges : (nbins,)

    Returns
    -------
    float
        the lower edge of the last bin that agrees; infinity when the first one does not.
    """
    average = mean(real)
    agreed = np.inf
    for i in np.flatnonzero(_known(real))[::-1]:
        if abs(mean(fake[:, [i]])[0] / average[i] - 1) > PDF_AGREES:
            break
        agreed = float(lower_edges[i])
    return agreed


def _known(real: np.ndarray) -> np.ndarray:
    """Say where the mean of (n, d) samples is positive and has a small standard error, (d,) bool."""
    average = mean(real)
    return (average > 0) & (np.sqrt(variance(real) / len(real)) < KNOWN * average)
