"""Define the project's Fourier conventions and wavenumber bins, and sum over modes.

A subvolume of n³ cells and side L [Mpc/h] is treated as periodic. With cells x_j = j L/n and modes k = k_F q,
k_F = 2π/L, q an integer vector with components from -n/2 to n/2 - 1:

    delta(x)   = density(x) - <density>          density = ρ/ρ̄, the mean over the subvolume itself is taken off
    delta_k(q) = Σ_j delta(x_j) exp(-2πi q·j/n)   unnormalised, as torch.fft.rfftn gives it
    P(k)       = V/n⁶ <|delta_k|²>                [(Mpc/h)³], V = L³

delta is *not* divided by the subvolume's own mean: it is the fluctuation in units of the mean of the universe.
By default neither window nor shot noise is corrected for (`Correction`). ``docs/conventions.md`` says the rest.

Half of a real field's modes are stored (last component 0 … n/2); each stored mode stands for itself and for its
complex conjugate, so it has weight 2, except in the planes 0 and n/2, which hold both already and have weight 1.

|q|² is a whole number. So sums over modes are made in two steps: first over all modes of equal |q|² (`sphere_sums`),
in float64, then over the few thousand spheres, for any number of bins.
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
    """Return the smallest wavenumber of a periodic cube of side ``box_size`` [Mpc/h], in h/Mpc.

    Raises
    ------
    ValueError
        when ``box_size`` is no positive length.
    """
    if not 0 < box_size < math.inf:
        raise ValueError(f"box_size: expected a positive length in Mpc/h, found {box_size}")
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


def paper_edges(box_size: float, n: int, h: float) -> np.ndarray:
    """Return the paper's logarithmic bins, 10^linspace(-1, 2, 30) per Mpc, as far as the grid has modes in them.

    Parameters
    ----------
    box_size : side of the cube [Mpc/h]
    n : cells a side
    h : turns the paper's 1/Mpc into h/Mpc: k [1/Mpc] = h k [h/Mpc]

    Returns
    -------
    (n_bins + 1,) float64 [h/Mpc]

    Raises
    ------
    ValueError
        when a bin between two others has no mode.
    """
    edges = np.logspace(-1, 2, 30) / h
    used = np.flatnonzero(bins(box_size, n, edges, torch.device("cpu")).n_modes)
    if len(used) == 0 or len(used) <= used[-1] - used[0]:
        raise ValueError(f"{n}³ cells in {box_size:g} Mpc/h leave some of the paper's wavenumber bins without modes")
    return edges[used[0] : used[-1] + 2]


@dataclass(frozen=True)
class Correction:
    """Corrections of spectra: by default none, as in the paper."""

    window: int = 0  #: order of the mass assignment whose transform is divided out: NGP 1, CIC 2, TSC 3, PCS 4; 0: none
    shot_noise: float = 0.0  #: 1/n̄ [(Mpc/h)³], taken off auto spectra; box volume over the number of particles

    def __post_init__(self) -> None:
        if self.window not in range(5):
            raise ValueError(f"window: expected the order of a mass assignment, 1 to 4, or 0, found {self.window}")
        if not self.shot_noise >= 0:
            raise ValueError(f"shot_noise: expected no negative power, found {self.shot_noise}")


NONE = Correction()


def transform(density: Tensor, window: int = 0) -> Tensor:
    """Return delta_k, the unnormalised transform of the fluctuations of a batch.

    Its mode 0 is no more than rounding: the mean is taken off in the field's own type. No statistic uses that mode.

    Parameters
    ----------
    density : (b, n, n, n)
    window : order of the mass assignment to divide out, Π sinc(π q_i/n)^window; 0: none

    Returns
    -------
    (b, n, n, n//2 + 1) complex
    """
    delta_k = torch.fft.rfftn(density - density.mean(dim=(1, 2, 3), keepdim=True), dim=(1, 2, 3))
    if window:
        delta_k /= _window(density.shape[1], window, str(density.device)).to(density.dtype)
    return delta_k


@lru_cache(maxsize=4)
def _window(n: int, order: int, device: str) -> Tensor:
    axis, last = np.sinc(np.fft.fftfreq(n)) ** order, np.sinc(np.arange(n // 2 + 1) / n) ** order
    return torch.from_numpy(axis[:, None, None] * axis[None, :, None] * last).to(device)


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


def n_spheres(n: int) -> int:
    """Return the number of whole numbers that |q|² can reach, 0 included."""
    return 3 * (n // 2) ** 2 + 1


def sphere_sums(values: Tensor) -> Tensor:
    """Sum over all modes of equal |q|², those of the half that is not stored too, in float64.

    Parameters
    ----------
    values : (b, n, n, n//2 + 1) real, even in q

    Returns
    -------
    (b, n_spheres) float64
    """
    n = values.shape[1]
    index, weight = _octant(n, str(values.device))
    folded = (_folded(_folded(values, 1), 2) * weight).flatten(1)
    sums = folded.new_zeros((len(values), n_spheres(n)))
    return sums.scatter_add_(1, index.expand_as(folded), folded)


def _folded(values: Tensor, axis: int) -> Tensor:
    """Add components -q to q along an axis, in float64: |q| is the same, and later steps have half as much to do."""
    n = values.shape[axis]
    n_mirrored = (n - 1) // 2
    kept = values.narrow(axis, 0, n // 2 + 1).to(torch.float64, copy=True)
    kept.narrow(axis, 1, n_mirrored).add_(values.narrow(axis, n - n_mirrored, n_mirrored).flip(axis))
    return kept


@lru_cache(maxsize=4)
def _octant(n: int, device: str) -> tuple[Tensor, Tensor]:
    """Return |q|² of the modes with no negative component, and how many stored ones the last axis stands for."""
    square = torch.arange(n // 2 + 1) ** 2
    index = square[:, None, None] + square[None, :, None] + square
    weight = torch.from_numpy(half_spectrum(n)[1][0, 0].copy())
    return index.reshape(-1).to(device), weight.to(device)


@dataclass(frozen=True)
class Bins:
    """The modes of a grid sorted into wavenumber bins: computed once for a geometry."""

    k: np.ndarray  # (nk,) mean |k| of the modes of a bin [h/Mpc]
    n_modes: np.ndarray  # (nk,) modes of the full sphere, conjugates counted too
    corner_fraction: np.ndarray  # (nk,) of them, the fraction with |k| above Nyquist, in corners of Fourier space
    members: Tensor  # (n_spheres, nk) float64: 1 where a sphere lies in a bin

    def means(self, sums: Tensor) -> np.ndarray:
        """Return means over each bin's modes, (b, nk), of sums over spheres, (b, n_spheres); NaN in empty bins."""
        with np.errstate(invalid="ignore"):
            return (sums @ self.members).cpu().numpy() / self.n_modes


def bins(box_size: float, n: int, k_edges: np.ndarray, device: torch.device) -> Bins:
    """Sort the modes of a cube into bins; the result is cached.

    Parameters
    ----------
    box_size : side of the cube [Mpc/h]
    n : cells a side
    k_edges : (nk + 1,) rising [h/Mpc]; a bin holds its lower edge, and none holds q = 0
    device : where the sums are
    """
    return _bins(box_size, n, tuple(map(float, k_edges)), str(device))


@lru_cache(maxsize=16)
def _bins(box_size: float, n: int, k_edges: tuple[float, ...], device: str) -> Bins:
    counts = sphere_sums(torch.ones(1, n, n, n // 2 + 1))[0].numpy()
    q = np.sqrt(np.arange(len(counts)))
    edges = np.asarray(k_edges) / k_fundamental(box_size) * (1 - EDGE_TOLERANCE)
    members = ((q[:, None] >= edges[:-1]) & (q[:, None] < edges[1:]) & (q[:, None] > 0)).astype(np.float64)
    n_modes = counts @ members
    with np.errstate(invalid="ignore"):
        k = (counts * q) @ members / n_modes * k_fundamental(box_size)
        corner = (counts * (2 * q > n)) @ members / n_modes
    return Bins(k, n_modes, corner, torch.from_numpy(members).to(device))
