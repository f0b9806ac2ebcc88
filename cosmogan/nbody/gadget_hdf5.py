"""Check GADGET-2 snapshot files of format 3, HDF5, and read them in parts.

A group ``/PartTypeN`` holds a type's Coordinates and, where the mass table has no entry, its Masses; the attributes of
``/Header`` are those of the binary header. GADGET-4 keeps the cosmology in ``/Parameters``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from cosmogan.nbody.particle_file import N_TYPES, Header, ParticleFile, of_time, rounded, types
from cosmogan.nbody.records import MARKER_WRAP
from cosmogan.nbody.units import attributes_of, number, numbers, units_of
from hpc import hdf5

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUFFIXES = (".hdf5", ".h5")
_OF_SWIFT = {"Omega_m": "Omega0", "Omega_lambda": "OmegaLambda", "h": "HubbleParam"}


@dataclass(frozen=True)
class Hdf5File(ParticleFile):
    """One file of format 3."""

    def read_positions(self, out: np.ndarray, particle_type: int | str, start: int) -> None:
        assert out.dtype == self.position_dtype
        with _opened(self.path) as file:
            for kind, row, part in self.pieces(particle_type, start, len(out)):
                _fill(out[part], file, f"PartType{kind}/Coordinates", row)

    def _read_mass_rows(self, out: np.ndarray, kind: int, row: int) -> None:
        with _opened(self.path) as file:
            _fill(out, file, _masses(file, kind), row)
        if self.header.mass_unit != 1:
            out *= np.float32(self.header.mass_unit)

    def where(self, row: int, particle_type: int | str) -> str:
        kind, row, _ = next(self.pieces(particle_type, row, 1))
        return f"{self.path}: PartType{kind}, particle {row}"


def _masses(file: h5py.File, kind: int) -> str:
    """Return the name of a type's data set of masses; SWIFT's black holes have another, DynamicalMasses."""
    names = [f"PartType{kind}/{name}" for name in ("Masses", "DynamicalMasses")]
    return next((name for name in names if name in file), names[0])


def _fill(out: np.ndarray, file: h5py.File, name: str, row: int) -> None:
    """Read rows straight into a contiguous array, which HDF5 converts to its type and byte order."""
    _check_once(file.filename, name)
    file[name].read_direct(out, np.s_[row : row + len(out)])


@lru_cache(maxsize=1 << 16)
def _check_once(path: str, name: str) -> None:
    """Check that all of a data set is there: where this process runs, as well as where the header was read."""
    with h5py.File(path, "r") as file:
        hdf5.dataset(file, name)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; an error of HDF5 becomes one line."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        reason = f"{hdf5.reason(error)}; {hdf5.advice(error, damaged='copy it again')}"
        raise ValueError(f"{path}: cannot be read as HDF5: {reason}") from None


def open_file(path: Path, particle_type: int | str = "all") -> Hdf5File:
    """Read a file's header and check the data sets of the chosen particles, reading none of them.

    Raises
    ------
    ValueError
        when the file is missing, truncated, no GADGET-2 snapshot, or its header disagrees with its data sets.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found; expected a GADGET-2 snapshot")
    with _opened(path) as file:
        header = _header(file, path, particle_type)
        header.check(path)
        present = [kind for kind in types(particle_type) if header.n_part[kind] > 0]
        dtypes = [
            _check_dataset(file, path, f"PartType{kind}/Coordinates", (header.n_part[kind], 3)) for kind in present
        ]
        for kind in present:
            if header.mass_table[kind] == 0:
                _check_dataset(file, path, _masses(file, kind), (header.n_part[kind],))
    return Hdf5File(path, header, np.result_type(*dtypes) if dtypes else np.dtype("f4"))


def is_snapshot(path: Path) -> bool:
    """Say whether an HDF5 file has a snapshot's header."""
    try:
        with h5py.File(path, "r") as file:
            return "Header" in file and "NumPart_ThisFile" in file["Header"].attrs
    except (OSError, RuntimeError):
        return False


def _check_dataset(file: h5py.File, path: Path, name: str, shape: tuple[int, ...]) -> np.dtype:
    """Raise when a data set is not there, or has another shape or kind of number; return its type in memory."""
    try:
        dataset = hdf5.dataset(file, name)
    except KeyError:
        masses = [other for other in file.get(name.partition("/")[0], ()) if "mass" in other.lower()]
        other = f" it has {', '.join(masses)}; preprocess.particle_type can leave the type out" if masses else ""
        raise ValueError(
            f"{path}: no {name}; the header says {shape[0]} particles of that type: is the file complete?{other}"
        ) from None
    if dataset.shape != shape:
        raise ValueError(f"{path}: {name} has the shape {dataset.shape}; expected {shape} by the header's counts")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (4, 8):
        raise ValueError(f"{path}: {name} is {dataset.dtype}; expected float32 or float64")
    return dataset.dtype.newbyteorder("=")


