"""How near a set of samples comes to the training set: squared log-ratios of their summary statistics."""

from dataclasses import dataclass, fields

import numpy as np

# The paper compares mean power spectra and voxel PDFs by eye; here is what each part counts in the sum. A mean
# density off by 5 % weighs as much as a power spectrum off by 10 % at every k.
WEIGHTS = {"power": 1.0, "scatter": 0.25, "pdf": 0.05, "mean_density": 4.0}
PERCENTILES = (16, 84)
RARE = 1e-5  # a voxel fraction below which the training set's own PDF is noise


@dataclass(frozen=True)
class Summary:
    """Statistics of a set of subvolumes, a row each."""

    power: np.ndarray  # (n, nk) [(Mpc/h)³]
    pdf: np.ndarray  # (n, nbins) fraction of voxels
    mean_density: np.ndarray  # (n,) in units of the universe's

    @classmethod
    def join(cls, parts: "list[Summary]") -> "Summary":
        """Return the summary of all parts' subvolumes."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def compare(samples: Summary, target: Summary) -> dict[str, float]:
    """Return the parts of the score, and their weighted sum as ``score``; smaller is nearer, 0 is equal.

    Parameters
    ----------
    samples, target : with the same bins

    Returns
    -------
    dict
        ``power``: of the mean P(k), mean over k; ``scatter``: the same for the 16th and 84th percentile of P(k);
        ``pdf``: of the mean voxel PDF, mean over the bins that the target fills; ``mean_density``.
    """
    filled = target.pdf.mean(0) > RARE
    parts = {
        "power": _distance(samples.power.mean(0), target.power.mean(0)),
        "scatter": _distance(*(np.percentile(s.power, PERCENTILES, axis=0) for s in (samples, target))),
        "pdf": _distance(samples.pdf.mean(0)[filled] + RARE, target.pdf.mean(0)[filled] + RARE),
        "mean_density": _distance(samples.mean_density.mean(), target.mean_density.mean()),
    }
    return {"score": sum(WEIGHTS[name] * value for name, value in parts.items()), **parts}


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the mean squared log-ratio; a value that is not positive counts as a factor 1e6 off."""
    with np.errstate(all="ignore"):
        ratio = np.log(found / expected)
    return float(np.mean(np.where(np.isfinite(ratio), ratio, np.log(1e6)) ** 2))
