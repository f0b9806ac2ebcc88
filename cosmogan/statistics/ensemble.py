"""Summarise samples as an ensemble: moments, percentiles, covariance, and ratios of two ensembles.

Errors are those of the jackknife: the samples are cut into groups (pieces of boxes, as neighbours in a box are not
independent), everything is computed again without each group, and the scatter tells the error. Groups' moments merge,
so that leaving one out costs no second look at the samples.
"""

from collections.abc import Iterable
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


def moments_of(samples: np.ndarray, labels: np.ndarray) -> list[Moments]:
    """Return the moments of the samples (n, d) of each label (n,), in the order of the labels."""
    return [Moments.of(samples[labels == label]) for label in np.unique(labels)]


def combined(parts: list[Moments], chosen: np.ndarray) -> list[Moments]:
    """Return the moments of many choices of the same parts: those of `merged`, for all choices at once.

    Parameters
    ----------
    parts : of samples that have nothing in common
    chosen : (n_choices, n_parts) bool
    """
    weight = chosen * np.array([part.n for part in parts], np.float64)
    n, centre = weight.sum(axis=1), merged(parts).mean
    means = np.stack([part.mean for part in parts]) - centre  # small numbers: no digits are lost
    mean = weight @ means / n[:, None]
    within = np.stack([part.products for part in parts])
    between = np.stack([part.n * np.outer(offset, offset) for part, offset in zip(parts, means, strict=True)])
    products = np.tensordot(chosen.astype(np.float64), within + between, 1) - np.einsum("s,si,sj->sij", n, mean, mean)
    return [Moments(int(n[i]), mean[i] + centre, products[i]) for i in range(len(chosen))]


def left_out(parts: list[Moments]) -> list[Moments]:
    """Return the moments of all parts but one, for each of two or more."""
    return combined(parts, ~np.eye(len(parts), dtype=bool))


def jackknife_error(values: np.ndarray) -> np.ndarray:
    """Return the jackknife error of values (g, …) computed without each group: √((g - 1)/g Σ (v - mean)²)."""
    with np.errstate(invalid="ignore"):  # where a bin is empty in one set
        return np.sqrt((len(values) - 1) * values.var(axis=0))


def summary(samples: np.ndarray, parts: list[Moments]) -> dict[str, np.ndarray]:
    """Return a summary of samples: the values, their mean and its error, percentiles, second moments.

    Parameters
    ----------
    samples : (n, d)
    parts : their moments, by groups
    """
    moments = merged(parts)
    covariance = moments.covariance()
    columns = {
        "samples": samples,
        "mean": moments.mean,
        "error": np.sqrt(np.diag(covariance) / moments.n),
        "percentiles": percentiles(samples),
        "covariance": covariance,
        "correlation": correlation(covariance),
    }
    if len(parts) > 1:
        columns["covariance_error"] = jackknife_error(np.stack([part.covariance() for part in left_out(parts)]))
    return columns


def ratios(first: Moments, second: Moments) -> dict[str, np.ndarray]:
    """Return one set over another, less 1: mean (d,), variance (d,), covariance (d, d); correlation: the difference."""
    covariances = first.covariance(), second.covariance()
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = covariances[0] / covariances[1] - 1
        return {
            "mean": first.mean / second.mean - 1,
            "variance": np.diag(fraction).copy(),
            "covariance": fraction,
            "correlation": correlation(covariances[0]) - correlation(covariances[1]),
        }


def compared(ones: list[Moments], others: list[Moments]) -> dict[str, np.ndarray]:
    """Return `ratios` of one set to another, given by groups, and the jackknife error of each, ``mean_error`` ….

    The sets are independent, so the squares of their errors add up.
    """
    first, second = merged(ones), merged(others)
    values = ratios(first, second)
    squares = {name: np.zeros_like(ratio) for name, ratio in values.items()}
    without = ([ratios(part, second) for part in left_out(ones)], [ratios(first, part) for part in left_out(others)])
    for parts in without:
        for name in values:
            squares[name] = squares[name] + jackknife_error(np.stack([part[name] for part in parts])) ** 2
    return {**values, **{f"{name}_error": np.sqrt(square) for name, square in squares.items()}}


def split_ratios(parts: list[Moments], halves: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return `ratios` of one half to the other for each way to halve the parts, (n_splits, n_parts) bool."""
    pairs = zip(combined(parts, halves), combined(parts, ~halves), strict=True)
    return [ratios(first, second) for first, second in pairs]


def mean(samples: np.ndarray) -> np.ndarray:
    """Return the mean of (n, d) samples, (d,)."""
    return samples.mean(axis=0)


def variance(samples: np.ndarray) -> np.ndarray:
    """Return the unbiased variance of (n, d) samples, (d,)."""
    return samples.var(axis=0, ddof=1)
