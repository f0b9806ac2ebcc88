"""List the statistics of a volume, and the code that measures each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from cosmogan.gan.scaling import scale
from cosmogan.statistics import bispectra, fields, fourier, minkowski, neighbours, pdf, power, reference
from cosmogan.statistics.bispectra import Bispectrum, Triangles
from cosmogan.statistics.fourier import Correction
from cosmogan.statistics.power import PowerSpectrum
from cosmogan.validation.blocks import Values
from cosmogan.validation.comparison import Comparison

WINDOWS = ("none", "ngp", "cic", "tsc", "pcs")  # by their order


@dataclass(frozen=True)
class Measurement:
    """Measures batches of densities, (b, n, n, n) float32."""

    box_size: float  # of a subvolume [Mpc/h]
    k_edges: np.ndarray
    kappa: float
    triangles: tuple[Triangles, ...]
    correction: Correction
    device: torch.device

    def all(self, density: np.ndarray) -> Values:
        """Return every statistic, (b, …) each."""
        fields_ = self._sent(density)
        shape = {
            "peaks": pdf.peak_counts(fields_).count,
            "minkowski": minkowski.minkowski_functionals(fields_, self.box_size).functionals.reshape(len(fields_), -1),
        }
        return {**self._cheap(fields_), **self.spectra(fields_, self.triangles), **shape}

    def cheap(self, density: np.ndarray) -> Values:
        """Return every statistic but bispectra, peaks and Minkowski functionals, (b, …) each."""
        fields_ = self._sent(density)
        return {**self._cheap(fields_), **self.spectra(fields_, ())}

    def cross(self, pairs: tuple[np.ndarray, np.ndarray]) -> Values:
        """Return the cross power of pairs, (b, nk)."""
        return {"power": self.cross_power(*map(self._sent, pairs)).power}

    def spectra(self, density: torch.Tensor, triangles: tuple[Triangles, ...]) -> Values:
        """Return power and bispectra, (b, …) each; each field is transformed once."""
        sums, parts = [], []
        for piece in fields.pieces(density):
            delta_k = fourier.transform(piece, self.correction.window)
            sums.append(power.squared(delta_k))
            noise = self.correction.shot_noise
            parts.append([bispectra.of_modes(delta_k, self.box_size, sides, noise) for sides in triangles])
        spectrum = power.spectrum(torch.cat(sums), self.box_size, density.shape[1], self.k_edges).power
        columns = [bispectra.joined(list(column)) for column in zip(*parts, strict=True)]
        return {"power": spectrum - self.correction.shot_noise, **_named(columns)}

    def cross_power(self, first: torch.Tensor, second: torch.Tensor) -> PowerSpectrum:
        """Return the cross power of pairs."""
        return power.cross_power(first, second, self.box_size, self.k_edges, self.correction)

    def _sent(self, density: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(density).to(self.device)

    def _cheap(self, density: torch.Tensor) -> Values:
        return {
            "pdf_scaled": pdf.voxel_pdf(scale(density, self.kappa), pdf.scaled_edges()).fraction,
            "pdf_unscaled": pdf.voxel_pdf(density, pdf.unscaled_edges()).fraction,
            "mean_density": pdf.mean_density(density)[:, None],
            "fingerprint": neighbours.fingerprint(density),
        }


@dataclass(frozen=True)
class ByNbodykit(Measurement):
    """Takes power and cross power from nbodykit."""

    def spectra(self, density: torch.Tensor, triangles: tuple[Triangles, ...]) -> Values:
        """Return power and bispectra, (b, …) each."""
        values = super().spectra(density, triangles)
        return {**values, "power": reference.nbodykit_power(density, self.box_size, self.k_edges).power}

    def cross_power(self, first: torch.Tensor, second: torch.Tensor) -> PowerSpectrum:
        """Return the cross power of pairs."""
        return reference.nbodykit_cross(first, second, self.box_size, self.k_edges)


@dataclass(frozen=True)
class ByPylians(Measurement):
    """Takes power, cross power and bispectra from Pylians."""

    def spectra(self, density: torch.Tensor, triangles: tuple[Triangles, ...]) -> Values:
        """Return power and bispectra, (b, …) each."""
        columns = [reference.pylians_bispectrum(density, self.box_size, sides) for sides in triangles]
        spectrum = reference.pylians_power(density, self.box_size, self.k_edges).power
        return {"power": spectrum, **_named(columns)}

    def cross_power(self, first: torch.Tensor, second: torch.Tensor) -> PowerSpectrum:
        """Return the cross power of pairs."""
        return reference.pylians_cross(first, second, self.box_size, self.k_edges)


ENGINES: dict[str, Callable[..., Measurement]] = {
    "native": Measurement,
    "nbodykit": ByNbodykit,
    "pylians": ByPylians,
}


def is_fingerprint(name: str) -> bool:
    """Say whether values are fingerprints: large ones, which only neighbours and diversity need."""
    return name == "fingerprint"


def _named(columns: list[Bispectrum]) -> Values:
    values: Values = {}
    for i, measured in enumerate(columns):
        values |= {f"bispectrum_{i}": measured.bispectrum, f"reduced_{i}": measured.reduced}
    return values


def plan(comparison: Comparison, device: torch.device) -> Measurement:
    """Choose the engine, the bins and the triangles for the volumes' geometry.

    Raises
    ------
    ValueError
        when the engine is not installed, or cannot do what is asked for: names the setting.
    """
    settings, geometry = comparison.settings, comparison.geometry
    correction = Correction(WINDOWS.index(settings.window), settings.shot_noise)
    try:
        reference.require(settings.engine)
    except ValueError as error:
        raise ValueError(f"validate.engine: {error}") from None
    if settings.engine != "native" and correction != fourier.NONE:
        raise ValueError(
            f"validate.engine: {settings.engine} measures as the paper does: expected window: none and shot_noise: 0, "
            f"found {settings.window} and {settings.shot_noise:g}"
        )
    if settings.engine == "pylians" and (settings.n_k is not None or settings.k_bins != "linear"):
        raise ValueError(
            "validate.n_k: Pylians has bins of one fundamental only: expected null, and k_bins: linear, "
            f"found {settings.n_k} and {settings.k_bins}"
        )
    edges, size = _edges(comparison), geometry.subvolume_size
    triangles = tuple(bispectra.paper_triangles(size, geometry.subvolume))
    return ENGINES[settings.engine](size, edges, comparison.kappa, triangles, correction, device)


def _edges(comparison: Comparison) -> np.ndarray:
    settings, geometry = comparison.settings, comparison.geometry
    size, n = geometry.subvolume_size, geometry.subvolume
    try:
        if settings.k_bins == "paper":
            return fourier.paper_edges(size, n, comparison.h)
        return fourier.linear_edges(size, n, settings.n_k)
    except ValueError as error:
        name = "k_bins" if settings.k_bins == "paper" else "n_k"
        raise ValueError(f"validate.{name}: {error}") from None
