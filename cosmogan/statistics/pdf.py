"""One-point statistics: the distribution of the density of a voxel, and the mean density of a subvolume."""

import numpy as np
import torch
from torch import Tensor


def scaled_edges() -> np.ndarray:
    """Return the edges of 49 equal bins on [-1, 1], (50,), for densities scaled by eq. (5) of Feder et al. 2020."""
    return np.linspace(-1, 1, 50)


def unscaled_edges() -> np.ndarray:
    """Return the edges of 49 logarithmic bins on 10^[-4, 4], (50,), for densities in units of the mean."""
    return np.logspace(-4, 4, 50)


def voxel_pdf(density: Tensor, edges: np.ndarray) -> np.ndarray:
    """Count the fraction of each sample's voxels that lie in each bin.

    Bins hold their lower edge, the last one its upper edge too. Voxels outside all bins (empty cells, on logarithmic
    bins) count in the total, so a row sums to the fraction that lies inside. Divide by the widths of the bins for a
    probability density, by the widths of their logarithms for one per logarithm.

    Parameters
    ----------
    density : (b, ...) real
    edges : (nbins + 1,) rising, in the units of ``density``

    Returns
    -------
    (b, nbins) float64
    """
    n_bins = len(edges) - 1
    values = density.reshape(len(density), -1)
    boundaries = torch.as_tensor(edges, dtype=values.dtype, device=values.device).clone()
    boundaries[-1] = torch.nextafter(boundaries[-1], boundaries.new_tensor(torch.inf))  # so the last edge is inside
    place = torch.bucketize(values, boundaries, right=True, out_int32=True)  # 0: below all bins; n_bins + 1: above
    counts = torch.stack([torch.bincount(row, minlength=n_bins + 2)[1 : n_bins + 1] for row in place])
    return counts.cpu().numpy() / values.shape[1]


def mean_density(density: Tensor) -> np.ndarray:
    """Return each sample's mean over its voxels, (b,) float64, in units of the mean density of the universe."""
    return density.reshape(len(density), -1).mean(dim=1, dtype=torch.float64).cpu().numpy()