def _header(file: h5py.File, path: Path, particle_type: int | str) -> Header:
    in_header = attributes_of(file, "Header", path)
    if not isinstance(file.get("Header"), h5py.Group):
        names = ", ".join(file) or "nothing"
        raise ValueError(f"{path}: not a GADGET-2 snapshot: expected a group Header, found {names}")
    cosmology = attributes_of(file, "Cosmology", path)  # SWIFT
    attributes = attributes_of(file, "Parameters", path)
    attributes |= {ours: cosmology[its] for its, ours in _OF_SWIFT.items() if its in cosmology}
    attributes |= in_header
    missing = [name for name in ("NumPart_ThisFile", "BoxSize", "Redshift") if name not in attributes]
    if missing:
        raise ValueError(f"{path}: not a GADGET-2 snapshot: its Header has no attribute {', '.join(missing)}")

    sides = numbers(attributes, "BoxSize", path)  # SWIFT gives three
    if len(sides) not in (1, 3) or (sides != sides[0]).any():
        raise ValueError(f"{path}: the header's BoxSize is {sides.tolist()}; expected a cube")
    group = next((f"PartType{kind}" for kind in types(particle_type) if f"PartType{kind}" in file), "")
    length, mass_unit = units_of(file, group, attributes, path)
    n_part = _counts(numbers(attributes, "NumPart_ThisFile", path), "NumPart_ThisFile", path)
    n_files = max(_whole(number(attributes, "NumFilesPerSnapshot", path), "NumFilesPerSnapshot", path), 1)
    low, high = (_totals(attributes, name, path) for name in ("NumPart_Total", "NumPart_Total_HighWord"))
    total = tuple(n + (h << 32) for n, h in zip(low, high, strict=True))
    return Header(
        n_part=n_part,
        mass_table=tuple(mass * mass_unit for mass in _per_type(numbers(attributes, "MassTable", path))),
        redshift=rounded(number(attributes, "Redshift", path)),
        box_size=float(sides[0]),
        omega_m=number(attributes, "Omega0", path),
        omega_lambda=number(attributes, "OmegaLambda", path),
        h=number(attributes, "HubbleParam", path),
        n_total=n_part if n_files == 1 and not any(total) else total,
        n_files=n_files,
        length=length,
        mass_unit=mass_unit,
        remarks=_remarks(file, attributes, path),
    )


def _remarks(file: h5py.File, attributes: Mapping[str, object], path: Path) -> tuple[str, ...]:
    """Return a line for each contradiction in a file, and for each part of it that is left out."""
    time = "Scale-factor" if "Cosmology" in file else "Time"  # SWIFT's Time is not the scale factor
    redshift = number(attributes, "Redshift", path)
    remarks = of_time(number(attributes, time, path), redshift) if time in attributes else ()
    table = numbers(attributes, "MassTable", path)
    for kind, n in enumerate(numbers(attributes, "NumPart_ThisFile", path).tolist()):
        if kind >= N_TYPES and n > 0:
            remarks += (f"particles of type {kind} are left out; types 0 to 5 are read",)
        elif n > 0 and kind < len(table) and table[kind] != 0 and f"PartType{kind}/Masses" in file:
            remarks += (f"PartType{kind}/Masses are left out: the MassTable has a mass for them",)
    return remarks


def _per_type(values: np.ndarray) -> list[float]:
    """Return an attribute as one number per type; GADGET-4 may be built with fewer types."""
    return (values.tolist() + [0.0] * N_TYPES)[:N_TYPES]


def _counts(values: np.ndarray, name: str, path: Path) -> tuple[int, ...]:
    return tuple(_whole(count, name, path) for count in _per_type(values))


def _totals(attributes: Mapping[str, object], name: str, path: Path) -> tuple[int, ...]:
    """Return total numbers per type, of which some writers keep the 32 bits as signed numbers."""
    values = numbers(attributes, name, path)
    return _counts(np.where(values < 0, values + MARKER_WRAP, values), name, path)


def _whole(count: float, name: str, path: Path) -> int:
    if not 0 <= count < 2**63 or count != int(count):
        raise ValueError(f"{path}: the header's {name} is {count:g}; expected a whole number, not below 0")
    return int(count)
