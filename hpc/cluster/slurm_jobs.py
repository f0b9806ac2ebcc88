"""Make and submit SLURM's batch scripts, by submitit."""

import contextlib
import io
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import submitit

from hpc.chain import Cluster, Command
from hpc.cluster.job import Job
from hpc.cluster.scheduler import Plan, Queue, Refused, Work

BEFORE_END = 300  # seconds before the time is up that a stage is asked to save; a quarter of it at most

# What sbatch complains of, and the settings of the cluster's file that say it.
_COMPLAINTS = (
    ("account", ("account", "partition")),
    ("partition", ("partition",)),
    ("qos", ("extra",)),
    ("feature", ("extra",)),
    ("wckey", ("extra",)),
    ("time limit", ("minutes",)),
    ("memory", ("memory_gb",)),
    ("configuration", ("gpus_per_node", "tasks_per_node", "cpus_per_task", "nodes", "memory_gb")),
    ("gres", ("gpus_per_node",)),
)


class _Executor(submitit.SlurmExecutor):
    """submitit's, which also writes its script where there is no SLURM."""

    @classmethod
    def affinity(cls) -> int:
        return 2


class SlurmJob:
    """A SLURM job's work, begun again through submitit's protocol until it is done; pickled by submitit."""

    def __init__(self, work: Work, queue: Queue) -> None:
        self.work, self.queue = work, queue

    def __call__(self) -> None:
        begin_again: Any = signal.getsignal(signal.SIGUSR2)  # submitit's: checkpoint, and requeue
        job = Job(self.work, self.queue, submitit.JobEnvironment().paths.stdout)
        job.run_or_requeue(lambda: begin_again(signal.SIGUSR2, None))

    def checkpoint(self, *_: object) -> submitit.helpers.DelayedSubmission:
        """Return the same job for submitit to requeue: every command resumes by itself."""
        return submitit.helpers.DelayedSubmission(SlurmJob(self.work, self.queue))


def script(plan: Plan, label: str, stage: Command, n: int, after: str | None) -> str:
    """Return the script of a job, or of an array of ``n``."""
    executor = _executor(plan, label, stage, after)
    if n > 1:
        executor.parameters["map_count"] = n
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def submit(plan: Plan, label: str, jobs: list[SlurmJob], after: str | None) -> list[submitit.Job]:
    """Submit a job, or an array when there is more than one.

    Raises
    ------
    Refused
        with sbatch's words and the settings that they are about, when it refuses.
    """
    stage = jobs[0].work.stage
    executor = _executor(plan, label, stage, after)
    quiet = contextlib.redirect_stderr(io.StringIO())  # the error has sbatch's words, too
    try:
        with quiet, executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise Refused(blame(str(error), plan.machine, stage)) from None
    return submitted


def _executor(plan: Plan, label: str, stage: Command, after: str | None) -> _Executor:
    """Return submitit's executor with the resources of a stage."""
    machine = plan.machine
    python = f"exec {shlex.quote(sys.executable)}"  # SLURM's signals reach the script's own process only
    folder = Path(plan.experiment.folder).resolve() / "jobs" / label / "%j"
    executor = _Executor(folder, max_num_timeout=1_000_000, python=python)  # hpc.cluster.job knows when to give up
    seconds = min(BEFORE_END, 60 * stage.minutes // 4)
    extra: dict[str, Any] = {"requeue": True, "signal": f"B:USR2@{seconds}", **machine.extra}
    if after is not None:
        extra |= {"dependency": f"afterok:{after}", "kill-on-invalid-dep": "yes"}  # do not wait for what failed
    parameters = {
        "job_name": label,
        "nodes": stage.nodes,
        "ntasks_per_node": stage.tasks_per_node,
        "cpus_per_task": stage.cpus_per_task,
        "gpus_per_node": stage.gpus_per_node or None,
        "time": stage.minutes,
        "mem": None if stage.memory_gb is None else f"{stage.memory_gb}GB",
        "partition": machine.partition,
        "account": machine.account,
        "setup": list(machine.setup) or None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "additional_parameters": extra,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    executor.update_parameters(wckey=None, **given)  # sites that check wckeys know no `submitit`, its default
    return executor


def blame(words: str, machine: Cluster, stage: Command) -> str:
    """Return sbatch's words, with the settings that they are about."""
    lines = [line.strip() for line in words.splitlines() if "sbatch: error" in line or "srun: error" in line]
    text = "; ".join(dict.fromkeys(lines)) or words.strip().splitlines()[-1]
    names = next((names for word, names in _COMPLAINTS if word in text.lower()), ())
    settings = [f"{name}: {getattr(machine if hasattr(machine, name) else stage, name)}" for name in names]
    return text + (f" (asked for: {', '.join(settings)})" if settings else "")
