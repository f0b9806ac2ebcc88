"""State what is asked of a scheduler. `hpc.cluster.machines` lists those that there are."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import submitit

from hpc.chain import Cluster, Command
from hpc.stage import Run


class Plan(NamedTuple):
    """The stages of an experiment to run on a machine, in their order."""

    machine: Cluster
    experiment: Run
    arguments: list[str]  # CONFIG and overrides, given to every stage
    stages: dict[str, Command]


class Work(NamedTuple):
    """A stage, or a part of one, that a batch job does."""

    name: str  # of its record
    stage: Command
    arguments: list[str]  # CONFIG, overrides and options
    folder: Path  # the run's
    mpi_start: str | None  # how MPI ranks start; None: whatever fits


# Of a job in its queue. One that is changing begins, ends, or is held back; skipped: what it waited for failed.
Phase = Literal["waiting", "running", "changing", "done", "failed", "cancelled", "skipped"]


class State(NamedTuple):
    """The state of a job in its queue."""

    word: str  # the scheduler's own, in small letters, as running
    phase: Phase
    elapsed: str = ""
    why: str = ""  # why it waits, or how it ended, in words for its user

    @property
    def alive(self) -> bool:
        """Whether the job is not over."""
        return self.phase in ("waiting", "running", "changing")


class Refused(Exception):
    """A job that a scheduler does not take; the message is its own words, and the settings that they are about."""


class Scheduler(Protocol):
    """Runs the stages of a plan on a machine."""

    def missing(self) -> str:
        """Say what this machine lacks to launch anything; empty when it lacks nothing."""
        ...

    def preview(self, plan: Plan) -> str:
        """Return the batch scripts that `launch` would submit, or the commands that it would run."""
        ...

    def launch(self, plan: Plan) -> list[submitit.Job]:
        """Submit or run all stages.

        Raises
        ------
        ValueError
            when a job is refused, or another launch of this run is at work.
        RuntimeError
            when a stage that ran here failed; names its log.
        """
        ...

    def states(self, jobs: Iterable[str]) -> Mapping[str, State]:
        """Return the states of those jobs that the scheduler still knows.

        Raises
        ------
        OSError
            when it does not answer: with its own words.
        """
        ...

    def cancel(self, jobs: Iterable[str]) -> None:
        """End jobs, or take them out of the queue.

        Raises
        ------
        OSError
            when the scheduler refuses: with its own words.
        """
        ...


class Queue(Scheduler, Protocol):
    """A scheduler of batch jobs, which wait in a queue. Those of its methods that follow are called from elsewhere.

    `hpc.cluster.submission` makes jobs of a plan; `hpc.cluster.job` runs inside a job. The number of a job begins with
    digits, larger for later ones; tasks of an array have those of the array.
    """

    cancel_command: str  # the command that ends the job whose number follows it, as ``scancel``

    def script(self, plan: Plan, label: str, stage: Command, n: int, after: str | None) -> str:
        """Return the script of a job, or of an array of ``n``, that begins when job ``after`` has ended well."""
        ...

    def submit(self, plan: Plan, label: str, work: list[Work], after: str | None) -> list[submitit.Job]:
        """Submit a job, or an array when there is more than one thing to do, to begin when ``after`` has ended well.

        Raises
        ------
        Refused
            when the scheduler does not take it.
        """
        ...

    def largest_array(self, stages: Mapping[str, Command]) -> int:
        """Return how many jobs an array may have here, when every array also has a job that finishes it.

        Raises
        ------
        OSError
            when the scheduler does not answer.
        """
        ...

    def this_job(self) -> str:
        """Return the number of the batch job in which this process runs; empty outside of any."""
        ...

    def first_host(self) -> str | None:
        """Return a name or address of the first node of this job; None outside of any."""
        ...

    def threads(self) -> str:
        """Return how many cores each process of this job has."""
        ...

    def command(self, stage: Command, arguments: list[str], mpi_start: str | None) -> list[str]:
        """Return the command that starts a stage's processes in this job, with all the tasks that the job has."""
        ...

    def terminate(self, process: "subprocess.Popen[bytes]") -> None:
        """Tell the processes that such a command has started in this job to save and end."""
        ...

    def requeue(self, job: str) -> str:
        """Put a running job back into the queue, which ends it here; return the scheduler's words when it refuses."""
        ...

    def resubmit(self, job: str, script: Path, arguments: list[str]) -> str:
        """Submit a running job's batch script again, to begin when this one is over; return the new job's number.

        Parameters
        ----------
        job : its number
        script : gets what the scheduler keeps of the batch script
        arguments : of the script
        """
        ...
