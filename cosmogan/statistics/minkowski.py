"""Compute the Minkowski functionals of the dense part of a volume: surface, curvature, and connectedness.

The dense part is what is denser than a threshold, as a body made of cubes, the cells. A cube, face, edge or corner of
the grid belongs to it when one of the cells beside it does, so when the largest of their densities reaches the
threshold. From the fractions p of cubes, faces, edges and corners that belong to it (Crofton's formula; Schmalzing &
Buchert 1997, arXiv:astro-ph/9702130), for cells of side a,

    v1 = 2/3 (p_f - p_c) / a               a sixth of the surface a volume
    v2 = 2/3 (p_e - 2 p_f + p_c) / a²      the mean curvature over 3π
    v3 = (p_v - 3 p_e + 3 p_f - p_c) / a³  the Euler number: clumps less tunnels plus cavities

Faces, edges and corners in the volume's own faces, not all of whose cells are known, do not count.

Thresholds are those above which given fractions of a volume's own cells lie. So a monotone map of the density changes
nothing: these numbers hold what one-point statistics do not. A Gaussian field has (`of_gaussian_field`)

    v1 = 2/3 λ g(ν),   v2 = 2/3 λ² ν g(ν),   v3 = λ³ (ν² - 1) g(ν),   g(ν) = exp(-ν²/2) / √(2π)
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics.fields import Density, batch, pieces
from cosmogan.statistics.result import Result, axes, band, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NU = np.arange(-0.5, 3.1, 0.5)  # thresholds, of a Gaussian field in standard deviations
ORDERS = (1, 2, 3)


@dataclass(frozen=True)
class Minkowski(Result):
    """Minkowski functionals of each sample of a batch, a volume each."""

    #: (nv,) threshold that leaves the same fraction of a Gaussian field above it
    nu: np.ndarray = field(metadata=quantity("nu"))
    #: (nv,) that fraction
    filling: np.ndarray = field(metadata=quantity("nu"))
    #: (b, 3, nv) float64: v1, v2, v3 [(Mpc/h)⁻¹, ⁻², ⁻³]
    functionals: np.ndarray = field(metadata=quantity("sample", "functional", "nu", units="(h/Mpc)^(1, 2, 3)"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the samples' median Euler number and its 16 to 84 %; return the axes."""
        ax = axes(ax)
        band(ax, self.nu, self.functionals[:, 2])
        ax.set(xlabel="threshold ν", ylabel="Euler number a volume, v₃  [(h/Mpc)³]")
        return ax


def minkowski_functionals(density: Density, box_size: float, nu: np.ndarray = NU) -> Minkowski:
    """Compute the Minkowski functionals of every sample's densest cells.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n), n > 1; only the order of its values matters
    box_size : side of the cube [Mpc/h]
    nu : (nv,) thresholds, as fractions of cells above: erfc(ν/√2)/2, at least one cell
    """
    nu = np.array(nu, np.float64, ndmin=1)
    filling = np.array([math.erfc(threshold / math.sqrt(2)) / 2 for threshold in nu])
    parts = [_fractions(part, filling) for part in pieces(batch(density))]
    cubes, faces, edges, corners = np.moveaxis(np.concatenate(parts), 2, 0)
    a = box_size / batch(density).shape[1]
    v1 = 2 / 3 * (faces - cubes) / a
    v2 = 2 / 3 * (edges - 2 * faces + cubes) / a**2
    v3 = (corners - 3 * edges + 3 * faces - cubes) / a**3
    return Minkowski(nu, filling, np.stack([v1, v2, v3], axis=1))


def of_gaussian_field(nu: np.ndarray, gradient: float) -> np.ndarray:
    """Return the mean functionals of a Gaussian field, (3, nv).

    Parameters
    ----------
    nu : (nv,) thresholds in standard deviations
    gradient : rms of the field's gradient over its standard deviation [h/Mpc]; λ is it over √(6π)
    """
    width = gradient / math.sqrt(6 * math.pi)
    gauss = np.exp(-(nu**2) / 2) / math.sqrt(2 * math.pi)
    return np.stack([2 / 3 * width * gauss, 2 / 3 * width**2 * nu * gauss, width**3 * (nu**2 - 1) * gauss])


def _fractions(density: Tensor, filling: np.ndarray) -> np.ndarray:
    """Return the fractions of cubes, faces, edges and corners above each threshold, (b, nv, 4) float64."""
    limits = _thresholds(density, filling)
    fractions = torch.zeros((*limits.shape, 4), dtype=torch.float64, device=density.device)
    for along in itertools.product((False, True), repeat=3):
        largest = density
        for axis in (axis + 1 for axis in range(3) if along[axis]):
            n = largest.shape[axis] - 1
            largest = torch.maximum(largest.narrow(axis, 0, n), largest.narrow(axis, 1, n))
        kind, flat = sum(along), largest.flatten(1)
        for i in range(limits.shape[1]):
            above = torch.count_nonzero(flat >= limits[:, i : i + 1], dim=1)
            fractions[:, i, kind] += above.double() / (flat.shape[1] * math.comb(3, kind))
    return fractions.cpu().numpy()


def _thresholds(density: Tensor, filling: np.ndarray) -> Tensor:
    """Return the densities of the least dense cells among the densest ones, (b, nv)."""
    flat = density.flatten(1)
    n = flat.shape[1]
    places = n - np.clip(np.round(filling * n).astype(int), 1, n)
    if flat.device.type == "cpu":
        return torch.from_numpy(np.partition(flat.numpy(), places, axis=1)[:, places])
    return flat.sort(dim=1).values[:, torch.from_numpy(places).to(flat.device)]
