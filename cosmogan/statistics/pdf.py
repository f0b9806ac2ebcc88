"""Compute one-point statistics: the PDF of the density of a voxel, the mean density, and counts of peaks."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics.fields import Density, batch, pieces, rising
from cosmogan.statistics.result import Result, axes, band, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class VoxelPDF(Result):
    """The fraction of each sample's voxels in each bin."""

    #: (nbins + 1,) in the units of the field
    edges: np.ndarray = field(metadata=quantity("edge", units=None))
    #: (b, nbins) float64
    fraction: np.ndarray = field(metadata=quantity("sample", "bin"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the samples' median fraction a bin and its 16 to 84 %; return the axes."""
        ax = axes(ax)
        band(ax, _middle(self.edges), self.fraction)
        ax.set(yscale="log", xscale=_scale(self.edges), xlabel="voxel", ylabel="fraction of voxels")
        return ax


@dataclass(frozen=True)
class PeakCounts(Result):
    """The counts of local maxima of each sample, by their density."""

    #: (nbins + 1,) in units of the mean density
    edges: np.ndarray = field(metadata=quantity("edge"))
    #: (b, nbins) float64: peaks a subvolume
    count: np.ndarray = field(metadata=quantity("sample", "bin"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the samples' median counts and their 16 to 84 %; return the axes."""
        ax = axes(ax)
        band(ax, _middle(self.edges), self.count)
        ax.set(yscale="symlog", xscale=_scale(self.edges), xlabel="density of the peak, ρ/ρ̄", ylabel="peaks a bin")
        return ax


def scaled_edges() -> np.ndarray:
    """Return the edges of 49 equal bins on [-1, 1], (50,), for densities scaled by eq. (5) of Feder et al. 2020."""
    return np.linspace(-1, 1, 50)


def unscaled_edges() -> np.ndarray:
    """Return the edges of 49 logarithmic bins on 10^[-4, 4], (50,), for densities in units of the mean."""
    return np.logspace(-4, 4, 50)


def peak_edges() -> np.ndarray:
    """Return the edges of 24 logarithmic bins on 10^[-1, 3.8], (25,), for peaks in units of the mean density."""
    return np.logspace(-1, 3.8, 25)


def voxel_pdf(density: Density, edges: np.ndarray) -> VoxelPDF:
    """Count the fraction of each sample's voxels that lie in each bin.

    Bins hold their lower edge, the last one its upper edge too. Voxels outside all bins (empty cells, on logarithmic
    bins) count in the total, so a row sums to the fraction that lies inside. Divide by the widths of the bins for a
    probability density, by the widths of their logarithms for one per logarithm.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n) real
    edges : (nbins + 1,) rising, in the units of ``density``
    """
    fields, bounds = batch(density), rising(edges, "edges")
    return VoxelPDF(bounds, _counts(fields, bounds) / fields[0].numel())


def mean_density(density: Density) -> np.ndarray:
    """Return each sample's mean over its voxels, (b,) float64, in units of the mean density of the universe."""
    parts = [part.double().mean(dim=(1, 2, 3)) for part in pieces(batch(density))]
    return torch.cat(parts).cpu().numpy()


def peak_counts(density: Density, edges: np.ndarray | None = None) -> PeakCounts:
    """Count the voxels that are denser than all their 26 neighbours, by density.

    Voxels in the faces of the cube, not all of whose neighbours are known, are no peaks.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n) in units of the mean density
    edges : (nbins + 1,) rising; a bin holds its lower edge; None: `peak_edges`
    """
    bounds = peak_edges() if edges is None else rising(edges, "edges")
    return PeakCounts(bounds, np.concatenate([_counts(_peaks(part), bounds) for part in pieces(batch(density))]))


def _peaks(density: Tensor) -> Tensor:
    """Return the densities of each sample's peaks, -∞ in all other voxels but those in the faces."""
    # The largest of the voxels of a line, a plane, a cube around each; and of those `others` than itself.
    largest, others = density, density.new_empty(0)
    for axis in (1, 2, 3):
        n = density.shape[axis]
        below, middle, above = (largest.narrow(axis, start, n - 2) for start in range(3))
        beside = torch.maximum(below, above)
        others = beside if axis == 1 else torch.maximum(beside, others.narrow(axis, 1, n - 2))
        largest = torch.maximum(beside, middle)
    inner = density[:, 1:-1, 1:-1, 1:-1]
    return torch.where(inner > others, inner, -torch.inf)


def _counts(values: Tensor, edges: np.ndarray) -> np.ndarray:
    """Count each sample's values in bins that hold their lower edge, the last one its upper edge too.

    Parameters
    ----------
    values : (b, …)
    edges : (nbins + 1,)

    Returns
    -------
    (b, nbins) float64
    """
    boundaries = torch.tensor(edges, dtype=values.dtype)
    boundaries[-1] = torch.nextafter(boundaries[-1], boundaries.new_tensor(torch.inf))  # so the last edge is inside
    rows = values.reshape(len(values), -1)
    if values.device.type == "cpu":  # where numpy sorts ten times faster than torch
        limits = boundaries.numpy()
        places = [np.searchsorted(np.sort(row[row >= limits[0]]), limits) for row in rows.numpy()]
        return np.diff(places).astype(np.float64)
    sent = boundaries.to(values.device, non_blocking=True).expand(len(rows), -1).contiguous()
    return torch.searchsorted(rows.sort(dim=1).values, sent).diff().cpu().numpy().astype(np.float64)


def _middle(edges: np.ndarray) -> np.ndarray:
    return np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2


def _scale(edges: np.ndarray) -> str:
    return "log" if edges[0] > 0 else "linear"
