"""Read the units that an HDF5 snapshot of GADGET-4, AREPO or SWIFT states."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CM_PER_MPC = 3.085678e24
GRAMS = 1.989e43  # in 1e10 Msun, by GADGET-2
_SAME = 1e-3  # codes differ in the digits of a parsec and of the Sun's mass


def attributes_of(file: h5py.File, name: str, path: Path) -> dict[str, Any]:
    """Return the attributes of a group or dataset, none where it is not there.

    Raises
    ------
    ValueError
        when a link of that name leads nowhere.
    """
    try:
        return dict(file[name].attrs)
    except KeyError:
        link = file.get(name, getlink=True)
        if link is None or isinstance(link, h5py.HardLink):
            return {}
        target = f"{link.filename}:{link.path}" if isinstance(link, h5py.ExternalLink) else link.path
        raise ValueError(f"{path}: {name}: a link leads to {target}, which cannot be opened; put it there") from None


def numbers(attributes: Mapping[str, object], name: str, path: Path, default: float = 0.0) -> np.ndarray:
    """Return an attribute's numbers, (n,) float64, or the default where there is no such attribute.

    Raises
    ------
    ValueError
        when it holds something else, or nothing: names the file and the attribute.
    """
    value = attributes.get(name, default)
    try:
        given = np.ravel(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.size == 0:
        raise ValueError(f"{path}: the header's {name} is {value!r}; expected a number")
    return given


def number(attributes: Mapping[str, object], name: str, path: Path, default: float = 0.0) -> float:
    """Return an attribute's first number; see `numbers`."""
    return float(numbers(attributes, name, path, default)[0])


def units_of(file: h5py.File, group: str, attributes: Mapping[str, object], path: Path) -> tuple[float | None, float]:
    """Return the unit of comoving lengths [Mpc/h], None where the file does not say, and of masses [1e10 Msun/h].

    Parameters
    ----------
    group : of the particles, whose data sets may have units of their own
    attributes : of the header

    Raises
    ------
    ValueError
        when lengths are without h, and h or their unit is not known, when they are physical, or when a unit is not
        above 0.
    """
    stated = attributes_of(file, "Units", path)
    of_length, of_mass = (attributes_of(file, f"{group}/{name}", path) for name in ("Coordinates", "Masses"))
    said = {**of_length, **attributes, **stated}
    length = _unit(said, ("Unit length in cgs (U_L)", "UnitLength_in_cm", "to_cgs"), path)
    mass = _unit({**attributes, **stated}, ("Unit mass in cgs (U_M)", "UnitMass_in_g"), path) or GRAMS
    usual, h = 0.0 if stated else -1.0, number(attributes, "HubbleParam", path)
    power = _exponent(of_length, "h", usual, path)
    of_masses = _exponent(of_mass, "h", power, path)
    if _exponent(of_length, "a", 1.0, path) != 1:
        raise ValueError(f"{path}: {group}/Coordinates are not comoving, by their attributes; expected comoving ones")
    if power != -1 and not (h > 0 and length):
        lacking = "their unit" if h > 0 else "h"
        raise ValueError(f"{path}: lengths are without h, and it does not say {lacking}; expected lengths in Mpc/h")
    scale = mass / GRAMS if abs(mass / GRAMS - 1) > _SAME else 1.0
    unit = length / CM_PER_MPC * (h ** (power + 1) if power != -1 else 1.0) if length else None
    return unit, scale * (h ** (of_masses + 1) if of_masses != -1 and h > 0 else 1.0)


def _unit(attributes: Mapping[str, object], names: tuple[str, ...], path: Path) -> float:
    """Return the first of these units that a file states [cgs]; 0 where it states none."""
    for name in names:
        unit = number(attributes, name, path)
        if not 0 <= unit < np.inf:
            raise ValueError(f"{path}: {name} is {unit:g}; expected a unit above 0")
        if unit > 0:
            return unit
    return 0.0


def _exponent(attributes: Mapping[str, object], of: str, default: float, path: Path) -> float:
    """Return the power of h or a in a data set's unit, by SWIFT's name or that of AREPO and GADGET-4."""
    name = f"{of}-scale exponent" if f"{of}-scale exponent" in attributes else f"{of}_scaling"
    return number(attributes, name, path, default)
