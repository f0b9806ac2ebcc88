"""Compute power spectra and cross power spectra of batches of subvolumes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics import fourier
from cosmogan.statistics.fields import Density, batch, pieces, rising
from cosmogan.statistics.fourier import NONE, Correction
from cosmogan.statistics.result import Result, axes, band, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PowerSpectrum(Result):
    """P(k) of each sample of a batch, with its bins."""

    #: (nk,) mean |k| of a bin's modes [h/Mpc]
    k: np.ndarray = field(metadata=quantity("k", units="h/Mpc"))
    #: (nk + 1,) lower edges are inclusive [h/Mpc]
    k_edges: np.ndarray = field(metadata=quantity("k_edge", units="h/Mpc"))
    #: [h/Mpc]
    k_nyquist: float = field(metadata=quantity(units="h/Mpc"))
    #: (nk,) modes of the full sphere, conjugates counted too
    n_modes: np.ndarray = field(metadata=quantity("k"))
    #: (nk,) of them, the fraction above Nyquist, in corners of Fourier space
    corner_fraction: np.ndarray = field(metadata=quantity("k"))
    #: (b, nk) float64 [(Mpc/h)³]
    power: np.ndarray = field(metadata=quantity("sample", "k", units="(Mpc/h)^3"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the samples' median and their 16 to 84 %, and mark Nyquist; return the axes."""
        ax = axes(ax)
        band(ax, self.k, self.power)
        ax.axvline(self.k_nyquist, color="grey", lw=1, ls="--", label="Nyquist")
        ax.set(xscale="log", yscale="log", xlabel="k  [h/Mpc]", ylabel="P(k)  [(Mpc/h)³]")
        ax.locator_params(axis="x", subs=(1, 2, 5))  # 0.1, 0.2, 0.5 …: powers of ten would overlap
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        return ax


def power_spectrum(
    density: Density, box_size: float, k_edges: np.ndarray | None = None, correction: Correction = NONE
) -> PowerSpectrum:
    """Compute P(k) = V/n⁶ <|delta_k|²> of every sample.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n) in units of the mean density; each sample's own mean is taken off
    box_size : side of the cube [Mpc/h]
    k_edges : (nk + 1,) rising [h/Mpc]; None: `fourier.linear_edges`, one bin a fundamental up to the corner
    correction : what is taken out; by default nothing

    Returns
    -------
    PowerSpectrum

    Raises
    ------
    ValueError
        when ``density`` is no batch of cubes, or ``box_size`` no positive number.
    """
    fields = batch(density)
    parts = [squared(fourier.transform(part, correction.window)) for part in pieces(fields)]
    spectra = spectrum(torch.cat(parts), box_size, fields.shape[1], k_edges)
    return spectra if not correction.shot_noise else _less(spectra, correction.shot_noise)


def cross_power(
    first: Density,
    second: Density,
    box_size: float,
    k_edges: np.ndarray | None = None,
    correction: Correction = NONE,
) -> PowerSpectrum:
    """Compute the cross power V/n⁶ <Re(delta1_k delta2_k*)> of every pair; it has no shot noise.

    Parameters
    ----------
    first, second : (b, n, n, n) or (n, n, n) in units of the mean density, as many of each
    box_size, k_edges, correction : as in `power_spectrum`

    Raises
    ------
    ValueError
        when the two are not of one shape.
    """
    ones, others = batch(first), batch(second)
    if ones.shape != others.shape:
        shapes = f"{tuple(ones.shape)} and {tuple(others.shape)}"
        raise ValueError(f"cross power: expected pairs of one shape, found {shapes}")
    parts = []
    for pair in zip(pieces(ones), pieces(others), strict=True):
        delta1_k, delta2_k = (fourier.transform(part, correction.window) for part in pair)
        parts.append(fourier.sphere_sums(delta1_k.real * delta2_k.real + delta1_k.imag * delta2_k.imag))
    return spectrum(torch.cat(parts), box_size, ones.shape[1], k_edges)


def squared(delta_k: Tensor) -> Tensor:
    """Return |delta_k|² summed over spheres of equal |q|², (b, n_spheres) float64."""
    return fourier.sphere_sums(delta_k.real.square() + delta_k.imag.square())


def spectrum(sums: Tensor, box_size: float, n: int, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Bin sums over spheres into spectra.

    Parameters
    ----------
    sums : (b, n_spheres) of |delta_k|², or of a product of two fields' delta_k
    box_size, k_edges : as in `power_spectrum`
    n : cells a side
    """
    edges = fourier.linear_edges(box_size, n) if k_edges is None else rising(k_edges, "k_edges")
    binned = fourier.bins(box_size, n, edges, sums.device)
    power = binned.means(sums) * (box_size**3 / n**6)
    nyquist = fourier.k_nyquist(box_size, n)
    return PowerSpectrum(binned.k, edges, nyquist, binned.n_modes, binned.corner_fraction, power)


def _less(spectra: PowerSpectrum, shot_noise: float) -> PowerSpectrum:
    return PowerSpectrum(**{**vars(spectra), "power": spectra.power - shot_noise})
