"""From values of each sample to values of the ensemble: moments, percentiles, covariance, the noise floor."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

PERCENTILES = (16, 50, 84)


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of products of deviations of a set of vectors; two of them merge without losing digits.

    Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    n: int
    mean: np.ndarray  # (d,)
    products: np.ndarray  # (d, d): Σ (x - mean)(x - mean)ᵀ

    @classmethod
    def of(cls, samples: np.ndarray) -> "Moments":
        """Measure the moments of (n, d) samples."""
        samples = np.asarray(samples, np.float64)
        mean = samples.mean(axis=0) if len(samples) else np.zeros(samples.shape[1])
        deviations = samples - mean
        return cls(len(samples), mean, deviations.T @ deviations)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together."""
        n = self.n + other.n
        if n == 0:
            return self
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.n / n)
        shift = np.outer(difference, difference) * (self.n * other.n / n)
        return Moments(n, mean, self.products + other.products + shift)

    def covariance(self) -> np.ndarray:
        """Return the unbiased covariance, eq. (8) of the paper: Σ (x - mean)(x - mean)ᵀ / (n - 1)."""
        return self.products / (self.n - 1) if self.n > 1 else np.full_like(self.products, np.nan)


def merged(parts: Iterable[Moments]) -> Moments:
    """Return the moments of one or more sets together."""
    return reduce(Moments.merge, parts)


def correlation(covariance: np.ndarray) -> np.ndarray:
    """Return the correlation matrix C_ij / √(C_ii C_jj), eq. (9) of the paper."""
    deviation = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.outer(deviation, deviation)


def percentiles(samples: np.ndarray) -> np.ndarray:
    """Return the 16th, 50th and 84th percentiles of (n, d) samples, (3, d)."""
    return np.percentile(np.asarray(samples, np.float64), PERCENTILES, axis=0)


def summary(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is kept of (n, d) samples: the values, their mean and its error, percentiles, second moments."""
    moments = Moments.of(samples)
    covariance = moments.covariance()
    return {
        "samples": samples,
        "mean": moments.mean,
        "error": np.sqrt(np.diag(covariance) / moments.n),
        "percentiles": percentiles(samples),
        "covariance": covariance,
        "correlation": correlation(covariance),
    }


def random_halves(n: int, n_splits: int, seed: int) -> np.ndarray:
    """Return ways to cut n samples into two halves at random: (n_splits, n) bool, True for the first half."""
    rng = np.random.default_rng(seed)
    first = np.arange(n) < n // 2
    return np.stack([rng.permutation(first) for _ in range(n_splits)])


def halves_ratio(samples: np.ndarray, halves: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return statistic(first half)/statistic(second half) - 1: how far it is from itself, for want of samples.

    Parameters
    ----------
    samples : (n, d)
    halves : (n_splits, n) bool, from `random_halves`
    statistic : makes (d,) of (n/2, d), as `mean` or `variance`

    Returns
    -------
    (n_splits, d)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([statistic(samples[first]) / statistic(samples[~first]) - 1 for first in halves])


def mean(samples: np.ndarray) -> np.ndarray:
    """Return the mean of (n, d) samples, (d,)."""
    return samples.mean(axis=0)


def variance(samples: np.ndarray) -> np.ndarray:
    """Return the unbiased variance of (n, d) samples, (d,)."""
    return samples.var(axis=0, ddof=1)
