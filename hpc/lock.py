"""Lock a folder for one process; the kernel releases the lock when that process ends."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hpc.files import HOST
from hpc.log import say

TRIES, PAUSE = 10, 0.1  # whoever looks whether a lock is held holds it for a moment


@contextlib.contextmanager
def alone(folder: Path, stage: str, part: int | None = None) -> Iterator[None]:
    """Be the only process that does a stage's work, or a part of it, in a folder; parts may work side by side.

    Where the file system has no locks a warning is printed, and the work is done without.

    Raises
    ------
    ValueError
        when another process is at work: names its host, its number, and since when.
    """
    with _folder(folder), contextlib.ExitStack() as held:
        if part is not None:
            held.enter_context(_locked(folder, stage, fcntl.LOCK_SH))
            stage = f"{stage}-part-{part}"
        held.enter_context(_locked(folder, stage, fcntl.LOCK_EX))
        for left in folder.glob(f".{stage}-part-*.lock"):  # by parts that were killed
            left.unlink(missing_ok=True)
        yield


def holder(folder: Path, stage: str) -> dict[str, str] | None:
    """Return ``host``, ``process`` and ``since`` of the process at work; None where none can be seen."""
    try:
        with open(_path(folder, stage)) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
            last = _read(file)
        return last if any(holder(folder, path.name[1:-5]) for path in folder.glob(f".{stage}-part-*.lock")) else None
    except OSError:
        return None


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again if nothing came into it."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            for path in new:
                path.rmdir()


def _path(folder: Path, stage: str) -> Path:
    return folder / f".{stage}.lock"


@contextlib.contextmanager
def _locked(folder: Path, stage: str, kind: int) -> Iterator[None]:
    file = _taken(folder, stage, kind)
    if file is None:
        yield
        return
    with file:
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        json.dump({"host": HOST, "process": str(os.getpid()), "since": since}, file)
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):  # other parts are at work: the last removes it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _path(folder, stage).unlink(missing_ok=True)  # whoever has opened it meanwhile sees that it is gone


def _taken(folder: Path, stage: str, kind: int) -> IO[str] | None:
    """Return the locked file; None where there are no locks."""
    path, who = _path(folder, stage), dict[str, str]()
    for _ in range(TRIES):
        file = open(path, "a+")  # noqa: SIM115 - it is kept open
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            who = _read(file)
        except OSError as error:
            file.close()
            path.unlink(missing_ok=True)
            why = f"this file system has no locks ({error.strerror}), so nothing keeps two {stage}s apart"
            say(f"WARNING: {folder}: {why}: do not start it twice")
            return None
        file.close()
        time.sleep(PAUSE)
    process = "process {process} on {host}, since {since}".format(**who) if who else "another process"
    raise ValueError(f"{folder}: {stage} is at work here already: {process}; wait for it, or end it")


def _read(file: IO[str]) -> dict[str, str]:
    """Return the entries that a lock's holder wrote to it; empty when they are not whole."""
    file.seek(0)
    with contextlib.suppress(ValueError):
        return json.loads(file.read())
    return {}
