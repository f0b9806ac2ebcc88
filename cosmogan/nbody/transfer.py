"""Choose the transfer function of initial conditions: Eisenstein & Hu's fit, CLASS's, or a table."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline

from cosmogan.nbody import cosmology

Transfer = Callable[[np.ndarray], np.ndarray]  # wavenumbers (n,) [h/Mpc] to T(k), of any norm

EISENSTEIN_HU, CLASS = "eisenstein-hu", "class"
CLASS_K = np.geomspace(1e-4, 9.9, 3000)  # [h/Mpc], where CLASS is asked


@cache
def transfer(name: str, omega_m: float, omega_b: float, h: float, n_s: float) -> Transfer:
    """Return a matter transfer function.

    Parameters
    ----------
    name : ``eisenstein-hu``, ``class`` or the name of a file (see `read_table`)

    Raises
    ------
    ValueError
        when CLASS is not installed, or the file is no table.
    """
    fit = partial(cosmology.transfer, omega_m=omega_m, omega_b=omega_b, h=h)
    if name == EISENSTEIN_HU:
        return fit
    if name == CLASS:
        return continued(CLASS_K, _class(CLASS_K, omega_m, omega_b, h, n_s), fit)
    return continued(*read_table(Path(name)), fit)


def continued(k: np.ndarray, values: np.ndarray, fit: Transfer) -> Transfer:
    """Return T(k) as a spline through a table, continued on both sides in the shape of ``fit``."""
    spline = CubicSpline(np.log(k), np.log(values))
    low, high = values[0] / fit(k[:1])[0], values[-1] / fit(k[-1:])[0]

    def joined(wanted: np.ndarray) -> np.ndarray:
        inside = np.exp(spline(np.log(np.clip(wanted, k[0], k[-1]))))
        outside = fit(wanted) * np.where(wanted < k[0], low, high)
        return np.where((wanted < k[0]) | (wanted > k[-1]), outside, inside)

    return joined


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read wavenumbers [h/Mpc] and T(k) from a text file of two columns.

    Raises
    ------
    ValueError
        when there is no such file, or its columns are not two of positive numbers, the first rising.
    """
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise ValueError(f"simulate.transfer: {path}: cannot be read: {' '.join(str(error).split())}") from None
    if table.shape[1] != 2 or len(table) < 4 or not (table > 0).all() or not (np.diff(table[:, 0]) > 0).all():
        raise ValueError(
            f"simulate.transfer: {path}: expected two columns of positive numbers, rising k [h/Mpc] and T(k), "
            f"found an array of shape {table.shape}"
        )
    return table[:, 0], table[:, 1]


def _class(k: np.ndarray, omega_m: float, omega_b: float, h: float, n_s: float) -> np.ndarray:
    """Return CLASS's matter transfer function today, without massive neutrinos, as nbodykit gives it."""
    try:
        from nbodykit import cosmology as nbodykit
    except ImportError:
        raise ValueError(
            "simulate.transfer: class needs nbodykit, which is not installed (`make reference`); "
            "or set eisenstein-hu, or the name of a table"
        ) from None
    universe = nbodykit.Cosmology(
        h=h, Omega0_b=omega_b, Omega0_cdm=omega_m - omega_b, n_s=n_s, T0_cmb=cosmology.CMB_TEMPERATURE, m_ncdm=None
    )
    return np.asarray(nbodykit.power.transfers.CLASS(universe, 0.0)(k))
