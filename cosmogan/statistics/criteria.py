"""Measure how far samples are from N-body: one number per criterion, its error and its noise floor.

Every measure takes `Draws` of real and of generated samples, and returns one number per draw that should be small. Its
error comes from drawing pieces of boxes, and of the generated set, again with replacement; its noise floor from real
samples alone, one half of their boxes, or of regions of few boxes, against the other. All draws are one matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cosmogan.statistics import regions
from cosmogan.statistics.ensemble import mean, variance

N_DRAWS = 100
KNOWN = 0.05  # counts are compared where the standard error of the real mean is below this fraction of it
PDF_AGREES = 0.2  # a voxel PDF agrees within this fraction


@dataclass(frozen=True)
class Draws:
    """Sets that are drawn from the same samples, and the moments of each."""

    samples: np.ndarray  # (n, d)
    counts: np.ndarray  # (n_draws, n), how often each draw has each sample

    @classmethod
    def all_once(cls, samples: np.ndarray) -> "Draws":
        """Return one draw that has every sample once."""
        return cls(samples, np.ones((1, len(samples))))

    @cached_property
    def size(self) -> np.ndarray:
        """The number of samples of each draw, (n_draws, 1)."""
        return self.counts.sum(axis=1, keepdims=True)

    @cached_property
    def mean(self) -> np.ndarray:
        """The mean of each draw, (n_draws, d)."""
        with np.errstate(invalid="ignore"):  # a draw may be empty
            return self.counts @ self.samples.astype(np.float64) / self.size

    @cached_property
    def variance(self) -> np.ndarray:
        """The unbiased variance of each draw, (n_draws, d)."""
        centre = self.samples.mean(axis=0, dtype=np.float64)  # small numbers: no digits are lost
        squares = self.counts @ (self.samples - centre) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.maximum(squares - self.size * (self.mean - centre) ** 2, 0) / (self.size - 1)

    @cached_property
    def median(self) -> np.ndarray:
        """The median of each draw of one number per sample, (n_draws,)."""
        return np.array([np.median(np.repeat(self.samples[:, 0], row.astype(int))) for row in self.counts])

    @cached_property
    def known(self) -> np.ndarray:
        """Where the mean is positive and its standard error is small, (n_draws, d) bool."""
        with np.errstate(invalid="ignore"):
            return (self.mean > 0) & (np.sqrt(self.variance / self.size) < KNOWN * self.mean)


Measure = Callable[[Draws, Draws], np.ndarray]


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

    real: np.ndarray  # (N_DRAWS, n_real), how often each draw has each sample
    fake: np.ndarray  # (N_DRAWS, n_fake)
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
        real, fake = (_counts(labels, rng) for labels in groups)
        labels, halves = regions.halves(boxes, morton_index, density, N_DRAWS, seed)
        return cls(real, fake, halves[:, labels])


def _counts(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how often each sample is drawn when as many groups as there are are drawn with replacement."""
    values, group = np.unique(labels, return_inverse=True)
    n = len(values)
    times = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(N_DRAWS)]
    return np.array(times, np.float64)[:, group]


def evaluate(measure: Measure, real: np.ndarray, fake: np.ndarray, resamples: Resamples) -> Distance:
    """Measure generated samples against real ones, with error and noise floor.

    Parameters
    ----------
    measure : small when they agree
    real, fake : (n, d)
    resamples : how to draw them again
    """
    value = float(measure(Draws.all_once(real), Draws.all_once(fake))[0])
    drawn = measure(Draws(real, resamples.real), Draws(fake, resamples.fake))
    error = float(drawn.std()) if np.isfinite(drawn).all() else np.nan
    first, second = (half.astype(np.float64) for half in (resamples.halves, ~resamples.halves))
    halves = measure(Draws(real, first), Draws(real, second))
    floor = float(np.nanmedian(halves)) if np.isfinite(halves).any() else np.nan
    scatter = float(halves.std()) if np.isfinite(halves).all() and len(halves) > 1 else np.nan
    return Distance(value, error, floor, scatter)


def worst_mean(real: Draws, fake: Draws) -> np.ndarray:
    """Return the largest |mean(fake)/mean(real) - 1|."""
    return _off(fake.mean, real.mean).max(axis=1)


def worst_factor(real: Draws, fake: Draws) -> np.ndarray:
    """Return the largest factor between the means, whichever is larger."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = fake.mean / real.mean
        return np.maximum(ratio, 1 / ratio).max(axis=1)


def worst_known(real: Draws, fake: Draws) -> np.ndarray:
    """Return the largest |mean(fake)/mean(real) - 1| where the real mean is known well; NaN when it is nowhere."""
    worst = np.where(real.known, _off(fake.mean, real.mean), -np.inf).max(axis=1)
    return np.where(real.known.any(axis=1), worst, np.nan)


def worst_variance(real: Draws, fake: Draws) -> np.ndarray:
    """Return the largest |variance(fake)/variance(real) - 1|."""
    return _off(fake.variance, real.variance).max(axis=1)


def _off(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return |values/reference - 1|."""
    with np.errstate(invalid="ignore", divide="ignore"):  # where a bin is empty
        return abs(values / reference - 1)


def worst_scaled(real: Draws, fake: Draws, parts: np.ndarray) -> np.ndarray:
    """Return the largest |mean(fake) - mean(real)| over the largest |mean(real)| of the same part.

    Parameters
    ----------
    real, fake : of numbers that may cross zero
    parts : (d,) which numbers belong together
    """
    size = np.empty_like(real.mean)
    for part in np.unique(parts):
        size[:, parts == part] = abs(real.mean[:, parts == part]).max(axis=1, keepdims=True)
    return (abs(fake.mean - real.mean) / size).max(axis=1)


def median_shift(real: Draws, fake: Draws) -> np.ndarray:
    """Return |median(fake)/median(real) - 1| of one number per sample."""
    return _off(fake.median, real.median)


def lowest_agreement(real: Draws, fake: Draws, lower_edges: np.ndarray) -> np.ndarray:
    """Return the density down to which the mean voxel PDFs agree, coming from the densest bin that is well known.

    Parameters
    ----------
    real, fake : of fractions of voxels in bins
    lower_edges : (nbins,), rising

    Returns
    -------
    (n_draws,)
        the lower edge of the last bin that agrees; infinity when the first one does not.
    """
    differs = real.known & (_off(fake.mean, real.mean) > PDF_AGREES)
    denser_differs = np.logical_or.accumulate(differs[:, ::-1], axis=1)[:, ::-1]  # this bin's own included
    return np.where(real.known & ~denser_differs, lower_edges, np.inf).min(axis=1)


def significance(samples: np.ndarray) -> float:
    """Return the mean's distance from zero in standard errors, rms over its d components: 1 when there is nothing."""
    error = np.sqrt(variance(samples) / len(samples))
    return float(np.sqrt(np.mean((mean(samples) / error) ** 2)))
