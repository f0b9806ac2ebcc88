"""Find the nearest neighbours of volumes under the 48 symmetries of the cube, and their diversity.

A volume's fingerprint is its density on a coarse grid of 8³ cells, c = ρ/(ρ + 1), less its mean, scaled to unit length.
The dot product of two fingerprints is the correlation coefficient of the two coarse fields: 1 for copies, whatever has
happened to their small scales, near 0 for volumes that have nothing in common. Large matrices of them are cheap, so
that every generated volume is compared with every training volume, in all 48 orientations.
"""

import itertools
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosmogan.statistics.fields import Density, batch, pieces
from cosmogan.statistics.result import Result, axes, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 8  # cells a side of the coarse grid
N_SYMMETRIES = 48
ROWS_AT_ONCE = 512
SAME = 1 - 1e-6  # the similarity of a volume to itself, but for rounding


@dataclass(frozen=True)
class Neighbours(Result):
    """The nearest of some volumes to each of others."""

    #: (n,) correlation coefficient of the coarse fields, 1 for a copy
    similarity: np.ndarray = field(metadata=quantity("sample"))
    #: (n,) int64, which one it is
    row: np.ndarray = field(metadata=quantity("sample"))
    #: (n,) int64, in which of the 48 orientations; 0: as it is
    symmetry: np.ndarray = field(metadata=quantity("sample"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the distribution of the similarities; return the axes."""
        ax = axes(ax)
        edges = np.linspace(min(self.similarity.min(), 0), 1, 50)
        ax.hist(self.similarity, edges.tolist(), histtype="step")
        ax.set(xlabel="similarity to the nearest volume", ylabel="volumes")
        return ax


NO_STRUCTURE = 1e-9  # length of a fingerprint before it is scaled; less is rounding


def fingerprint(density: Density) -> np.ndarray:
    """Return the fingerprints of volumes, (b, 512) float32 of unit length.

    Uniform volumes have no structure and one fingerprint, a constant, which no other volume resembles.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n) in units of the mean density, not negative
    """
    side = (min(SIDE, batch(density).shape[1]),) * 3
    parts = []
    for part in pieces(batch(density)):
        coarse = functional.adaptive_avg_pool3d(part[:, None], side).reshape(len(part), -1).double()
        scaled = coarse / (coarse + 1)
        structure = scaled - scaled.mean(dim=1, keepdim=True)
        uniform = structure.norm(dim=1, keepdim=True) < NO_STRUCTURE
        parts.append(functional.normalize(torch.where(uniform, 1.0, structure)).float())
    return torch.cat(parts).cpu().numpy()


def nearest(
    volumes: np.ndarray, others: np.ndarray, own: np.ndarray | None = None, device: torch.device | str = "cpu"
) -> Neighbours:
    """Find the nearest of some volumes to each of others, in any of the 48 orientations.

    Parameters
    ----------
    volumes : (n, d) fingerprints
    others : (m, d) fingerprints; m > 0
    own : (n,) the row of ``others`` that is the volume itself, and is passed over; -1: none is
    device : where similarities are computed

    Raises
    ------
    ValueError
        when the fingerprints are not of one length, or there are none to compare with.
    """
    if len(others) == 0 or volumes.shape[1] != others.shape[1]:
        raise ValueError(f"fingerprints: expected some of one length, found shapes {volumes.shape} and {others.shape}")
    target = torch.from_numpy(np.ascontiguousarray(others)).to(device).T
    images = _images(round(volumes.shape[1] ** (1 / 3))).to(device)
    batches = []
    for start in range(0, len(volumes), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        skipped = None if own is None else torch.from_numpy(own[part]).to(device)
        batches.append(_nearest(torch.from_numpy(volumes[part]).to(device), target, images, skipped))
    similarity, row, symmetry = (torch.cat(columns).cpu().numpy() for columns in zip(*batches, strict=True))
    return Neighbours(similarity.astype(np.float64), row, symmetry)


def _nearest(volumes: Tensor, target: Tensor, images: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    best = volumes.new_full((len(volumes),), -torch.inf)
    row, symmetry = torch.zeros_like(best, dtype=torch.int64), torch.zeros_like(best, dtype=torch.int64)
    for number, image in enumerate(images):
        similarity = volumes[:, image] @ target
        if own is not None:
            in_target = torch.nonzero(own >= 0)[:, 0]
            similarity[in_target, own[in_target]] = -torch.inf
        value, place = similarity.max(dim=1)
        better = value > best
        best, row = torch.where(better, value, best), torch.where(better, place, row)
        symmetry[better] = number
    return best, row, symmetry


def oriented(density: Density, symmetry: int) -> Tensor:
    """Return volumes in one of the 48 orientations, (b, n, n, n): 0 leaves them as they are."""
    order, flips = _symmetry(symmetry)
    turned = batch(density).permute(0, *(axis + 1 for axis in order))
    return turned.flip([axis + 1 for axis in range(3) if flips[axis]])


def _symmetry(number: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    orders, flips = itertools.permutations(range(3)), itertools.product((False, True), repeat=3)
    return list(itertools.product(orders, flips))[number]


@lru_cache(maxsize=4)
def _images(side: int) -> Tensor:
    """Return where the cells of each orientation come from, (48, side³) int64."""
    cells = torch.arange(side**3, dtype=torch.float64).reshape(side, side, side)
    return torch.stack([oriented(cells, number).reshape(-1).long() for number in range(N_SYMMETRIES)])


def copies_threshold(similarity: np.ndarray) -> float:
    """Return the similarity above which two volumes are called copies: halfway from the largest of real ones to 1.

    Parameters
    ----------
    similarity : (n,) of real volumes to their nearest; those that are there twice do not count
    """
    return float((1 + similarity[similarity < SAME].max(initial=0)) / 2)


def diversity(fingerprints: np.ndarray) -> float:
    """Return the effective number of different volumes: the Vendi score (Friedman & Dieng 2022, arXiv:2210.02410).

    It is exp(-Σ λ ln λ) over the eigenvalues λ of the matrix of similarities over n: n when all volumes are unrelated,
    1 when all are one. It grows with n, so compare sets of equal size.

    Parameters
    ----------
    fingerprints : (n, d)
    """
    wide = fingerprints.astype(np.float64)
    return _vendi(wide.T @ wide if len(wide) > wide.shape[1] else wide @ wide.T)  # both have the same eigenvalues


def diversities(fingerprints: np.ndarray, groups: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the diversity of volumes, and that without one group each, (n_groups,).

    Parameters
    ----------
    fingerprints : (n, d)
    groups : (n,) the number of each volume's group
    """
    wide, chosen = fingerprints.astype(np.float64), [groups == group for group in np.unique(groups)]
    if len(wide) <= wide.shape[1]:
        similar = wide @ wide.T
        return _vendi(similar), np.array([_vendi(similar[~own][:, ~own]) for own in chosen])
    products = np.stack([wide[own].T @ wide[own] for own in chosen])
    total = products.sum(axis=0)
    return _vendi(total), np.array([_vendi(total - product) for product in products])


def _vendi(products: np.ndarray) -> float:
    """Return the Vendi score of a matrix of similarities, or of the smaller one that has the same eigenvalues."""
    values = np.linalg.eigvalsh(products)
    share = values[values > 0] / values.sum() if values.sum() > 0 else np.ones(1)
    return float(np.exp(-(share * np.log(share)).sum()))
