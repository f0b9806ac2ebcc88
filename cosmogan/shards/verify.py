"""Verify a folder against its manifest: every shard's bytes and attributes."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from pathlib import Path
from typing import cast

import h5py
import numpy as np
from numpy.typing import DTypeLike

from cosmogan.shards.manifest import Manifest, Shard
from cosmogan.shards.schema import COLUMNS, FORMAT, MAKER, in_bytes, open_file
from hpc import hdf5
from hpc.files import checksum
from hpc.log import Progress, say

MAX_THREADS = 8  # SHA-256 runs beside Python; more of them only wait for the disk
MANIFEST = "manifest.json"


class Damaged(ValueError):
    """Damage of a shard: what was found, and what was expected."""


def verify(folder: Path) -> bool:
    """Check a folder, print one line for each damaged shard and a last one for all; say whether it is whole."""
    if not folder.is_dir():
        say(f"{folder}: no such folder")
        return False
    if not (folder / MANIFEST).exists():
        say(_unfinished(folder))
        return False
    try:
        manifest = Manifest.read(folder)
    except ValueError as error:
        say(str(error))
        return False
    n, damaged, size = len(manifest.shards), 0, 0
    with Progress(f"verify {folder.name}", n, "shards") as progress:
        for shard, defect in zip(manifest.shards, _check_all(manifest), strict=True):
            progress.advance()
            damaged += defect is not None
            size += shard.path.stat().st_size if shard.path.exists() else 0
            if defect is not None:
                say(f"{shard.path}: {defect}")
    for note in strangers(folder, {shard.path.name for shard in manifest.shards}):
        say(note)
    rows = sum(shard.rows for shard in manifest.shards)
    if damaged:
        say(f"{folder}: {damaged} of {n} shards damaged or missing")
    else:
        say(f"{folder}: all {n} shards are whole, byte for byte: {rows} subvolumes, {in_bytes(size)}")
    return not damaged


def strangers(folder: Path, listed: set[str]) -> Iterator[str]:
    """Yield a line for each file that the manifest does not list; no command reads them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name in {MANIFEST, *listed}:
            continue
        what = "left by a command that was stopped" if path.name.endswith(".part") else "not in the manifest"
        yield f"{path}: {what}; harmless: nothing reads it"


def _unfinished(folder: Path) -> str:
    """Say how far a folder without a manifest has come: a shard with its final name is whole."""
    whole, makers = 0, set()
    for path in folder.glob("*.h5"):
        with contextlib.suppress(ValueError), open_file(path) as file:
            whole += 1
            makers.add(MAKER.get(file.attrs.get("kind"), ""))
    maker = makers.pop() if len(makers) == 1 else "preprocess"
    advice = f"run the same {maker} command again: it resumes from them" if whole else f"run {maker}"
    return f"{folder}: no {MANIFEST}: {maker} has not finished; whole shards there: {whole}; {advice}"


def _check_all(manifest: Manifest) -> Iterator[str | None]:
    """Yield each shard's defect, or None, in order; several shards are read at once."""
    n_threads = min(MAX_THREADS, os.cpu_count() or 1)
    sums = [str(line.get("sha256")) for line in manifest.tree["shards"]]

    def check(shard: Shard, expected: str) -> str | None:
        maker = MAKER.get(manifest.kind, "preprocess")
        try:
            if not shard.path.exists():
                return f"not found, expected {shard.rows} subvolumes; run the same {maker} command again"
            check_shard(shard, manifest, expected)
        except PermissionError as error:
            return f"{error.strerror}, expected a readable file"
        except (OSError, Damaged, hdf5.Missing) as error:
            return f"{_in_one_line(error)}; delete it and run the same {maker} command again"
        return None

    with (
        ThreadPoolExecutor(n_threads) as pool,
        contextlib.closing(cast(Generator[str | None], pool.map(check, manifest.shards, sums))) as defects,
    ):  # closed by Ctrl-C: begins no more
        yield from defects


def check_shard(shard: Shard, manifest: Manifest, sha256: str) -> None:
    """Compare a shard with its line of the manifest.

    A matching checksum means that every number is the one that was written, so none is read.

    Raises
    ------
    Damaged
        what was found and what was expected.
    """
    try:
        with h5py.File(shard.path, "r") as file:
            _check_schema(file, shard, manifest)
    except (OSError, RuntimeError, KeyError) as error:  # as HDF5 raises, the last where an object cannot be opened
        if isinstance(error, PermissionError):
            raise
        size, advice = shard.path.stat().st_size, hdf5.advice(error, damaged="")
        words = "; ".join(filter(None, (hdf5.reason(error), advice)))
        raise Damaged(f"found {size:,} bytes that HDF5 cannot read ({words}), expected a shard") from None
    digest = checksum(shard.path)
    if digest != sha256:
        raise Damaged(f"found SHA-256 {_short(digest)}, expected {_short(sha256)}: some bytes changed")


def _check_schema(file: h5py.File, shard: Shard, manifest: Manifest) -> None:
    geometry, m = manifest.geometry, manifest.geometry.subvolume
    file_format = file.attrs.get("format", "another HDF5 file")
    if file_format != FORMAT:
        raise Damaged(f"found {file_format!r}, expected format {FORMAT}")
    _check_dataset(file, "density", ("f4", (shard.rows, m, m, m)))
    if file["density"].chunks != (1, m, m, m):
        raise Damaged(f"found density in chunks of {file['density'].chunks}, expected {(1, m, m, m)}")
    for name, (dtype, shape) in COLUMNS[manifest.kind].items():
        _check_dataset(file, name, (dtype, (shard.rows, *shape)))
    own = {"redshift": shard.redshift, "mean_cell_mass": shard.mean_cell_mass}
    expected = dataclasses.asdict(geometry) | {"cell_size": geometry.cell_size, **own}
    for name, value in {**expected, "kind": manifest.kind}.items():
        if not _same(file.attrs.get(name), value):
            raise Damaged(f"found {name} {file.attrs.get(name, 'nowhere')}, expected {value}")


def _check_dataset(file: h5py.File, name: str, expected: tuple[str, tuple[int, ...]]) -> None:
    try:
        dataset = hdf5.dataset(file, name)
    except KeyError:
        raise Damaged(f"found no {name}, expected {_dataset(*expected)}") from None
    stored = _dataset(dataset.dtype, dataset.shape)
    if stored != _dataset(*expected):
        raise Damaged(f"found {name} {stored}, expected {_dataset(*expected)}")


def _dataset(dtype: DTypeLike, shape: tuple[int, ...]) -> str:
    return f"{np.dtype(dtype).name} {shape}"


def _same(stored: object, expected: object) -> bool:
    """Say whether an attribute, whatever it holds, is what was expected; a number, but for its rounding."""
    if isinstance(expected, float) and isinstance(stored, Real):
        return math.isclose(stored, expected, rel_tol=1e-9, abs_tol=1e-12)
    return bool(np.array_equal(stored, expected))  # type: ignore[arg-type]


def _short(sha256: str) -> str:
    return f"{sha256[:12]}…"


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
