"""Fourier conventions of the whole project, wavenumber bins, and sums over modes.

A subvolume of n³ cells and side L [Mpc/h] is treated as periodic. With cells x_j = j L/n and modes k = k_F q,
k_F = 2π/L, q an integer vector with components from -n/2 to n/2 - 1:

    delta(x)   = density(x) - <density>          density = ρ/ρ̄, the mean over the subvolume itself is taken off
    delta_k(q) = Σ_j delta(x_j) exp(-2πi q·j/n)   unnormalised, as torch.fft.rfftn gives it
    P(k)       = V/n⁶ <|delta_k|²>                [(Mpc/h)³], V = L³

delta is *not* divided by the subvolume's own mean: it is the fluctuation in units of the mean of the universe.
No window and no shot noise are corrected for. ``docs/conventions.md`` says the rest.

Half of a real field's modes are stored (last component 0 … n/2); each stored mode stands for itself and for its
complex conjugate, so it has weight 2, except in the planes 0 and n/2, which hold both already and have weight 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# Wavenumbers k_F |q| and edges are rounded numbers: a mode within this fraction below an edge counts as on it.
EDGE_TOLERANCE = 1e-7


def k_fundamental(box_size: float) -> float:
    """Return the smallest wavenumber of a periodic cube of side ``box_size`` [Mpc/h], in h/Mpc."""
    return 2 * math.pi / box_size


def k_nyquist(box_size: float, n: int) -> float:
    """Return the largest wavenumber along an axis, π/cell [h/Mpc]; the corners reach √3 times as far."""
    return math.pi * n / box_size


def linear_edges(box_size: float, n: int, n_bins: int | None = None) -> np.ndarray:
    """Return edges of bins that are linear in k, from the fundamental to beyond the corner.

    Parameters
    ----------
    box_size : side of the cube [Mpc/h]
    n : cells a side
    n_bins : number of bins; None: each as wide as the fundamental

    Returns
    -------
    (n_bins + 1,) float64 [h/Mpc]; a bin holds its lower edge and not its upper one

    Raises
    ------
    ValueError
        when bins would be narrower than the fundamental.
    """
    widest = math.isqrt(3 * (n // 2) ** 2)  # the corner mode's |q|, rounded down
    n_bins = widest if n_bins is None else n_bins
    if not 1 <= n_bins <= widest:
        raise ValueError(f"expected 1 to {widest} wavenumber bins for {n}³ cells, found {n_bins}")
    return k_fundamental(box_size) * np.linspace(1, widest + 1, n_bins + 1)


def fluctuations(density: Tensor) -> Tensor:
    """Return delta: each field minus its own mean, which is summed in float64.

    Parameters
    ----------
    density : (b, n, n, n) in units of the mean density

    Returns
    -------
    (b, n, n, n) of the same type
    """
    mean = density.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return density - mean.to(density.dtype)


def transform(density: Tensor) -> Tensor:
    """Return delta_k, the unnormalised transform of the fluctuations of a batch, (b, n, n, n//2 + 1) complex."""
    return torch.fft.rfftn(fluctuations(density), dim=(1, 2, 3))


def half_spectrum(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return |q| of the stored half of the modes and how many modes each stands for.

    Returns
    -------
    q : (n, n, n//2 + 1) float64, in units of the fundamental; whole numbers are exact
    weight : (n, n, n//2 + 1) float64, 1 or 2
    """
    axis = np.fft.fftfreq(n, 1 / n)
    last = np.arange(n // 2 + 1, dtype=np.float64)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + last**2)
    weight = np.where((last == 0) | (2 * last == n), 1.0, 2.0)
    return q, np.broadcast_to(weight, q.shape)


@dataclass(frozen=True)
class Bins:
    """The modes of a grid sorted into wavenumber bins: computed once for a geometry."""

    k: np.ndarray  # (nk,) mean |k| of the modes of a bin [h/Mpc]
    n_modes: np.ndarray  # (nk,) modes of the full sphere, conjugates counted too
    index: Tensor  # (modes,) int64, the bin of each stored mode; nk: outside of all
    weight: Tensor  # (modes,) float64, how many modes each stored one stands for

    def means(self, values: Tensor) -> np.ndarray:
        """Return the mean over each bin's modes, summed in float64, sample by sample.

        Parameters
        ----------
        values : (b, n, n, n//2 + 1) real

        Returns
        -------
        (b, nk) float64; NaN in a bin without modes
        """
        n_bins = len(self.k)
        sums = [
            torch.bincount(self.index, weights=sample.reshape(-1).double() * self.weight, minlength=n_bins + 1)
            for sample in values
        ]
        with np.errstate(invalid="ignore"):
            return torch.stack(sums)[:, :n_bins].cpu().numpy() / self.n_modes


def bins(box_size: float, n: int, k_edges: np.ndarray, device: torch.device) -> Bins:
    """Sort the modes of a cube into bins, or return what an earlier call made.

    Parameters
    ----------
    box_size : side of the cube [Mpc/h]
    n : cells a side
    k_edges : (nk + 1,) rising [h/Mpc]; a bin holds its lower edge
    device : where the index is wanted
    """
    return _bins(box_size, n, tuple(map(float, k_edges)), str(device))


@lru_cache(maxsize=16)
def _bins(box_size: float, n: int, k_edges: tuple[float, ...], device: str) -> Bins:
    q, weight = half_spectrum(n)
    edges = np.asarray(k_edges) / k_fundamental(box_size) * (1 - EDGE_TOLERANCE)
    n_bins = len(edges) - 1
    index = np.searchsorted(edges, q.ravel(), side="right") - 1
    index[(index < 0) | (index >= n_bins)] = n_bins
    weight = weight.ravel()
    n_modes = np.bincount(index, weight, n_bins + 1)[:n_bins]
    with np.errstate(invalid="ignore"):
        k = np.bincount(index, weight * q.ravel(), n_bins + 1)[:n_bins] / n_modes * k_fundamental(box_size)
    return Bins(k, n_modes, torch.from_numpy(index).to(device), torch.from_numpy(weight.copy()).to(device))
