"""The units that an HDF5 snapshot says itself, of GADGET-4, AREPO and SWIFT."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

CM_PER_MPC = 3.085678e24
GRAMS = 1.989e43  # in 1e10 Msun, by GADGET-2
_SAME = 1e-3  # codes differ in the digits of a parsec and of the Sun's mass


def units_of(file: h5py.File, group: str, attributes: dict[str, Any], path: Path) -> tuple[float | None, float]:
    """Return the unit of comoving lengths [Mpc/h], None where the file does not say, and of masses [1e10 Msun/h].

    Parameters
    ----------
    group : of the particles, whose data sets may have units of their own
    attributes : of the header

    Raises
    ------
    ValueError
        when lengths are without h, and h or their unit is not known, or when they are physical.
    """
    stated = dict(file["Units"].attrs) if "Units" in file else {}
    length = _first(stated, "Unit length in cgs (U_L)", attributes, "UnitLength_in_cm")
    mass = _first(stated, "Unit mass in cgs (U_M)", attributes, "UnitMass_in_g") or GRAMS
    usual, h = 0.0 if stated else -1.0, _number(attributes.get("HubbleParam"), 0.0)
    of_length, of_mass = (_attributes(file, f"{group}/{name}") for name in ("Coordinates", "Masses"))
    power = _exponent(of_length, "h", usual)
    of_masses = _exponent(of_mass, "h", power)
    if _exponent(of_length, "a", 1.0) != 1:
        raise ValueError(f"{path}: {group}/Coordinates are not comoving, by their attributes; expected comoving ones")
    if power != -1 and not (h > 0 and length):
        lacking = "their unit" if h > 0 else "h"
        raise ValueError(f"{path}: lengths are without h, and it does not say {lacking}; expected lengths in Mpc/h")
    scale = mass / GRAMS if abs(mass / GRAMS - 1) > _SAME else 1.0
    unit = length / CM_PER_MPC * (h ** (power + 1) if power != -1 else 1.0) if length else None
    return unit, scale * (h ** (of_masses + 1) if of_masses != -1 and h > 0 else 1.0)


def _first(stated: dict[str, Any], its: str, attributes: dict[str, Any], name: str) -> float:
    return _number(stated.get(its, attributes.get(name)), 0.0)


def _exponent(attributes: dict[str, Any], of: str, default: float) -> float:
    """Return the power of h or a in a data set's unit, by SWIFT's name or that of AREPO and GADGET-4."""
    return _number(attributes.get(f"{of}-scale exponent", attributes.get(f"{of}_scaling")), default)


def _attributes(file: h5py.File, name: str) -> dict[str, Any]:
    item = file.get(name)
    return {} if item is None else dict(item.attrs)


def _number(value: Any, default: float) -> float:
    return default if value is None else float(np.ravel(value)[0])
