"""Write and read the latents of samples, and the logits of rejection sampling.

The archive of latents (``cosmogan-latents/1``) is a thousandth of the volumes' size. HDF5: ``latent`` float32 (n,
latent_dimension) as the generator takes them, ``seed`` and ``index`` int64 (n), and as attributes the generator's
checksum, its latent scale and prior, for whoever finds the file alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import h5py
import numpy as np

from cosmogan import shards
from hpc import hdf5
from hpc.files import whole_file
from hpc.receipts import provenance

FORMAT = "cosmogan-latents/1"


class Latents(NamedTuple):
    """Samples that are still to be drawn, a row each."""

    latent: np.ndarray  # (n, latent_dimension) float32, times the latent scale
    seed: np.ndarray  # (n,) int64
    index: np.ndarray  # type: ignore[assignment]  # (n,) int64; hides the method of tuples

    def rows(self, which: slice) -> "Latents":
        """Return some of the samples."""
        return Latents(*(column[which] for column in self))


def write(path: Path, latents: Latents, about: Mapping[str, object]) -> None:
    """Write an archive, atomically.

    Parameters
    ----------
    path : of the file
    latents : what it holds
    about : numbers and words for its attributes, at least ``generator``, the checksum of its weights

    Raises
    ------
    OSError
        when the disk or a quota is full: names the file, the reason, and what to do.
    """
    with shards.whole_hdf5(path) as file:
        for name, values in latents._asdict().items():
            file.create_dataset(name, data=values)
        file.attrs.update(format=FORMAT, versions=json.dumps(provenance()), **about)


def read(path: Path, generator: str, dimension: int) -> Latents:
    """Read an archive.

    Parameters
    ----------
    path : the file
    generator : checksum of the generator that is going to draw
    dimension : of its latents

    Raises
    ------
    ValueError
        when the file is missing, something else, of another generator or dimension, or has a value that is no number.
    """
    try:
        with h5py.File(path, "r") as file:
            file_format = file.attrs.get("format", "another HDF5 file")
            if file_format != FORMAT:
                raise ValueError(f"{path}: expected an archive of latents, {FORMAT}, found {file_format!r}")
            latents = Latents(*(hdf5.dataset(file, name)[:] for name in Latents._fields))
            owner = file.attrs["generator"]
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; expected what `sample --latents` writes") from None
    except (OSError, KeyError) as error:
        raise _unreadable(path, error) from None
    shape = latents.latent.shape
    if latents.latent.ndim != 2 or shape[1] != dimension:
        raise ValueError(f"{path}: expected latents of {dimension} numbers, found an array of shape {shape}")
    if owner != generator:
        raise ValueError(
            f"{path}: latents of another generator (sha256 {owner[:12]}…, the released one's is {generator[:12]}…); "
            "it would make other volumes of them"
        )
    if not len(latents.index) == len(latents.seed) == len(latents.latent) or not np.isfinite(latents.latent).all():
        raise ValueError(f"{path}: damaged: expected seed, index and finite numbers for each of {shape[0]} samples")
    return latents


def _unreadable(path: Path, error: Exception) -> ValueError:
    cure = hdf5.advice(error, damaged="delete it and run `sample --latents` again")
    return ValueError(f"{path}: not a readable archive of latents: {hdf5.reason(error)}; {cure}")


def length(path: Path) -> int:
    """Return the number of samples in an archive.

    Raises
    ------
    ValueError
        when it is missing or cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            return len(hdf5.dataset(file, "index"))
    except (OSError, KeyError) as error:
        raise _unreadable(path, error) from None


def write_judged(path: Path, **columns: np.ndarray) -> None:
    """Write the logits of rejection sampling and what it accepted (``rejection.npz``), atomically."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]


def read_judged(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of `write_judged`.

    Raises
    ------
    ValueError
        when the file is damaged.
    """
    try:
        with open(path, "rb") as raw, np.load(raw) as file:
            return dict(file)
    except (ValueError, EOFError, BadZipFile):
        raise ValueError(f"{path}: damaged; delete it and run `sample` again") from None
