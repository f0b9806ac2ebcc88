"""Join the torch process group, from whatever started the processes: torchrun, srun, submitit, mpirun, or nothing."""

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from hpc.cluster import machines

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def device(self, wanted: str = "auto") -> torch.device:
        """Return this process's device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

        Raises
        ------
        ValueError
            when ``cuda`` is wanted and there is none.
        """
        if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
            return torch.device("cpu")
        if not torch.cuda.is_available():
            raise ValueError(
                "device: expected a CUDA GPU, found none that torch can use; set device=auto or device=cpu"
            )
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a tensor by its mean over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def any(self, flag: bool, device: torch.device) -> bool:
        """Say whether the flag is set on any process."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def each(self, chosen: bool, work: Callable[[], T]) -> list[T | None]:
        """Do something on the chosen processes; return all processes' results, in rank order, on each.

        When it fails on one, it fails on all: that one raises its error, the others end silently.
        """
        result, error = None, None
        try:
            result = work() if chosen else None
        except (ValueError, OSError) as raised:
            error = raised
        gathered: list[Any] = [(result, error is not None)]
        if self.size > 1:
            gathered *= self.size
            dist.all_gather_object(gathered, (result, error is not None))
        if error is not None:
            raise error
        if any(failed for _, failed in gathered):
            raise SystemExit(1)
        return [result for result, _ in gathered]

    def on_root(self, work: Callable[[], T]) -> T:
        """Do something on process 0 and return its result on all; before they have joined, each does it."""
        if self.size == 1 or not dist.is_initialized():
            return work()
        result: Any = self.each(self.rank == 0, work)[0]
        return result

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


# (rank, size, local rank) as each launcher names them; the first whose names are all set counts.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun
    ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID"),  # submitit's local executor
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun; a batch script has SLURM_NTASKS, but no step
)


def find(environment: Mapping[str, str] = os.environ) -> Processes:
    """Read this process's place from its launcher's environment; alone when no launcher is seen."""
    for names in _LAUNCHERS:
        if all(name in environment for name in names):
            return Processes(*(int(environment[name]) for name in names))
    return Processes()


def join(wanted: str = "auto") -> Processes:
    """Join the process group and return this process's place.

    Parameters
    ----------
    wanted : the device on which the processes compute, as `Processes.device` takes it
    """
    processes = find()
    if processes.size == 1:
        return processes
    for name, value in zip(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"), (processes.rank, processes.size, processes.local_rank), strict=True
    ):
        os.environ.setdefault(name, str(value))
    os.environ.setdefault("MASTER_ADDR", _first_host())
    os.environ.setdefault("MASTER_PORT", str(_job_port()))
    device = processes.device(wanted)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    name = backend(device)
    dist.init_process_group(name, device_id=device if name == "nccl" else None)
    processes.barrier()  # one that had left again already would break the others' joining
    return processes


def backend(device: torch.device) -> str:
    """Return the backend that joins processes: nccl, or gloo for CPUs and for more processes than GPUs."""
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count()  # torchrun says so
    return "nccl" if device.type == "cuda" and not sharing else "gloo"


def leave(status: int = 0) -> None:
    """Leave the process group, as the last thing that this process does before it ends with this status.

    NCCL's group is destroyed. Gloo's threads let go of Python's tensors a moment after a collective has returned: by
    then the interpreter may be shutting down, and the process aborts (seen in torch 2.13); destroying the group waits
    for them without letting them continue, and can hang (seen in torch 2.4). So with gloo the process skips the
    interpreter's shutdown. An exception that nothing handles after this still ends it with 1.
    """
    if not dist.is_initialized():
        return
    if dist.get_backend() == "nccl":
        dist.destroy_process_group()
    else:
        atexit.register(_end, status)


def _end(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    failed = hasattr(sys, "last_value")  # set by the interpreter for an exception that nothing handled
    os._exit(1 if failed else status)


def _first_host() -> str:
    """Return the host of rank 0: the first of the batch job's nodes, else this machine.

    Raises
    ------
    ValueError
        when the processes are on several machines, and nothing says which is the first.
    """
    queue = machines.queue_of_this_job()
    host = queue.first_host() if queue else None
    n_local = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or os.environ.get("MPI_LOCALNRANKS")  # processes
    if host is None and n_local is not None and int(n_local) < find().size:
        raise ValueError(
            "MASTER_ADDR: not set, and mpirun started processes on several machines; "
            "set it to the first one's name, and MASTER_PORT to a free port, for all of them"
        )
    return host or "127.0.0.1"


def _job_port() -> int:
    """Return a port that two jobs on one host do not share: from the job's number, else the launcher's process.

    It lies below those that the system hands out to whoever asks for any.
    """
    names = ("SLURM_JOB_ID", "SUBMITIT_LOCAL_JOB_ID", "PMI_ID")
    job = next((os.environ[name] for name in names if name in os.environ), str(os.getppid()))
    digits = "".join(c for c in job if c.isdigit()) or "0"
    step = os.environ.get("SLURM_STEP_ID", "0")
    return 10000 + (7 * int(digits) + int(step) % 7) % 22000
