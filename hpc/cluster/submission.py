"""Submit a plan as jobs that depend on one another; no two launches of one run at once."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

import submitit

from hpc.chain import Command
from hpc.cluster import status
from hpc.cluster.job_records import JobRecords, record_name
from hpc.cluster.scheduler import Plan, Queue, Refused, Scheduler, Work
from hpc.files import write_json
from hpc.log import say


@contextlib.contextmanager
def alone(folder: Path, queue: Scheduler) -> Iterator[None]:
    """Be the only launch of a run; one that died holds nothing back.

    Raises
    ------
    ValueError
        when another launch is at work, or jobs of one are in the queue.
    """
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    with open(jobs / ".launch", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another launch of this run is at work; wait for it") from None
        except OSError:  # no locks here, as where Lustre is mounted without flock: the queue alone says who is at work
            pass
        living = status.living(folder, queue)
        if living:
            raise ValueError(
                f"{folder}: jobs of this run are in the queue ({', '.join(living)}); wait for them, or end them: "
                "python -m hpc.launch cancel CONFIG"
            )
        yield


class Submission:
    """Jobs that depend on one another, in the order of the chain; an array is followed by a job that finishes.

    Parameters
    ----------
    plan : what is submitted
    queue : the scheduler
    limit : jobs in an array at most; None: as many as the stage wants
    """

    def __init__(self, plan: Plan, queue: Queue, limit: int | None) -> None:
        self._plan, self._queue, self._limit = plan, queue, limit or sys.maxsize
        self._records = JobRecords(plan.experiment.folder)
        self._jobs: list[submitit.Job] = []

    def scripts(self) -> str:
        """Return the batch scripts of all jobs; the jobs that they wait for have no number yet."""
        texts, after = [], None
        for name, stage in self._plan.stages.items():
            for label, options in self._groups(name, stage):
                script = self._queue.script(self._plan, label, stage, len(options), after)
                texts.append(f"### {label}\n{script}")
                after = f"<{label}>"
        return "\n".join(texts)

    def submit(self) -> list[submitit.Job]:
        """Submit all jobs, or none."""
        submitted: list[dict[str, str]] = []
        after = None
        for name, stage in self._plan.stages.items():
            for label, options in self._groups(name, stage):
                jobs = self._submit(label, [self._work(name, stage, option) for option in options], after, name)
                after = _number(jobs[0])
                submitted += [
                    {
                        "stage": name,
                        "name": record_name(name, [option]),
                        "job": job.job_id,
                        "log": str(job.paths.stdout),
                    }
                    for option, job in zip(options, jobs, strict=True)
                ]
                write_json(self._records.submitted_path, submitted)
                tasks = f" ({len(jobs)} tasks)" if len(jobs) > 1 else ""
                say(f"{label}: job {after}{tasks}, log {jobs[0].paths.stdout}")
        return self._jobs

    def _submit(self, label: str, work: list[Work], after: str | None, name: str) -> list[submitit.Job]:
        try:
            jobs = self._queue.submit(self._plan, label, work, after)
        except Refused as refused:
            if self._jobs:
                self._queue.cancel(sorted({_number(job) for job in self._jobs}))
            raise ValueError(f"{name}: {refused}; nothing was submitted") from None
        self._jobs += jobs
        return jobs

    def _groups(self, name: str, stage: Command) -> list[tuple[str, list[str]]]:
        """Return a stage's jobs: the label of each group, and each job's option. One with parts ends with the whole."""
        n = min(stage.parts(self._plan.experiment), self._limit)
        parts = [(f"{name}-parts", [f"--part={i}/{n}" for i in range(1, n + 1)])] if n > 1 else []
        return [*parts, (name, [""])]

    def _work(self, name: str, stage: Command, option: str) -> Work:
        arguments = [*self._plan.arguments, *([option] if option else [])]
        folder = Path(self._plan.experiment.folder).resolve()
        return Work(record_name(name, [option]), stage, arguments, folder, self._plan.machine.mpi)


def _number(job: submitit.Job) -> str:
    """Return the number of a job, or of the array that it is in."""
    return str(job.job_id).split("_")[0]


def preview(plan: Plan, queue: Queue) -> str:
    """Return the batch scripts of a plan; where the scheduler does not answer, with arrays as large as wanted."""
    limit = None
    with contextlib.suppress(OSError):
        limit = queue.largest_array(plan.stages)
    return Submission(plan, queue, limit).scripts()


def launch(plan: Plan, queue: Queue) -> list[submitit.Job]:
    """Submit the jobs of a plan, unless another launch of the same run is at work."""
    with alone(plan.experiment.folder, queue):
        return Submission(plan, queue, queue.largest_array(plan.stages)).submit()
