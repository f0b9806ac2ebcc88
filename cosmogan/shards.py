"""Sharded HDF5 subvolumes (``cosmogan-subvolumes/1``): the one format of simulated and generated densities.

A shard has ``density`` float32 (n, m, m, m), the density in units of its mean, one HDF5 chunk a subvolume, and a row
of each column beside it: ``corner`` int32 (n, 3), first cell, and ``simulation`` int32 (n) when simulated;
``seed`` and ``index`` int64 (n) when generated. ``manifest.json`` lists a folder's shards with rows and checksums.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc.rundir import checksum, provenance, read_json, whole_file, write_json

FORMAT = "cosmogan-subvolumes/1"
COLUMNS = {
    "simulated": {"corner": ("i4", (3,)), "simulation": ("i4", ())},
    "generated": {"seed": ("i8", ()), "index": ("i8", ())},
}


@dataclass(frozen=True)
class Geometry:
    """What a subvolume's cells are; the same for all shards of a folder."""

    redshift: float
    box_size: float  # [Mpc/h]
    n_mesh: int  # cells a side of the box
    subvolume: int  # cells a side
    mean_cell_mass: float  # [1e10 Msun/h]
    window: int = 2  # order of the mass assignment: NGP 1, CIC 2, TSC 3, PCS 4

    @property
    def cell_size(self) -> float:
        """Side of a cell [Mpc/h]."""
        return self.box_size / self.n_mesh

    @property
    def subvolume_size(self) -> float:
        """Side of a subvolume [Mpc/h]."""
        return self.subvolume * self.cell_size


@contextlib.contextmanager
def create(path: Path, n: int, geometry: Geometry, kind: str, source: dict[str, Any]) -> Iterator[h5py.File]:
    """Give an open shard of ``n`` rows to fill; it gets its final name when it is whole.

    Parameters
    ----------
    path : final name
    n : subvolumes
    geometry : written as attributes, with the cell size
    kind : ``simulated`` or ``generated``; says which columns there are
    source : plain data on what the densities come from, kept as JSON
    """
    m = geometry.subvolume
    with whole_file(path) as temporary, h5py.File(temporary, "w", libver="v110") as file:
        file.create_dataset("density", (n, m, m, m), "f4", chunks=(1, m, m, m), fillvalue=0)
        for name, (dtype, shape) in COLUMNS[kind].items():
            file.create_dataset(name, (n, *shape), dtype)
        file.attrs.update(format=FORMAT, kind=kind, cell_size=geometry.cell_size, **dataclasses.asdict(geometry))
        file.attrs["source"] = json.dumps(source)
        file.attrs["versions"] = json.dumps(provenance())
        yield file


def describe(path: Path) -> dict[str, Any]:
    """Return a whole shard's line of the manifest: file, rows, checksum."""
    with _open(path) as file:
        return {"file": path.name, "rows": file["density"].shape[0], "sha256": checksum(path)}


def write_manifest(
    folder: Path, geometry: Geometry, kind: str, shards: list[dict[str, Any]], source: dict[str, Any]
) -> None:
    """Write ``manifest.json``; a folder that has one is complete."""
    tree = {"format": FORMAT, "kind": kind, "geometry": dataclasses.asdict(geometry), "source": source}
    write_json(folder / "manifest.json", {**tree, "shards": shards, "versions": provenance()})


def is_complete(folder: Path) -> bool:
    """Say whether a folder has its manifest and every shard that it lists."""
    manifest = folder / "manifest.json"
    return manifest.exists() and all((folder / shard["file"]).exists() for shard in read_json(manifest)["shards"])


class Folder:
    """A complete folder of shards, read by row number over all of them.

    Raises
    ------
    ValueError
        when the manifest or a shard is missing, damaged or of another kind.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            raise ValueError(
                f"{manifest}: not found; run the stage that writes these subvolumes (preprocess or sample) to its end"
            )
        tree = read_json(manifest)
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else tree
            raise ValueError(f"{manifest}: expected format {FORMAT}, found {found!r}")
        try:
            self.geometry = Geometry(**tree["geometry"])
            self.kind: str = tree["kind"]
            self._shards = [(self.path / shard["file"], int(shard["rows"])) for shard in tree["shards"]]
            self.source: dict[str, Any] = tree["source"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{manifest}: damaged: {error}; run the stage that writes it again") from None
        self._first = np.concatenate(([0], np.cumsum([rows for _, rows in self._shards])))
        self._files: dict[int, h5py.File] = {}
        self.checksum = checksum(manifest)

    def __len__(self) -> int:
        """Return the number of subvolumes."""
        return int(self._first[-1])

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return densities.

        Parameters
        ----------
        rows : (n,) int row numbers, in any order

        Returns
        -------
        (n, m, m, m) float32, in units of the mean density
        """
        m = self.geometry.subvolume
        out = np.empty((len(rows), m, m, m), np.float32)
        for shard, places in self._by_shard(np.asarray(rows)):
            try:
                dataset = self._file(shard)["density"]
                local = np.asarray(rows)[places] - self._first[shard]
                wanted, back = np.unique(local, return_inverse=True)
                out[places] = _rows(dataset, wanted)[back]
            except OSError as error:
                raise ValueError(
                    f"{self._shards[shard][0]}: damaged: {error}; delete it and preprocess or sample again"
                ) from None
        return out

    @cached_property
    def simulations(self) -> np.ndarray:
        """The simulation that each row comes from, (n,) int; only for simulated folders."""
        if self.kind != "simulated":
            raise ValueError(f"{self.path}: expected simulated subvolumes, found {self.kind} ones")
        return np.concatenate([self._file(i)["simulation"][:] for i in range(len(self._shards))])

    def rows_of(self, simulations: list[int]) -> np.ndarray:
        """Return the row numbers that belong to the given simulations."""
        return np.flatnonzero(np.isin(self.simulations, simulations))

    def _by_shard(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        shard_of = np.searchsorted(self._first, rows, side="right") - 1
        for shard in np.unique(shard_of):
            yield int(shard), np.flatnonzero(shard_of == shard)

    def _file(self, shard: int) -> h5py.File:
        if shard not in self._files:
            path, rows = self._shards[shard]
            file = _open(path)
            found = file["density"].shape
            expected = (rows, *(self.geometry.subvolume,) * 3)
            if found != expected:
                raise ValueError(f"{path}: expected density of shape {expected} as the manifest says, found {found}")
            self._files[shard] = file
        return self._files[shard]


def _rows(dataset: h5py.Dataset, wanted: np.ndarray) -> np.ndarray:
    """Read sorted rows; a consecutive run in one go, which h5py does many times faster."""
    if len(wanted) and wanted[-1] - wanted[0] == len(wanted) - 1:
        return dataset[wanted[0] : wanted[-1] + 1]
    return np.stack([dataset[row] for row in wanted]) if len(wanted) else dataset[:0]


def _open(path: Path) -> h5py.File:
    """Open a shard for reading and check what it is."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found, though the manifest lists it; run the stage that writes it again"
        ) from None
    except OSError as error:
        raise ValueError(
            f"{path}: not a readable HDF5 file ({error}); delete it and run the stage that writes it again"
        ) from None
    if file.attrs.get("format") != FORMAT or "density" not in file:
        raise ValueError(
            f"{path}: expected a shard of format {FORMAT}, found {file.attrs.get('format', 'another HDF5 file')!r}"
        )
    return file
