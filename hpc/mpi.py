"""Use MPI: communicator, shares of work, bounded exchange, and an end of all ranks with one line on an error.

The only importer of mpi4py. A process that no MPI launcher started never touches MPI: a communicator of one
rank stands in, so every command runs without MPI installed.
"""

import contextlib
import importlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from hpc import mpi_environment
from hpc.killed_ranks import report_if_killed

T = TypeVar("T")
OURS = ("hpc", "cosmogan")  # packages whose errors are written for users


class World(Protocol):
    """Processes that work together: ranks of MPI, or of torch."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def size(self) -> int:
        """The number of processes."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    def on_root(self, work: Callable[[], T]) -> T:
        """Do something on process 0 only, and return its result on every one."""


class MPIError(RuntimeError):
    """A launcher and an MPI library that do not find each other."""


class SerialComm:
    """A communicator of one rank, with the calls this project uses."""

    rank = 0
    size = 1

    def barrier(self) -> None:
        """Return at once."""

    def bcast(self, value: T | None, root: int = 0) -> T:
        """Return the value."""
        return cast(T, value)

    def on_root(self, work: Callable[[], T]) -> T:
        """Do something and return its result."""
        return work()

    def gather(self, value: T, root: int = 0) -> list[T] | None:
        """Return the value in a list of one."""
        return [value]

    def allgather(self, value: T) -> list[T]:
        """Return the value in a list of one."""
        return [value]

    def allreduce(self, value: T) -> T:
        """Return the value: a sum over one rank."""
        return value

    def max(self, value: T) -> T:
        """Return the value: the largest over one rank."""
        return value

    def alltoall(self, counts: np.ndarray) -> np.ndarray:
        """Return the numbers that this rank sends to itself."""
        return counts

    def alltoallv(self, values: np.ndarray, counts: np.ndarray, out: np.ndarray, received_counts: np.ndarray) -> None:
        """Copy the rows that this rank sends to itself."""
        out[:] = values


class MPIComm:
    """The MPI world as this project uses it: a thin cover of mpi4py's, of which ``mpi`` is the module ``MPI``."""

    def __init__(self, mpi: ModuleType) -> None:
        self._mpi, self._comm = mpi, mpi.COMM_WORLD
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()

    def barrier(self) -> None:
        """Wait until every rank is here, asleep: a rank that works alone meanwhile has the cores for itself."""
        request = self._comm.Ibarrier()
        while not request.Test():
            time.sleep(0.005)

    def bcast(self, value: T | None, root: int = 0) -> T:
        """Return root's value on every rank."""
        return self._comm.bcast(value, root=root)

    def on_root(self, work: Callable[[], T]) -> T:
        """Do something on rank 0 only and return its result on every rank; the others wait asleep."""
        result: Any = work() if self.rank == 0 else None
        self.barrier()
        return self._comm.bcast(result)

    def gather(self, value: T, root: int = 0) -> list[T] | None:
        """Return every rank's value in rank order on root, None elsewhere."""
        return self._comm.gather(value, root=root)

    def allgather(self, value: T) -> list[T]:
        """Return every rank's value in rank order on every rank."""
        return self._comm.allgather(value)

    def allreduce(self, value: T) -> T:
        """Return the sum over ranks on every rank."""
        return self._comm.allreduce(value)

    def max(self, value: T) -> T:
        """Return the largest value over ranks on every rank."""
        return self._comm.allreduce(value, op=self._mpi.MAX)

    def alltoall(self, counts: np.ndarray) -> np.ndarray:
        """Send number ``counts[r]`` to rank r; return the (size,) int64 numbers that the ranks sent, in rank order."""
        received = np.empty_like(counts)
        self._comm.Alltoall(counts, received)
        return received

    def alltoallv(self, values: np.ndarray, counts: np.ndarray, out: np.ndarray, received_counts: np.ndarray) -> None:
        """Send rows of an array to every rank.

        Parameters
        ----------
        values : (n, ...) array, sorted by destination rank
        counts : (size,) int64, rows for each rank
        out : (m, ...) array, gets what the ranks sent, sorted by source rank
        received_counts : (size,) int64, what ``alltoall(counts)`` returned
        """
        # One row is one item, so that counts stay below 2^31 for any number of bytes.
        row = self._mpi.BYTE.Create_contiguous(int(values.itemsize * np.prod(values.shape[1:], dtype=np.int64)))
        row.Commit()
        self._comm.Alltoallv(
            [values, (counts, _offsets(counts)), row], [out, (received_counts, _offsets(received_counts)), row]
        )
        row.Free()

    def abort(self) -> None:
        """End every rank of the world with a non-zero exit status."""
        self._comm.Abort(1)


Comm = SerialComm | MPIComm


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)[:-1]))


def library() -> str:
    """Return the MPI library's name and version, as "MPICH Version: …"; empty where there is none. Starts no MPI."""
    try:
        _mpi4py().rc.initialize = False
        return str(_started().Get_library_version())
    except (ImportError, RuntimeError):
        return ""


def _mpi4py() -> ModuleType:
    """Import mpi4py; starts no MPI."""
    import mpi4py

    return mpi4py


def _started() -> ModuleType:
    """Import the MPI library, which starts MPI unless mpi4py's settings say otherwise."""
    return importlib.import_module("mpi4py.MPI")


