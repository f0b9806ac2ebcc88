"""Write a file for HDF5 and keep its first error, to raise it when HDF5 is done.

HDF5 does not survive a write that fails (no space, quota, size limit): objects stay half open, closing raises again,
and the library crashes while the interpreter ends. So the first error is kept, what HDF5 writes after it is dropped,
HDF5 closes in peace, and `Sink.check` raises.
"""

import contextlib
import ctypes
import io
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import h5py

from hpc.files import whole_file

START_AFTER = 8 << 20  # bytes: what is written goes to disk from then on, while more is made
WRITE = 2  # sync_file_range's SYNC_FILE_RANGE_WRITE: start, and don't wait


class Sink(io.FileIO):
    """A new file to give to ``h5py.File`` in place of a name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._start = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux has it
        self._waiting = 0  # bytes
        self._errors: list[BaseException] = []
        self.write = _forgiving(self._write_all, self._errors)  # type: ignore[method-assign]
        self.truncate = _forgiving(super().truncate, self._errors)  # type: ignore[method-assign, assignment]

    def check(self) -> None:
        """Raise the first error since the file was opened, if there was any."""
        if self._errors:
            raise self._errors[0]

    def _write_all(self, data: bytes | memoryview) -> None:
        left = memoryview(data).cast("B")
        while left:  # a nearly full disk takes a part; the kernel takes at most 2 GB at once
            written = super().write(left)
            left = left[written:]
            self._waiting += written
        if self._start is not None and self._waiting >= START_AFTER:
            self._start(self.fileno(), ctypes.c_int64(0), ctypes.c_int64(0), WRITE)  # all of the file
            self._waiting = 0


@contextlib.contextmanager
def whole_hdf5(path: Path, meanwhile: Callable[[Path], None] = lambda written: None) -> Iterator[h5py.File]:
    """Give an open HDF5 file to fill; it gets its final name when it is whole, and a failed one leaves nothing behind.

    ``meanwhile`` is called as by `whole_file`.

    Raises
    ------
    OSError
        when the disk or a quota is full: names ``path``, the reason, and what to do.
    """
    with whole_file(path, meanwhile) as temporary, Sink(temporary) as sink:
        try:
            with h5py.File(sink, "w", libver="v110") as file:
                yield file
        finally:
            sink.check()


def _forgiving(call: Callable[[Any], Any], errors: list[BaseException]) -> Callable[[Any], Any]:
    """Return a function that calls ``call`` until it fails once, and never raises.

    It is a generator's ``send``: a Ctrl-C that arrived while HDF5 was busy is raised where the generator waits, inside
    the ``try``. A plain function would meet it before its first line, and it would get out.
    """

    def loop() -> Generator[Any, Any, None]:
        result = None
        while True:
            try:
                while True:  # inside, for Python looks for signals at a loop's end as well
                    argument = yield result
                    result = None if errors else call(argument)
            except GeneratorExit:
                return
            except BaseException as error:
                errors.append(error)

    waiting = loop()
    next(waiting)
    return waiting.send
