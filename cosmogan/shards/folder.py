"""Read a folder of shards as one lazy array."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike

from cosmogan.shards.manifest import Manifest, Shard
from cosmogan.shards.schema import in_words, open_file
from hpc import hdf5

MAX_OPEN = 256  # files, about half a MB of memory each


class Folder:
    """A complete folder of shards: a lazy array (n, m, m, m) float32, in units of the mean density.

    Opening reads the manifest only; each file is opened when its first row is wanted, and at most `MAX_OPEN` stay open.

    Parameters
    ----------
    path : folder
    redshift : keep only the subvolumes of this one; rows are numbered through those kept. None: keep all

    Attributes
    ----------
    geometry : of every subvolume; its redshift is nan when several are kept
    kind : ``simulated`` or ``generated``
    shards : those kept, in the order of the rows
    redshift_values : rising, without those that differ by less than a time step
    manifest : the whole of ``manifest.json``, and ``checksum`` its SHA-256

    Raises
    ------
    ValueError
        when the manifest or a shard is missing, damaged or of another kind, or no subvolume has this redshift.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, path: Path | str, redshift: float | None = None) -> None:
        self.path = Path(path)
        self._selected = redshift
        manifest = Manifest.read(self.path).select(redshift)
        self.manifest, self.checksum = manifest.tree, manifest.checksum
        self.geometry, self.kind, self.source = manifest.geometry, manifest.kind, manifest.source
        self.shards, self.redshift_values = manifest.shards, manifest.redshifts
        self._first = np.concatenate(([0], np.cumsum([shard.rows for shard in self.shards], dtype=np.int64)))
        self._files: OrderedDict[int, h5py.File] = OrderedDict()
        self._whole: set[tuple[int, str]] = set()  # datasets that were checked once
        self._lock = threading.Lock()  # a file must not be closed for another while it is read

    def __len__(self) -> int:
        """Return the number of subvolumes."""
        return int(self._first[-1])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, m, m, m)."""
        m = self.geometry.subvolume
        return len(self), m, m, m

    def __repr__(self) -> str:
        """Return the shape and where it is."""
        redshifts = f"redshift {in_words(self.redshift_values)}"
        return f"<{self.kind} subvolumes {self.shape} float32 of {redshifts}: {self.path}>"

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read subvolumes as numpy would index them; whole ones are read, slices of the other axes cut from them.

        Parameters
        ----------
        key : number, slice, or array of numbers or booleans; on the other axes numbers and slices only

        Returns
        -------
        float32, in units of the mean density
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        if first is None or not all(_is_simple(part) for part in rest):
            raise IndexError("only the first axis takes arrays, the others numbers and slices; read, then index")
        rows = self._numbers[first]
        density = self.read(rows.ravel()).reshape(rows.shape + self.shape[1:])
        return density[(*(slice(None),) * rows.ndim, *rest)]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield one subvolume after another, (m, m, m)."""
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """Read all subvolumes."""
        if copy is False:
            raise ValueError(f"{self.path}: lies in files; an array of it is always a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["Folder"], tuple[Path, float | None]]:
        """Open anew in another process: open files do not travel."""
        return Folder, (self.path, self._selected)

    def close(self) -> None:
        """Close all files; a later read opens them again."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return densities.

        Parameters
        ----------
        rows : (n,) int row numbers, in any order

        Returns
        -------
        (n, m, m, m) float32, in units of the mean density
        """
        rows = np.asarray(rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"{self.path}: expected rows from 0 to {len(self) - 1}, found {rows.min()} to {rows.max()}"
            )
        out = np.empty((len(rows), *self.shape[1:]), np.float32)
        for shard, places in self._by_shard(rows):
            self._read_into(out, places, shard, rows[places] - self._first[shard])
        return out

    def column(self, name: str) -> np.ndarray:
        """Read a column from all shards: ``corner``, ``simulation``, ``seed`` or ``index``; (n, …) int."""
        parts = [self._read(shard, name, np.arange(entry.rows)) for shard, entry in enumerate(self.shards)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    @cached_property
    def simulations(self) -> np.ndarray:
        """The simulation that each row comes from, (n,) int; only for simulated folders."""
        self._require_simulated()
        if any(shard.simulation is None for shard in self.shards):  # an older manifest
            return self.column("simulation")
        return self._repeated([shard.simulation for shard in self.shards], np.int32)

    @cached_property
    def corners(self) -> np.ndarray:
        """The first cell of each row, (n, 3) int; only for simulated folders. Opens every file."""
        self._require_simulated()
        return self.column("corner").reshape(-1, 3)

    @cached_property
    def redshifts(self) -> np.ndarray:
        """Which of `redshift_values` each row has, (n,) float64."""
        values = np.array(self.redshift_values)
        nearest = [values[np.searchsorted(values, shard.redshift, side="right") - 1] for shard in self.shards]
        return self._repeated(nearest, np.float64)

    def shards_of(self, rows: np.ndarray) -> list[Shard]:
        """Return the shards that some rows lie in."""
        return [self.shards[number] for number, _ in self._by_shard(rows)]

    def read_from(self, copies: Mapping[Path, Path]) -> None:
        """Read shards from their copies, where there are any."""
        self.shards = tuple(replace(shard, path=copies.get(shard.path, shard.path)) for shard in self.shards)

    def rows_of(self, simulations: list[int]) -> np.ndarray:
        """Return the row numbers that belong to the given simulations."""
        return np.flatnonzero(np.isin(self.simulations, simulations))

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Every row's number: indexing it is numpy's indexing of the first axis, errors and all."""
        return np.arange(len(self))

    def _require_simulated(self) -> None:
        if self.kind != "simulated":
            raise ValueError(f"{self.path}: expected simulated subvolumes, found {self.kind} ones")

    def _repeated(self, of_shards: list[Any], dtype: DTypeLike) -> np.ndarray:
        return np.repeat(np.array(of_shards, dtype), [shard.rows for shard in self.shards])

    def _by_shard(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        shard_of = np.searchsorted(self._first, rows, side="right") - 1
        for shard in np.unique(shard_of):
            yield int(shard), np.flatnonzero(shard_of == shard)

    def _read(self, shard: int, name: str, wanted: np.ndarray) -> np.ndarray:
        """Read sorted rows of a shard's dataset."""
        with self._opened(shard, name) as dataset:
            return _rows(dataset, wanted)

    def _read_into(self, out: np.ndarray, places: np.ndarray, shard: int, rows: np.ndarray) -> None:
        """Read a shard's densities to places of an array, runs of consecutive rows in one go and without a copy."""
        order = np.argsort(rows, kind="stable")
        runs = np.flatnonzero((np.diff(rows[order]) != 1) | (np.diff(places[order]) != 1)) + 1
        with self._opened(shard, "density") as dataset:
            for run in np.split(order, runs):
                first, place, n = rows[run[0]], places[run[0]], len(run)
                dataset.read_direct(out, np.s_[first : first + n], np.s_[place : place + n])

    @contextlib.contextmanager
    def _opened(self, shard: int, name: str) -> Iterator[h5py.Dataset]:
        """Give a shard's dataset, which no other thread closes meanwhile; name the file in errors."""
        try:
            with self._lock:
                yield self._dataset(shard, name)
        except (OSError, KeyError) as error:
            raise ValueError(
                f"{self.shards[shard].path}: damaged: {error}; delete it and preprocess or sample again"
            ) from None

    def _dataset(self, shard: int, name: str) -> h5py.Dataset:
        """Return a shard's dataset, of which every number is there."""
        file = self._file(shard)
        if (shard, name) not in self._whole:
            hdf5.dataset(file, name)
            self._whole.add((shard, name))
        return file[name]

    def _file(self, shard: int) -> h5py.File:
        """Return a shard's open file, and close the one that was not used for longest when there are too many."""
        if shard not in self._files:
            entry = self.shards[shard]
            file = open_file(entry.path)
            shape, expected = file["density"].shape, (entry.rows, *self.shape[1:])
            if shape != expected:
                file.close()
                raise ValueError(
                    f"{entry.path}: expected density of shape {expected} as the manifest says, found {shape}"
                )
            self._files[shard] = file
            if len(self._files) > MAX_OPEN:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(shard)
        return self._files[shard]


def open(path: Path | str, redshift: float | None = None) -> Folder:
    """Open a folder of shards as a lazy array; see `Folder`."""
    return Folder(path, redshift)


def open_one(path: Path | str, redshift: float | None = None) -> Folder:
    """Open a folder of shards at one redshift, the setting ``redshift``.

    Raises
    ------
    ValueError
        when the folder has several and none is chosen: names them.
    """
    folder = Folder(path, redshift)
    values = folder.redshift_values
    if len(values) > 1:
        raise ValueError(f"{path}: has redshifts {in_words(values)}; choose one with redshift: {values[0]:g}")
    return folder


def _is_simple(index: object) -> bool:
    return isinstance(index, (int, np.integer, slice, type(Ellipsis))) and not isinstance(index, bool)


def _rows(dataset: h5py.Dataset, wanted: np.ndarray) -> np.ndarray:
    """Read sorted rows; a consecutive run in one go, which h5py does many times faster."""
    if len(wanted) and wanted[-1] - wanted[0] == len(wanted) - 1:
        return dataset[wanted[0] : wanted[-1] + 1]
    return np.stack([dataset[row] for row in wanted]) if len(wanted) else dataset[:0]
