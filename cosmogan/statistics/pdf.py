"""One-point statistics: the distribution of the density of a voxel, the mean density, and counts of peaks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics.fields import Density, batch, pieces, rising
from cosmogan.statistics.result import Result, axes, band


@dataclass(frozen=True)
class VoxelPDF(Result):
    """The fraction of each sample's voxels in each bin."""

    edges: np.ndarray  # (nbins + 1,) in the units of the field
    fraction: np.ndarray  # (b, nbins) float64

    def plot(self, ax: Any = None) -> Any:
        """Draw the samples' median fraction a bin and its 16 to 84 %; return the axes."""
        ax = axes(ax)
        band(ax, _middle(self.edges), self.fraction)
        ax.set(yscale="log", xscale=_scale(self.edges), xlabel="voxel", ylabel="fraction of voxels")
        return ax


@dataclass(frozen=True)
class PeakCounts(Result):
    """How many local maxima each sample has, by their density."""

    edges: np.ndarray  # (nbins + 1,) in units of the mean density
    count: np.ndarray  # (b, nbins) float64: peaks a subvolume

    def plot(self, ax: Any = None) -> Any:
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
    counts = [_histogram(sample, bounds) for sample in fields]
    return VoxelPDF(bounds, _rows(counts) / fields[0].numel())


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
    counts = [_histogram(sample, bounds) for part in pieces(batch(density)) for sample in _peaks(part)]
    return PeakCounts(bounds, _rows(counts))


def _peaks(density: Tensor) -> list[Tensor]:
    """Return the densities of each sample's peaks."""
    largest, others = density, None  # of the voxels of a line, a plane, a cube around each; `others`: but for itself
    for axis in (1, 2, 3):
        n = density.shape[axis]
        below, middle, above = (largest.narrow(axis, start, n - 2) for start in range(3))
        beside = torch.maximum(below, above)
        others = beside if others is None else torch.maximum(beside, others.narrow(axis, 1, n - 2))
        largest = torch.maximum(beside, middle)
    inner = density[:, 1:-1, 1:-1, 1:-1]
    return [sample[sample > limit] for sample, limit in zip(inner, others, strict=True)]


def _histogram(values: Tensor, edges: np.ndarray) -> Tensor:
    """Count values in bins that hold their lower edge, the last one its upper edge too; (nbins,) int64."""
    boundaries = torch.tensor(edges, dtype=values.dtype)
    boundaries[-1] = torch.nextafter(boundaries[-1], boundaries.new_tensor(torch.inf))  # so the last edge is inside
    return torch.searchsorted(_sorted(values.reshape(-1)), boundaries.to(values.device, non_blocking=True)).diff()


def _sorted(values: Tensor) -> Tensor:
    """Return values in rising order; on a CPU numpy sorts ten times faster than torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


def _rows(counts: list[Tensor]) -> np.ndarray:
    return torch.stack(counts).cpu().numpy().astype(np.float64)


def _middle(edges: np.ndarray) -> np.ndarray:
    return np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2


def _scale(edges: np.ndarray) -> str:
    return "log" if edges[0] > 0 else "linear"
