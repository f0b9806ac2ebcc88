"""Define a chain of stages: commands in order, how their processes start, and what they need of a machine."""

import importlib
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpc import lock, settings, stage
from hpc.stage import Run


@dataclass(frozen=True)
class Command:
    """A command of a chain: its module, how its processes start, and what they need of a machine."""

    module: str  # run as ``python -m module CONFIG``
    start: Literal["process", "mpi", "torch"] = "process"  # one process; MPI ranks; torch.distributed workers
    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int = 1
    gpus_per_node: int = 0
    minutes: int = 60
    memory_gb: int | None = None  # a node; null: the site's default
    array: int = 0  # most jobs among which SLURM deals out independent work (`parts`); 0: the stage is one job

    def __post_init__(self) -> None:
        for name in ("nodes", "tasks_per_node", "cpus_per_task", "minutes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if self.array < 0:
            raise ValueError(f"array: expected at least 0, found {self.array}")
        if self.start == "process" and self.tasks != 1:
            raise ValueError(f"tasks_per_node: {self.module} runs as one process, found {self.tasks}")

    @property
    def tasks(self) -> int:
        """Processes in all."""
        return self.nodes * self.tasks_per_node

    def of(self, experiment: Run) -> stage.Stage[Any]:
        """Return the stage of an experiment's run that the command does, by its module's ``stage(experiment)``."""
        of_run: stage.Stage[Any] = importlib.import_module(self.module).stage(experiment)
        return of_run

    def done(self, experiment: Run) -> bool:
        """Say whether nothing is left to do."""
        return self.of(experiment).is_done()

    def at_work(self, name: str, experiment: Run) -> dict[str, str] | None:
        """Return the process that does the stage's work now, as `hpc.lock.holder`."""
        return lock.holder(self.of(experiment).workplace, name)

    def parts(self, experiment: Run) -> int:
        """Return the number of jobs that share the work; 1 when it is one job."""
        return 1 if self.array == 0 else min(self.array, self.of(experiment).parts())


@dataclass(frozen=True)
class Chain:
    """Commands in the order of a run, and how their experiment is read."""

    experiment: str  # module:function that makes one of CONFIG and overrides; it has a ``folder``
    stages: dict[str, Command]

    def read(self, arguments: list[str]) -> Run:
        """Return the experiment that CONFIG and overrides describe."""
        module, _, function = self.experiment.partition(":")
        experiment: Run = getattr(importlib.import_module(module), function)(arguments)
        return experiment


@dataclass(frozen=True)
class Cluster(Chain):
    """A machine: its scheduler, what the site wants on every job, and the stages with their resources."""

    executor: str  # one of `hpc.cluster.machines`: local, debug, slurm
    partition: str | None = None
    account: str | None = None
    setup: tuple[str, ...] = ()  # shell lines before the work, as ``module load cuda``
    extra: dict[str, str | int] = field(default_factory=dict)  # other options of sbatch, as ``constraint: h100``
    mpi: str | None = None  # how MPI ranks start: ``mpirun``, or a plug-in of srun; null: whatever fits the library


def clusters_folder() -> Path:
    """Return the folder of the machines that come with the package."""
    package = Path(__file__).parent
    installed = package / "clusters"
    return installed if installed.is_dir() else package.parent / "configs" / "cluster"


def load_chain() -> Chain:
    """Read the chain that comes with the package."""
    return settings.load(Chain, clusters_folder() / "chain.yaml")


def command_line(stage: Command, arguments: list[str]) -> list[str]:
    """Return the command that starts a stage's processes on this machine.

    Raises
    ------
    ValueError
        when several MPI ranks are wanted and there is no ``mpirun``.
    """
    work = ["-m", stage.module, *arguments]
    if stage.tasks == 1:
        return [sys.executable, *work]
    if stage.start == "torch":
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(stage.tasks_per_node)]
        return [sys.executable, *torchrun, *work]
    return [mpirun(), "-n", str(stage.tasks), sys.executable, *work]


def mpirun() -> str:
    """Return the MPI launcher: the one beside this Python, else the first on PATH.

    Raises
    ------
    ValueError
        when there is none.
    """
    beside = Path(sys.executable).parent / "mpirun"
    program = str(beside) if beside.exists() else shutil.which("mpirun")
    if program is None:
        raise ValueError(
            "mpirun: not found; install one (`pip install mpich`), load your site's MPI module, "
            "or set tasks_per_node: 1 in a file for --cluster"
        )
    return program


def thread_environment(threads: int | str) -> dict[str, str]:
    """Return the environment that keeps each process to so many threads."""
    return {"OMP_NUM_THREADS": str(threads)}