def world(memory: str | None = None) -> Comm:
    """Return the communicator of all ranks that the launcher started.

    One of several ranks becomes a child process, see `hpc.killed_ranks`: if it is killed, one line says so.

    Parameters
    ----------
    memory : the setting that bounds a rank's memory, for that line; None: there is none

    Raises
    ------
    MPIError
        when a launcher started several ranks but mpi4py cannot be imported, or finds each of them alone
        (an mpirun of another MPI than the one that mpi4py uses, or an srun that starts plain processes).
    """
    size = mpi_environment.size()
    if size == 1:
        return SerialComm()
    try:
        _mpi4py()
        report_if_killed(mpi_environment.rank(), size, memory)
        library = _started()
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise MPIError(
            f"mpi4py: started as one of {size} MPI ranks, but it cannot be imported ({reason}); install it for this MPI"
        ) from None
    world_size = library.COMM_WORLD.Get_size()
    if world_size != size:
        version = library.Get_library_version().split(",")[0].split("\n")[0].strip()
        raise MPIError(
            f"mpirun or srun: started {size} ranks, but each finds itself in a world of {world_size}: mpi4py uses "
            f"{version}, the launcher belongs to another MPI, or to none; use the mpirun that comes with it, or "
            "srun --mpi=TYPE"
        )
    return MPIComm(library)


def refuse_ranks(command: str) -> None:
    """Refuse to be one of several ranks, for a command that one process does.

    Raises
    ------
    MPIError
        on rank 0, when a launcher started several.
    SystemExit
        on the others, which print nothing.
    """
    size, rank = mpi_environment.size(), mpi_environment.rank()
    if size == 1:
        return
    if rank > 0:
        time.sleep(_patience(rank))
        raise SystemExit(1)
    raise MPIError(
        f"mpirun or srun: started {size} ranks, but {command} is one process; start it alone, "
        "or one process for each --part I/N"
    )


def _patience(rank: int) -> float:
    """Return the seconds [s] that a rank above 0 gives rank 0 to speak first; a launcher ends all when one ends."""
    return min(0.5 + 0.05 * rank, 4.0)


class Terminated(BaseException):
    """The scheduler, or someone, asked this process to end (SIGTERM)."""


_EXIT: dict[type[BaseException], int] = {KeyboardInterrupt: 130, Terminated: 143}  # as shells count signals


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that files written in part are removed."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # some launchers say it twice
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def abort_on_error(comm: World, expected: tuple[type[BaseException], ...] = (ValueError, OSError)) -> Iterator[None]:
    """End every rank when one fails or is asked to end: one line for an expected error, the traceback for any other.

    Ranks above 0 wait a moment before they speak: what all ranks find wrong (a misspelt setting) rank 0 says once.
    """
    with _terminable():
        try:
            yield
        except SystemExit:
            raise
        except BaseException as raised:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this is the end already
            cause = raised.__cause__  # a signal in the middle of an import can come wrapped
            error = cause if isinstance(cause, KeyboardInterrupt | Terminated) else raised
            if comm.rank > 0:
                time.sleep(_patience(comm.rank))
            _say(error, expected, comm)
            if isinstance(comm, MPIComm):
                time.sleep(0.3)  # the launcher forwards what was said before it ends all
                comm.abort()
            raise SystemExit(_EXIT.get(type(error), 1)) from None


def _say(error: BaseException, expected: tuple[type[BaseException], ...], comm: World) -> None:
    rank = f" (rank {comm.rank} of {comm.size})" if comm.rank else ""
    if isinstance(error, (*expected, MPIError)) and _is_for_users(error):
        text = f"error{rank}: {describe(error)}"
    elif type(error) in _EXIT:
        text = "interrupted: run the same command again to resume"
    else:
        text = f"error{rank}:\n" + "".join(traceback.format_exception(error))
    print(text, file=sys.stderr, flush=True)


def _is_for_users(error: BaseException) -> bool:
    """Say whether an error tells the user something: a ``raise`` of ours made it, or it names a file.

    Any other is a bug, that of a library included, whose words are about our call and not about what the user gave.
    """
    if isinstance(error, OSError) and error.filename:
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _is_ours(frames[-1]) and (lines[-1].line or "").startswith("raise ")


def _is_ours(frame: FrameType) -> bool:
    """Say whether a frame runs code of this project, or of a script, and not of a library or of Python itself."""
    package = (frame.f_globals.get("__package__") or "").partition(".")[0]
    script = not package and frame.f_globals.get("__name__") not in sys.stdlib_module_names
    return script or package in OURS


def describe(error: BaseException) -> str:
    """Return an error as one line; a system error names its file first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def gathered_in_turn(mine: list[T], comm: Comm) -> list[T]:
    """Return all ranks' items in one list, on every rank: rank r has the items r, r + size, r + 2 size, …"""
    gathered = comm.allgather(mine)
    return [gathered[i % comm.size][i // comm.size] for i in range(sum(map(len, gathered)))]


def share(n: int, comm: Comm) -> range:
    """Return this rank's consecutive part of ``range(n)``; parts differ by at most one."""
    return range(comm.rank * n // comm.size, (comm.rank + 1) * n // comm.size)
