"""What generated samples are judged by: one number for each thing the paper claims, its error, and its noise floor.

Every measure takes the values of real and of generated samples, (n, d) each, and returns one number that should be
small. Its error comes from drawing the samples again with replacement; its noise floor from real samples alone, one
random half against the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosmogan.statistics.ensemble import mean, random_halves, variance

N_DRAWS = 100
# A voxel PDF is compared where the real mean is known to this fraction, and agrees within that one.
PDF_KNOWN, PDF_AGREES = 0.05, 0.2

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Finding:
    """How far generated samples are from real ones in one respect."""

    value: float
    error: float  # standard deviation of the value when the samples are drawn again; NaN: not known
    floor: float  # the value that real samples reach against themselves: median over random halves


def judge(measure: Measure, real: np.ndarray, fake: np.ndarray, seed: int) -> Finding:
    """Measure generated samples against real ones, with error and noise floor.

    Parameters
    ----------
    measure : small when they agree
    real, fake : (n, d)
    seed : of the draws and the halves
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([measure(_again(real, rng), _again(fake, rng)) for _ in range(N_DRAWS)])
    error = float(drawn.std()) if np.isfinite(drawn).all() else np.nan
    halves = [measure(real[half], real[~half]) for half in random_halves(len(real), N_DRAWS, seed)]
    return Finding(measure(real, fake), error, float(np.median(halves)))


def _again(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return samples[rng.integers(len(samples), size=len(samples))]


def worst_mean(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest |mean(fake)/mean(real) - 1|."""
    return float(np.max(abs(mean(fake) / mean(real) - 1)))


def worst_factor(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest factor between the means, whichever is larger."""
    ratio = mean(fake) / mean(real)
    return float(np.max(np.maximum(ratio, 1 / ratio)))


def worst_variance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the largest |variance(fake)/variance(real) - 1|."""
    return float(np.max(abs(variance(fake) / variance(real) - 1)))


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
    error = np.sqrt(variance(real) / len(real))
    agreed = np.inf
    for i in np.flatnonzero((average > 0) & (error < PDF_KNOWN * average))[::-1]:
        if abs(mean(fake[:, [i]])[0] / average[i] - 1) > PDF_AGREES:
            break
        agreed = float(lower_edges[i])
    return agreed
