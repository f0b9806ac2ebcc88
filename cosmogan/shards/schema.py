"""Define a shard: its columns, its geometry, and when two redshifts are the same."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py

from hpc import hdf5

FORMAT = "cosmogan-subvolumes/1"
COLUMNS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "simulated": {"corner": ("i4", (3,)), "simulation": ("i4", ())},
    "generated": {"seed": ("i8", ()), "index": ("i8", ())},
}
MAKER = {"simulated": "preprocess", "generated": "sample"}  # the command that writes them
REDSHIFT_TOLERANCE = 1e-3  # of 1 + z: snapshots are written at the first step past a time


@dataclass(frozen=True)
class Geometry:
    """The cells of a subvolume; the same for all shards of a folder, but for the redshift."""

    redshift: float  #: nan for a folder of several
    box_size: float  #: [Mpc/h]
    n_mesh: int  #: cells a side of the box
    subvolume: int  #: cells a side
    mean_cell_mass: float  #: [1e10 Msun/h]; nan for a folder of several
    window: int = 2  #: order of the mass assignment: NGP 1, CIC 2, TSC 3, PCS 4

    @property
    def cell_size(self) -> float:
        """Side of a cell [Mpc/h]."""
        return self.box_size / self.n_mesh

    @property
    def subvolume_size(self) -> float:
        """Side of a subvolume [Mpc/h]."""
        return self.subvolume * self.cell_size


def same_redshift(first: float, second: float) -> bool:
    """Say whether two redshifts are one, but for the time step at which a snapshot was written."""
    return abs(first - second) <= REDSHIFT_TOLERANCE * (1 + min(first, second))


def distinct_redshifts(redshifts: Iterable[float]) -> tuple[float, ...]:
    """Return the rising redshifts that are not the same; each stands for those a little above it."""
    values: list[float] = []
    for redshift in sorted(redshifts):
        if not values or not same_redshift(values[-1], redshift):
            values.append(redshift)
    return tuple(values)


def in_words(redshifts: Iterable[float]) -> str:
    """Return redshifts as ``0, 0.5, 3``."""
    return ", ".join(f"{redshift:g}" for redshift in redshifts)


def in_bytes(size: float) -> str:
    """Return a number of bytes as ``1.23 GB``, or in kB or MB when it is small."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def open_file(path: Path) -> h5py.File:
    """Open a shard for reading, and check its format.

    Raises
    ------
    ValueError
        when it is missing, not HDF5, or something else than a shard.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found, though the manifest lists it; run the stage that writes it again"
        ) from None
    except OSError as error:
        cure = hdf5.advice(error, damaged="delete it and run the stage that writes it again")
        raise ValueError(f"{path}: not a readable HDF5 file ({hdf5.reason(error)}); {cure}") from None
    written = file.attrs.get("format", "another HDF5 file")
    if written == FORMAT and isinstance(file.get("density"), h5py.Dataset):
        return file
    file.close()
    if written == FORMAT:
        raise ValueError(f"{path}: damaged: no dataset density; delete it and run the stage that writes it again")
    raise ValueError(f"{path}: expected a shard of format {FORMAT}, found {written!r}")


def read_geometry(path: Path) -> Geometry:
    """Read a shard's geometry from its attributes."""
    with open_file(path) as file:
        return Geometry(**{field.name: file.attrs[field.name].item() for field in dataclasses.fields(Geometry)})
