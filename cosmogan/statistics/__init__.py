"""Summary statistics of density fields, for numpy arrays and torch tensors, on the CPU or a GPU.

>>> from cosmogan import statistics
>>> spectrum = statistics.power_spectrum(density, box_size=64.0)  # density/mean, (n, n, n) or (b, n, n, n)
>>> spectrum.k, spectrum.power, spectrum.plot(), spectrum.save("power.npz")

Lengths are Mpc/h, wavenumbers h/Mpc. `docs/conventions.md` has the equations.
"""

from importlib import import_module
from typing import Any

# Where each name is defined. They are imported when first used: some need torch, which takes a second to import.
_HOME = {
    "bispectra": ("Bispectrum", "Triangles", "bispectrum", "paper_triangles"),
    "fourier": ("Correction", "k_fundamental", "k_nyquist", "linear_edges", "paper_edges"),
    "minkowski": ("Minkowski", "minkowski_functionals"),
    "neighbours": ("Neighbours", "diversity", "fingerprint", "nearest"),
    "pdf": ("PeakCounts", "VoxelPDF", "mean_density", "peak_counts", "scaled_edges", "unscaled_edges", "voxel_pdf"),
    "power": ("PowerSpectrum", "cross_power", "power_spectrum"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
