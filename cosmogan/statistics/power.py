"""Power spectra and cross power spectra of batches of subvolumes."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cosmogan.statistics import fourier


@dataclass(frozen=True)
class PowerSpectrum:
    """P(k) of each sample of a batch, with its bins."""

    k: np.ndarray  # (nk,) mean |k| of a bin's modes [h/Mpc]
    k_edges: np.ndarray  # (nk + 1,) lower edges are inclusive [h/Mpc]
    n_modes: np.ndarray  # (nk,) modes of the full sphere, conjugates counted too
    power: np.ndarray  # (b, nk) float64 [(Mpc/h)³]


def power_spectrum(density: Tensor, box_size: float, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Compute P(k) = V/n⁶ <|delta_k|²> of every sample.

    Parameters
    ----------
    density : (b, n, n, n) in units of the mean density; each sample's own mean is taken off
    box_size : side of the cube [Mpc/h]
    k_edges : (nk + 1,) [h/Mpc]; None: `fourier.linear_edges`, one bin a fundamental up to the corner

    Returns
    -------
    PowerSpectrum

    Raises
    ------
    ValueError
        when ``density`` is no batch of cubes.
    """
    delta_k = fourier.transform(checked(density))
    return _spectrum(delta_k, delta_k, box_size, k_edges)


def cross_power(first: Tensor, second: Tensor, box_size: float, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Compute the cross power V/n⁶ <Re(delta1_k delta2_k*)> of every pair.

    Parameters
    ----------
    first, second : (b, n, n, n) in units of the mean density
    box_size, k_edges : as in `power_spectrum`
    """
    return _spectrum(fourier.transform(checked(first)), fourier.transform(checked(second)), box_size, k_edges)


def checked(density: Tensor) -> Tensor:
    """Return a batch of cubes as it is.

    Raises
    ------
    ValueError
        when it has another shape.
    """
    if density.ndim != 4 or len(set(density.shape[1:])) != 1:
        raise ValueError(f"density: expected a batch of cubes (b, n, n, n), found shape {tuple(density.shape)}")
    return density


def _spectrum(delta1_k: Tensor, delta2_k: Tensor, box_size: float, k_edges: np.ndarray | None) -> PowerSpectrum:
    n = delta1_k.shape[1]
    edges = fourier.linear_edges(box_size, n) if k_edges is None else np.asarray(k_edges, np.float64)
    binned = fourier.bins(box_size, n, edges, delta1_k.device)
    product = delta1_k.real * delta2_k.real + delta1_k.imag * delta2_k.imag
    return PowerSpectrum(binned.k, edges, binned.n_modes, binned.means(product) * box_size**3 / n**6)
