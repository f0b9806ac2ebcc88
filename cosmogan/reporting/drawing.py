"""Draw the report's figures in processes beside one another, and write their files."""

import functools
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from cosmogan.reporting import catalogue, page, style
from cosmogan.reporting.catalogue import Entry
from cosmogan.reporting.runs import Run
from hpc.files import whole_file

EACH = 3  # figures that are worth the start of a process
MAX_PROCESSES = 8
SLOW = ("volumes", "voxel-pdf", "covariance", "bispectrum", "reduced-bispectrum", "sequence")  # these begin


@dataclass(frozen=True)
class Left:
    """A figure that is left out."""

    title: str
    reason: str


def exhibits(runs: Sequence[Run], folder: Path) -> tuple[list[page.Exhibit], list[Left]]:
    """Draw all figures and write their files; return what the page shows, in the paper's order, and what it lacks.

    Parameters
    ----------
    runs : one, or several together
    folder : of the files
    """
    entries = [entry for entry in catalogue.CATALOGUE if len(runs) == 1 or entry.several]
    n_processes = min(len(os.sched_getaffinity(0)), len(entries) // EACH, MAX_PROCESSES)
    task = functools.partial(_task, runs, folder)
    drawn = [task(entry) for entry in entries] if n_processes < 2 else _beside(entries, runs, folder, n_processes)
    shown = [figure for figure in drawn if isinstance(figure, page.Exhibit)]
    return shown, [figure for figure in drawn if isinstance(figure, Left)]


def _beside(entries: Sequence[Entry], runs: Sequence[Run], folder: Path, n_processes: int) -> list[page.Exhibit | Left]:
    """Return each entry's exhibit, drawn in so many processes, the slow ones first.

    Raises
    ------
    ValueError
        when one of the processes ended early.
    """
    order = sorted(entries, key=lambda entry: SLOW.index(entry.name) if entry.name in SLOW else len(SLOW))
    # A fork of this process would inherit MPI, and locks of threads that it lacks. A fresh process imports all once.
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([catalogue.__name__])
    try:
        with ProcessPoolExecutor(n_processes, fresh, _begin, (runs, folder)) as pool:
            drawn = dict(zip([entry.name for entry in order], pool.map(_drawn, order), strict=True))
    except (BrokenProcessPool, BrokenPipeError):  # the latter when it ended before all had begun
        raise ValueError(
            f"{folder}: one of {n_processes} processes that draw figures ended early: it was killed, as for want of "
            'memory (fewer processors take less), or a script of yours lacks `if __name__ == "__main__":`'
        ) from None
    return [drawn[entry.name] for entry in entries]


_work: Callable[[Entry], page.Exhibit | Left]


def _begin(runs: Sequence[Run], folder: Path) -> None:
    """Set a drawing process up: it ends soon, and matplotlib makes no garbage that is worth looking for."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word: the command, whom it reaches, says it
    gc.disable()
    _work = functools.partial(_task, runs, folder)


def _drawn(entry: Entry) -> page.Exhibit | Left:
    return _work(entry)


def _task(runs: Sequence[Run], folder: Path, entry: Entry) -> page.Exhibit | Left:
    """Draw one figure and write its files."""
    drawn = catalogue.drawn(entry, runs)
    if isinstance(drawn, str):
        return Left(entry.title, drawn)
    files = catalogue.files(drawn)
    for suffix, content in files.items():
        with whole_file(folder / f"{entry.name}{suffix}") as temporary:
            temporary.write_bytes(content)
    narrow = [style.png(drawn.narrow)] if drawn.narrow else []
    links = {suffix[1:].upper(): f"{folder.name}/{entry.name}{suffix}" for suffix in files}
    title = catalogue.heading(entry, len(runs) > 1)
    images = [files[".png"], *narrow]
    return page.Exhibit(entry.name, title, entry.reading, drawn.caption, images, drawn.moving, links)
