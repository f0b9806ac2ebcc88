"""Compute the score of a set of samples, its error, and the amplitude of the mean power.

The score is a weighted sum of parts, each a mean squared log-ratio, or fractional error, of a statistic of the samples
to that of the training set; 0 is equal, smaller is nearer. `docs/selection.md` says it in full.
"""

from dataclasses import dataclass, fields

import numpy as np

# The paper compares mean power spectra and voxel PDFs by eye; here is what each part counts. A mean density off by 5 %
# weighs as much as a mean power spectrum off by 10 % at every k. The mean counts beside the median, though few extreme
# samples can make it: the latent scale is tuned to the mean, and would pull a generator with a wrong one off the rest.
WEIGHTS = {
    "mean": 1.0,
    "median": 0.5,
    "low": 0.125,
    "high": 0.125,
    "pdf": 0.05,
    "mean_density": 4.0,
    "bispectrum": 0.25,
}
PERCENTILES = {"low": 16, "median": 50, "high": 84}
RARE = 1e-5  # a voxel fraction below which the training set's own PDF is noise
N_DRAWS = 100  # sets drawn again with replacement, for an error
SEED = 0  # of these draws


@dataclass(frozen=True)
class Summary:
    """Statistics of a set of subvolumes, a row each."""

    power: np.ndarray  # (n, nk) [(Mpc/h)³]
    pdf: np.ndarray  # (n, nbins) fraction of voxels
    mean_density: np.ndarray  # (n,) in units of the universe's
    bispectrum: np.ndarray  # (n, nt) [(Mpc/h)⁶]; nt = 0: it is not asked for

    @classmethod
    def join(cls, parts: "list[Summary]") -> "Summary":
        """Return the summary of all parts' subvolumes."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows(self, which: np.ndarray) -> "Summary":
        """Return the summary of some of the subvolumes."""
        return Summary(*(getattr(self, field.name)[which] for field in fields(self)))

    def features(self) -> dict[str, np.ndarray]:
        """Return the statistics that are compared: percentiles and means over the subvolumes."""
        features = dict(zip(PERCENTILES, np.percentile(self.power, list(PERCENTILES.values()), axis=0), strict=True))
        features |= {"mean": self.power.mean(0), "pdf": self.pdf.mean(0)}
        features["mean_density"] = self.mean_density.mean(keepdims=True)
        if self.bispectrum.shape[1]:
            features["bispectrum"] = np.median(self.bispectrum, axis=0)
        return features


def compare(samples: dict[str, np.ndarray], target: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the parts of the score and their weighted sum, ``score``.

    Parameters
    ----------
    samples, target : `Summary.features` of the samples and of the training set

    Returns
    -------
    dict
        ``mean``, ``low``, ``median``, ``high``: of the mean and the 16th, 50th and 84th percentile of P(k), mean over
        k; ``pdf``: of the mean voxel PDF, mean over the bins that the target fills; ``mean_density``; ``bispectrum``:
        of its median, mean over the triangles, when it is measured.
    """
    filled = target["pdf"] > RARE
    parts = {name: _log_distance(samples[name], target[name]) for name in ("mean", *PERCENTILES)}
    parts["pdf"] = _log_distance(samples["pdf"][filled] + RARE, target["pdf"][filled] + RARE)
    parts["mean_density"] = _log_distance(samples["mean_density"], target["mean_density"])
    if "bispectrum" in target:  # which can be negative
        parts["bispectrum"] = float(np.mean((samples["bispectrum"] / target["bispectrum"] - 1) ** 2))
    return {"score": sum(WEIGHTS[name] * value for name, value in parts.items()), **parts}


def score(samples: Summary, target: dict[str, np.ndarray]) -> dict[str, float]:
    """Return what `compare` does, and ``error``: the score's standard deviation when the samples are drawn again."""
    draws = [compare(samples.rows(rows).features(), target)["score"] for rows in _draws(len(samples.power))]
    return {**compare(samples.features(), target), "error": float(np.std(draws))}


def amplitude(samples: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return the logarithm of the amplitude of the mean power, and its standard deviation when both are drawn again.

    It is the mean over k of ln(mean P(k) / the target's mean P(k)): 0 when the samples have the target's power.

    Parameters
    ----------
    samples, target : (n, nk) P(k) of each subvolume
    """
    resamples = zip(_draws(len(samples)), _draws(len(target)), strict=True)
    draws = [_log_ratio(samples[rows].mean(0), target[target_rows].mean(0)).mean() for rows, target_rows in resamples]
    return float(_log_ratio(samples.mean(0), target.mean(0)).mean()), float(np.std(draws))


def _draws(n: int) -> list[np.ndarray]:
    random = np.random.default_rng(SEED)
    return [random.integers(n, size=n) for _ in range(N_DRAWS)]


def _log_distance(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean(_log_ratio(values, expected) ** 2))


def _log_ratio(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return ln(values / expected); a value that is not positive counts as a factor 1e6 too low."""
    with np.errstate(all="ignore"):
        ratio = np.log(values / expected)
    return np.where(np.isfinite(ratio), ratio, -np.log(1e6))
