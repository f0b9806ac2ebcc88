"""Compute the same statistics by independent codes, nbodykit and Pylians: a check, and an engine of `validate`.

The packages take seconds to import and are an extra (``make reference``), so they are imported when first used. Both
work on one field at a time, in this process.

Two differences of convention remain, and are small. Pylians counts each *independent* mode once, so the seven modes
that are their own conjugates (components 0 or -n/2 alone) weigh twice what they weigh here. That shows in the three
bins that hold them, at Nyquist, √2 and √3 times Nyquist, most of all in the corner, where a handful of modes is all
there is. And where sides sum to more than the grid, Pylians' bispectrum counts triangles that close only around it,
which `cosmogan.statistics.bispectra` does not.
"""

import contextlib
import importlib
import io
from types import ModuleType

import numpy as np
import torch

from cosmogan.statistics import fourier
from cosmogan.statistics.bispectra import Bispectrum, Triangles
from cosmogan.statistics.fields import Density, batch
from cosmogan.statistics.power import PowerSpectrum

# What each engine imports.
PACKAGES = {"native": (), "nbodykit": ("nbodykit.lab",), "pylians": ("Pk_library",)}


def require(engine: str) -> None:
    """Import the packages that an engine needs.

    Raises
    ------
    ValueError
        when it is not installed.
    """
    for name in PACKAGES[engine]:
        _package(name)


def nbodykit_power(density: Density, box_size: float, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Compute P(k) with nbodykit's FFTPower; parameters and result as `power.power_spectrum`."""
    return _nbodykit(_fields(density), None, box_size, k_edges)


def nbodykit_cross(
    first: Density, second: Density, box_size: float, k_edges: np.ndarray | None = None
) -> PowerSpectrum:
    """Compute the cross power with nbodykit's FFTPower; parameters and result as `power.cross_power`."""
    return _nbodykit(_fields(first), _fields(second), box_size, k_edges)


def pylians_power(density: Density, box_size: float, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Compute P(k) with Pylians, which has bins of one fundamental only; otherwise as `power.power_spectrum`."""
    library = _package("Pk_library")
    fields = _fields(density)
    edges = _pylians_edges(box_size, fields.shape[1], k_edges)
    with _silent():
        spectra = [library.Pk(delta, box_size, 2, "None", 1, False) for delta in fields]
    power = np.stack([s.Pk[:, 0] for s in spectra])
    return _spectrum(spectra[0].k3D, 2 * spectra[0].Nmodes3D, power, (edges, box_size, fields.shape[1]))


def pylians_cross(first: Density, second: Density, box_size: float, k_edges: np.ndarray | None = None) -> PowerSpectrum:
    """Compute the cross power with Pylians, in bins of one fundamental; otherwise as `power.cross_power`."""
    library = _package("Pk_library")
    ones = _fields(first)
    pairs = list(zip(ones, _fields(second), strict=True))
    edges = _pylians_edges(box_size, ones.shape[1], k_edges)
    with _silent():
        spectra = [library.XPk(list(pair), box_size, 2, ["None", "None"], 1) for pair in pairs]
    power = np.stack([s.XPk[:, 0, 0] for s in spectra])
    return _spectrum(spectra[0].k3D, 2 * spectra[0].Nmodes3D, power, (edges, box_size, ones.shape[1]))


def pylians_bispectrum(density: Density, box_size: float, triangles: Triangles) -> Bispectrum:
    """Compute the bispectrum with Pylians; parameters and result as `bispectrum.bispectrum`."""
    library = _package("Pk_library")
    sides = (box_size, triangles.k1, triangles.k2, np.asarray(triangles.theta, np.float64))
    fields = _fields(density)
    with _silent():
        results = [library.Bk(delta, *sides, "None", 1) for delta in fields]
    n_triangles = results[0].triangles * float(fields.shape[1]) ** 6
    measured = (np.stack([f.B for f in results]), np.stack([f.Q for f in results]))
    return Bispectrum(triangles.k1, triangles.k2, triangles.theta, triangles.k3, n_triangles, *measured)


def _nbodykit(
    first: np.ndarray, second: np.ndarray | None, box_size: float, k_edges: np.ndarray | None
) -> PowerSpectrum:
    nbodykit = _package("nbodykit.lab")
    alone = _package("nbodykit").MPI.COMM_SELF
    n = first.shape[1]
    edges = fourier.linear_edges(box_size, n) if k_edges is None else np.asarray(k_edges, np.float64)
    width = edges[1] - edges[0]
    if not np.allclose(np.diff(edges), width):
        raise ValueError("nbodykit: expected wavenumber bins of equal widths")

    def mesh(delta: np.ndarray) -> object:
        # In float32 nbodykit would also sort wavenumbers in float32, and some into the wrong bin.
        return nbodykit.ArrayMesh(delta.astype(np.float64), BoxSize=box_size, comm=alone)

    # Edges a little lower keep modes that lie on an edge in the bin above it, whatever the rounding.
    bins = {"dk": width, "kmin": edges[0] * (1 - 1e-6), "kmax": edges[-1] + width / 2}
    seconds = [None] * len(first) if second is None else [mesh(delta) for delta in second]
    powers = [
        nbodykit.FFTPower(mesh(delta), mode="1d", second=other, **bins).power
        for delta, other in zip(first, seconds, strict=True)
    ]
    power, n_modes = np.stack([p["power"].real for p in powers]), powers[0]["modes"].astype(np.float64)
    # Where edges begin at 0 or below, nbodykit counts q = 0, whose power is 0, in a bin's means.
    others = n_modes - ((edges[:-1] <= 0) & (edges[1:] > 0))
    with np.errstate(invalid="ignore"):
        k, power = powers[0]["k"] * n_modes / others, power * n_modes / others
    return _spectrum(k, others, power, (edges, box_size, n))


def _spectrum(
    k: np.ndarray, n_modes: np.ndarray, power: np.ndarray, grid: tuple[np.ndarray, float, int]
) -> PowerSpectrum:
    """Return another code's result as a `PowerSpectrum`; ``grid`` has the bins, the side and the cells a side."""
    edges, box_size, n = grid
    corner = fourier.bins(box_size, n, edges, torch.device("cpu")).corner_fraction
    return PowerSpectrum(k, edges, fourier.k_nyquist(box_size, n), n_modes, corner, power)


def _fields(density: Density) -> np.ndarray:
    """Return the fluctuations as these codes take them, (b, n, n, n) float32 numpy."""
    fields = batch(density).double()
    return (fields - fields.mean(dim=(1, 2, 3), keepdim=True)).float().cpu().numpy()


def _pylians_edges(box_size: float, n: int, k_edges: np.ndarray | None) -> np.ndarray:
    edges = fourier.linear_edges(box_size, n)
    if k_edges is not None and not (len(k_edges) == len(edges) and np.allclose(k_edges, edges)):
        raise ValueError("Pylians has wavenumber bins of one fundamental only: leave the number of bins unset")
    return edges


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{name}: cannot be imported ({error}); `make reference` installs it") from None


def _silent() -> contextlib.AbstractContextManager:
    """Suppress the lines that Pylians prints at each step."""
    return contextlib.redirect_stdout(io.StringIO())
