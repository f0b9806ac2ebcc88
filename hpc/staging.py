"""Copy files to a node's own disk for as long as a job runs: once per node, verified, and removed in the end."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from hpc.distributed import Processes
from hpc.files import NO_ROOM
from hpc.log import Progress

PREFIX = f"cosmogan-staged-{os.getuid()}-"
BLOCK = 8 << 20  # bytes


@contextlib.contextmanager
def staged(files: Mapping[Path, str], place: str, setting: str, processes: Processes) -> Iterator[dict[Path, Path]]:
    """Copy files to this node's disk, and give where each one's copy is; in the end they are removed.

    The first process of each node copies, into a folder of its own. It holds a lock there, which dies with it: a folder
    that a killed job left is removed by the next one of the same user.

    Parameters
    ----------
    files : paths, with names that differ, and their SHA-256
    place : folder on the node; may have $VARIABLES of the node's environment
    setting : the name of ``place`` in errors
    processes : that work together, a `hpc.distributed.Processes`

    Raises
    ------
    ValueError
        when the place is none to write to or has no room, or a file is not what its checksum says.
    """
    copies_here = processes.local_rank == 0
    with contextlib.ExitStack() as own:
        folders = processes.each(copies_here, lambda: own.enter_context(_claimed(files, place, setting)))
        on_this_node = (path for path in folders if path is not None and path.is_dir())  # names are random
        folder = folders[processes.rank] or next(on_this_node)
        with Progress("copying to this node", len(files), "files", processes.rank) as progress:
            for path, sha256 in files.items():  # all meet after each, so that none waits for longer than its patience
                processes.each(copies_here, partial(_copy, path, folder / path.name, sha256, setting))
                progress.advance()
        yield {path: folder / path.name for path in files}


@contextlib.contextmanager
def _claimed(files: Mapping[Path, str], place: str, setting: str) -> Iterator[Path]:
    """Give a new folder, locked, after those of dead jobs are gone; remove it in the end."""
    parent = _expanded(place, setting)
    _remove_dead(parent)
    needed, free = sum(path.stat().st_size for path in files), shutil.disk_usage(parent).free
    if needed > free:
        raise _no_room(setting, parent, f"{needed / 1e9:.3g} GB", free)
    folder, lock = _new_folder(parent)
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:  # a launcher may tell a process twice to end: the second time interrupts the line above
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _expanded(place: str, setting: str) -> Path:
    expanded = os.path.expanduser(os.path.expandvars(place))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ValueError(f"{setting}: {place}: ${unset[1]} is not set; set it, or name a folder on the node's disk")
    if not os.access(expanded, os.W_OK | os.X_OK) or not os.path.isdir(expanded):
        raise ValueError(f"{setting}: expected a folder on this node to write to, found {expanded}, which is none")
    return Path(expanded)


def _new_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder and lock it; return its descriptor, too, which holds the lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)  # until it was locked another job took it for a dead one's


def _remove_dead(parent: Path) -> None:
    """Remove this user's folders whose lock nobody holds."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _copy(path: Path, copy: Path, sha256: str, setting: str) -> None:
    """Copy a file, in one pass in which its checksum is computed and compared."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source, open(copy, "wb") as target:
            while block := source.read(BLOCK):
                digest.update(block)
                target.write(block)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        free = shutil.disk_usage(copy.parent).free
        raise _no_room(setting, copy.parent.parent, f"{path.name}, {path.stat().st_size / 1e9:.3g} GB", free) from None
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"{path}: found SHA-256 {digest.hexdigest()[:12]}…, expected {sha256[:12]}…: damaged; delete it and run "
            "the stage that writes it again"
        )


def _no_room(setting: str, parent: Path, needed: str, free: int) -> ValueError:
    return ValueError(
        f"{setting}: {parent}: expected room for {needed}, found {free / 1e9:.3g} GB free; free some, name another "
        "folder, or set null to read the files where they are"
    )
