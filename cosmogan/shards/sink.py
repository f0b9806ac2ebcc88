"""A file that never tells HDF5 of a failure: it keeps the error, and says it when HDF5 is done.

HDF5 does not survive a write that fails (no space, quota, size limit): objects stay half open, closing raises again,
and the library crashes while the interpreter ends. So the first error is kept, what HDF5 writes after it is dropped,
HDF5 closes in peace, and `Sink.check` raises.
"""

import io
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any


class Sink(io.FileIO):
    """A new file to give to ``h5py.File`` in place of a name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._errors: list[BaseException] = []
        self.write = _forgiving(self._write_all, self._errors)  # type: ignore[method-assign]
        self.truncate = _forgiving(super().truncate, self._errors)  # type: ignore[method-assign]

    def check(self) -> None:
        """Raise what went wrong since the file was opened, if anything did."""
        if self._errors:
            raise self._errors[0]

    def _write_all(self, data: Any) -> None:
        left = memoryview(data).cast("B")
        while left:  # a nearly full disk takes a part; the kernel takes at most 2 GB at once
            left = left[super().write(left) :]


def _forgiving(call: Callable[[Any], Any], errors: list[BaseException]) -> Callable[[Any], Any]:
    """Return a function that calls ``call`` until it fails once, and never raises.

    It is a generator's ``send``: a Ctrl-C that arrived while HDF5 was busy is raised where the generator waits, inside
    the ``try``. A plain function would meet it before its first line, and it would get out.
    """

    def loop() -> Generator[Any, Any, None]:
        result = None
        while True:
            try:
                argument = yield result
                result = None if errors else call(argument)
            except GeneratorExit:
                return
            except BaseException as error:
                errors.append(error)

    waiting = loop()
    next(waiting)
    return waiting.send
