"""Measure many samples in blocks on all ranks; a block on disk is done, and is never measured again."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hpc import mpi
from hpc.files import whole_file
from hpc.log import Progress

Values = dict[str, np.ndarray]


class Blocks:
    """A folder with a file for each block of samples.

    Blocks are cut before they are shared out: a transform sees the same samples beside each other on any number of
    ranks, so its rounding is the same too, and a run with other ranks resumes from it.

    Parameters
    ----------
    folder : of the files; it can be deleted when all is read
    key : stands for all that the values depend on; blocks of another key are measured again
    size : samples in a block
    comm : its ranks share the blocks
    """

    def __init__(self, folder: Path, key: str, size: int, comm: mpi.Comm) -> None:
        self._folder, self._key, self._size, self._comm = folder, key, size, comm
        self._samples: dict[str, int] = {}

    def measure(self, label: str, n: int, fetch: Callable[[slice], Any], work: Callable[[Any], Values]) -> None:
        """Measure the blocks of n samples that are missing; all ranks work, and return when all blocks are there.

        The next block is read, and the one before is written, while a block is measured.

        Parameters
        ----------
        label : names what is measured, in files and on the screen
        n : samples
        fetch : returns what is measured of some samples, in a thread of its own
        work : returns the values of what was fetched, an array (samples, …) each
        """
        self._samples[label] = n
        missing = (
            [i for i in range(-(-n // self._size)) if not self._is_done(label, i)] if self._comm.rank == 0 else None
        )
        missing = self._comm.bcast(missing)
        own = mpi.share(len(missing), self._comm)
        numbers = [missing[place] for place in own]
        parts = [slice(number * self._size, min((number + 1) * self._size, n)) for number in numbers]
        with (
            Progress(f"validate: {label}", len(own), "blocks", self._comm.rank) as progress,
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
        ):
            written: Future[None] = writer.submit(lambda: None)
            for number, fetched in zip(numbers, _ahead(reader, fetch, parts), strict=True):
                values = work(fetched)
                written.result()
                written = writer.submit(self._write, self._path(label, number), values)
                progress.advance()
            written.result()
        self._comm.barrier()

    def read(
        self, label: str, wanted: Callable[[str], bool] = lambda name: True, rows: np.ndarray | None = None
    ) -> Values:
        """Return the values of samples that were measured, (n, …) each.

        Parameters
        ----------
        label : that they were measured as
        wanted : says which values, by their names
        rows : numbers of samples, rising; None: all
        """
        columns: Values = {}
        chosen = np.arange(self._samples[label]) if rows is None else rows
        block, place = np.divmod(chosen, self._size)
        for number in np.unique(block):
            own = block == number
            for name, values in self.block(label, number, wanted).items():
                columns.setdefault(name, np.empty((len(chosen), *values.shape[1:]), values.dtype))
                columns[name][own] = values[place[own]]
        return columns

    def block(self, label: str, number: int, wanted: Callable[[str], bool] = lambda name: True) -> Values:
        """Return one block's values of the names that are wanted."""
        with np.load(self._path(label, number)) as file:
            return {name: file[name] for name in file if name != "key" and wanted(name)}

    def _write(self, path: Path, values: Values) -> None:
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, key=np.array(self._key), **values)  # type: ignore[arg-type] # none is called allow_pickle

    def _path(self, label: str, number: int) -> Path:
        return self._folder / f"{label.replace(' ', '-')}-{number:06d}.npz"

    def _is_done(self, label: str, number: int) -> bool:
        path = self._path(label, number)
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(path) as file:
            return file["key"].item() == self._key
        return False


def _ahead(reader: ThreadPoolExecutor, fetch: Callable[[slice], Any], parts: list[slice]) -> Iterator[Any]:
    """Fetch and yield each part; the next one is fetched meanwhile."""
    coming = reader.submit(fetch, parts[0]) if parts else None
    for following in [*parts[1:], None]:
        if coming is None:
            return
        fetched = coming.result()
        coming = None if following is None else reader.submit(fetch, following)
        yield fetched
