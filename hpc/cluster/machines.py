"""Choose a machine and its scheduler: the one place that names the classes of schedulers.

Another scheduler is a file with a class like `hpc.cluster.slurm.Slurm`, and a line in `QUEUES`.
"""

from pathlib import Path

from hpc import settings
from hpc.chain import Cluster, clusters_folder
from hpc.cluster.local import Local
from hpc.cluster.scheduler import Queue, Scheduler
from hpc.cluster.slurm import Slurm
from hpc.paths import expanded

# By the word for it in a machine's file, `executor`.
QUEUES: dict[str, Queue] = {
    "slurm": Slurm(),
}
WITHOUT_QUEUE: dict[str, Scheduler] = {
    "local": Local(),
    "debug": Local(in_process=True),
}


def load_cluster(name: str | Path) -> Cluster:
    """Read a machine by name, or from a YAML file of the user's own.

    Raises
    ------
    SettingsError
        when there is no such machine, or its file is wrong.
    """
    own = Path(name).suffix in (".yaml", ".yml")
    path = Path(expanded(str(name))) if own else clusters_folder() / f"{name}.yaml"
    if not path.exists():
        names = ", ".join(sorted(p.stem for p in clusters_folder().glob("*.yaml") if p.stem != "chain"))
        raise settings.SettingsError(
            f"--cluster {name}: {path} not found; expected one of {names}, or a YAML file of your own"
        )
    machine = settings.load(Cluster, path, shipped=clusters_folder())
    executors = [*WITHOUT_QUEUE, *QUEUES]
    if machine.executor not in executors:
        expected = ", ".join(executors)
        raise settings.SettingsError(f"{path}: executor: expected one of {expected}, found {machine.executor!r}")
    return machine


def scheduler(machine: Cluster) -> Scheduler:
    """Return the scheduler of a machine."""
    return QUEUES.get(machine.executor) or WITHOUT_QUEUE[machine.executor]


def queue(machine: Cluster) -> Scheduler:
    """Return the scheduler that knows the jobs of a run: the machine's, or else one whose commands are here."""
    own = scheduler(machine)
    others = (other for other in QUEUES.values() if not other.missing())
    return own if machine.executor in QUEUES else next(others, own)


def queue_of_this_job() -> Queue | None:
    """Return the scheduler of the batch job in which this process runs; None outside of any."""
    return next((queue for queue in QUEUES.values() if queue.this_job()), None)
