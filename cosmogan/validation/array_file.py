"""Read someone else's volumes from an array in a .npy or HDF5 file, row by row, in units of the mean density."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from cosmogan.shards import Geometry
from hpc import hdf5
from hpc.files import checksum

UNITS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "density": lambda values, _: values,  # ρ/ρ̄
    "delta": lambda values, _: 1 + values,  # ρ/ρ̄ - 1
    "log10": lambda values, _: 10**values,  # log10 ρ/ρ̄
    "mass": lambda values, mean_cell_mass: values / np.float32(mean_cell_mass),  # of a cell [1e10 Msun/h]
}
NAN = float("nan")


class ArrayFile:
    """An array (n, m, m, m) or (n, 1, m, m, m) in a file; a `cosmogan.validation.comparison.VolumeSource`.

    Parameters
    ----------
    name : ``file.npy``, ``file.h5`` with one such dataset, or ``file.h5:dataset``
    box_size : side of a volume [Mpc/h]
    units : one of `UNITS`
    mean_cell_mass : of the unit ``mass`` [1e10 Msun/h]; NaN: not known

    Attributes
    ----------
    read_as : the dataset, box size and units that are assumed, as the file does not state them

    Raises
    ------
    ValueError
        when there is no such array: names the file, what was found, and what was expected.
    """

    def __init__(self, name: str, box_size: float, units: str = "density", mean_cell_mass: float = NAN) -> None:
        path, _, dataset = name.partition(":") if not Path(name).exists() else (name, "", "")
        self.path = Path(path)
        self.read_as = {"dataset": dataset.strip("/"), "box_size": box_size, "units": units}
        self._array = _npy(self.path) if _is_npy(self.path) else _hdf5(self.path, dataset)
        shape = self._array.shape or ()  # None: an empty dataset
        cubes = shape[2:] if len(shape) == 5 and shape[1] == 1 else shape[1:]
        if len(cubes) != 3 or len(set(cubes)) != 1 or 0 in cubes or np.dtype(self._array.dtype).kind not in "fiu":
            raise ValueError(
                f"{name}: expected real volumes (n, m, m, m) or (n, 1, m, m, m), found {self._array.dtype} {shape}"
            )
        if units == "mass" and not mean_cell_mass > 0:
            raise ValueError(
                f"--units mass: wants the mean mass of a cell, which the reference of {name} does not say; "
                "divide by it, and leave --units out"
            )
        m = cubes[0]
        self.geometry = Geometry(NAN, box_size, n_mesh=m, subvolume=m, mean_cell_mass=mean_cell_mass, window=0)
        self.checksum = checksum(self.path)
        self._in_units = UNITS[units]

    def __len__(self) -> int:
        return self._array.shape[0]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read volumes, (rows, m, m, m) float32, in units of the mean density, whatever is wrong with them.

        Raises
        ------
        ValueError
            when the file cannot be read there.
        """
        m = self.geometry.subvolume
        density = np.empty((len(rows), m, m, m), np.float32)
        order = np.argsort(rows)  # HDF5 reads in rising order only
        try:
            stored = self._array[rows[order]]
        except OSError as error:
            reason = f"{hdf5.reason(error)}; {hdf5.advice(error, damaged='it is damaged: copy it again')}"
            raise ValueError(f"{self.path}: cannot be read: {reason}") from None
        with np.errstate(over="ignore"):  # of numbers that are none; the caller looks for infinities
            values = np.asarray(stored, np.float32).reshape(density.shape)
            density[order] = self._in_units(values, self.geometry.mean_cell_mass)
        empty = np.flatnonzero(~values.any(axis=(1, 2, 3)))
        if len(empty):
            raise ValueError(
                f"{self.path}: volume {rows[order][empty[0]]}: all of its numbers are 0: was it written to its end?"
            )
        return density


def _is_npy(path: Path) -> bool:
    """Say whether a file is NumPy's by how it begins, or, where that cannot be seen, by its name."""
    if not path.is_file():
        return path.suffix == ".npy"
    with open(path, "rb") as file:
        return file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: not found") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable .npy file of numbers: {error}") from None


def _hdf5(path: Path, dataset: str) -> Any:
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(f"{path}: not found") from None
    except OSError as error:
        reason = f"{hdf5.reason(error)}; {hdf5.advice(error, damaged='copy it again, if it is one')}"
        raise ValueError(f"{path}: expected .npy, HDF5 or a folder of shards; not readable as HDF5: {reason}") from None
    datasets: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    volumes = [name for name, item in datasets.items() if item.ndim in (4, 5)]
    if dataset or len(volumes) == 1:
        with contextlib.suppress(KeyError):
            return hdf5.dataset(file, dataset or volumes[0])
    wanted = f"the dataset {dataset}" if dataset else "one dataset of volumes (else name it: FILE.h5:DATASET)"
    if not datasets:
        hdf5.check_all(file)  # says where a link leads that leads nowhere
    names = ", ".join(list(datasets)[:5]) + (f" and {len(datasets) - 5} others" if len(datasets) > 5 else "")
    raise ValueError(f"{path}: expected {wanted}, found {names or 'none'}")
