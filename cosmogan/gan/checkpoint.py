"""Checkpoints: whole files, the last few kept; a damaged one is passed over for the one before."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from hpc.rundir import whole_file


def save(folder: Path, state: dict[str, Any], keep: int) -> None:
    """Write ``step-00001234.pt`` from ``state["step"]``, and remove all but the last ``keep``."""
    with whole_file(folder / f"step-{state['step']:08d}.pt") as temporary:
        torch.save(state, temporary)
    for path in found(folder)[keep:]:
        path.unlink()


def found(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first."""
    return sorted(folder.glob("step-*.pt"), reverse=True)


def newest(folder: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest checkpoint that can be read, on the CPU; None when there is none.

    Parameters
    ----------
    folder : where they are
    report : is told one line of each damaged one
    """
    for path in found(folder):
        try:
            return _load(path)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, BadZipFile) as error:
            reason = " ".join(str(error).split())[:80] or type(error).__name__
            report(f"{path}: damaged ({reason}); taking the checkpoint before it")
    return None


def _load(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:
        broken = archive.testzip()  # torch itself does not look at the checksums
    if broken is not None:
        raise ValueError(f"wrong checksum of {broken}")
    return torch.load(path, map_location="cpu", weights_only=True)
