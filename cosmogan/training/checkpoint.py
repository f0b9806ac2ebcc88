"""Write checkpoints while training runs, keep the last few, and read the newest that is not damaged."""

import io
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from hpc.files import whole_file

DAMAGES = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, BadZipFile)


class Checkpoints:
    """The checkpoints of one training, ``step-00001234.pt``.

    A copy of the state is taken at once, and a thread writes it, at most one at a time. On leaving, the last is waited
    for.

    Parameters
    ----------
    folder : where they are
    keep : the last so many stay; so does the last good one
    epoch_steps : steps in an epoch. A checkpoint at an epoch's end is good: it is saved after the check for a collapse
    """

    def __init__(self, folder: Path, keep: int, epoch_steps: int) -> None:
        self.folder, self._keep, self._epoch_steps = folder, keep, epoch_steps
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    def save(self, state: Mapping[str, object]) -> None:
        """Begin to write a checkpoint, named after ``state["step"]``; first `wait` for the one before."""
        self.wait()
        self._writing = self._thread.submit(self._write, _copied(state))

    def failed(self) -> bool:
        """Say whether the latest write has ended with an error, which the next `save` or `wait` raises."""
        return self._writing is not None and self._writing.done() and self._writing.exception() is not None

    def wait(self) -> None:
        """Wait for the write under way.

        Raises
        ------
        OSError
            when the file could not be written; those before it are as they were.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def paths(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def newest(self, report: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest checkpoint that can be read, on the CPU; None when there is none.

        Parameters
        ----------
        report : takes one line about each damaged one
        """
        for path in self.paths():
            try:
                return _load(path)
            except DAMAGES as error:
                reason = " ".join(str(error).split())[:80] or type(error).__name__
                report(f"{path}: damaged ({reason}); taking the checkpoint before it")
        return None

    def drop_doubtful(self) -> int:
        """Remove the checkpoints after the last good one; return its step, 0 when there is none."""
        self.wait()
        good = self._last_good()
        for path in self.paths():
            if good is None or path > good:
                path.unlink()
        return 0 if good is None else _step(good)

    def _last_good(self) -> Path | None:
        return next((path for path in self.paths() if _step(path) % self._epoch_steps == 0), None)

    def _write(self, state: Mapping[str, object]) -> None:
        path = self.folder / f"step-{state['step']:08d}.pt"
        buffer = io.BytesIO()  # torch's own writing makes a full disk an obscure error
        torch.save(state, buffer)
        with whole_file(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        good = self._last_good()
        for old in self.paths()[self._keep :]:
            if old != good:
                old.unlink()
        for left in self.folder.glob(".step-*.part"):  # by a run that was killed while it wrote
            left.unlink()


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _copied(tree: Any) -> Any:
    """Return a copy of nested containers whose tensors are on the CPU and nobody else's."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return type(tree)(map(_copied, tree)) if isinstance(tree, list | tuple) else tree


def _load(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:
        broken = archive.testzip()  # torch itself does not look at the checksums
    if broken is not None:
        raise ValueError(f"wrong checksum of {broken}")
    return torch.load(path, map_location="cpu", weights_only=True)
