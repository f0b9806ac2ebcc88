"""A chain of stages as SLURM jobs that depend on one another; no two launches of one run at once."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import submitit

from hpc import slurm, status
from hpc.chain import Cluster, Stage
from hpc.jobs import BatchJob
from hpc.log import say
from hpc.records import Records, name_of
from hpc.rundir import write_json
from hpc.slurm_script import Scripts, blame


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only launch of a run; one that died holds nothing back.

    Raises
    ------
    ValueError
        when another launch is at it, or jobs of one are in the queue.
    """
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    with open(jobs / ".launch", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another launch of this run is at work; wait for it") from None
        except OSError:  # no locks here, as where Lustre is mounted without flock: the queue alone says who is at it
            pass
        living = status.living(folder)
        if living:
            raise ValueError(
                f"{folder}: jobs of this run are in the queue ({', '.join(living)}); wait for them, or end them: "
                "python -m hpc.launch cancel CONFIG"
            )
        yield


class Submission:
    """Jobs that depend on one another, in the order of the chain; an array is followed by a job that finishes."""

    def __init__(self, machine: Cluster, experiment: Any, arguments: list[str], limit: int | None) -> None:
        self._machine, self._experiment, self._arguments = machine, experiment, arguments
        self._scripts = Scripts(machine, experiment.folder / "jobs")
        self._limit = limit

    def _parts(self, stage: Stage) -> int:
        return min(stage.parts(self._experiment), self._limit or sys.maxsize)

    def scripts(self, stages: dict[str, Stage]) -> str:
        """Return the batch scripts of all jobs; what a job waits for has no number yet."""
        texts, after = [], None
        for name, stage in stages.items():
            n = self._parts(stage)
            for label, count in ((f"{name}-parts", n), (name, 1)):
                if count > 1 or label == name:
                    texts.append(f"### {label}\n" + self._scripts.text(label, stage, count, after))
                    after = f"<{label}>"
        return "\n".join(texts)

    def submit(self, stages: dict[str, Stage]) -> list[submitit.Job]:
        """Submit all jobs, or none."""
        jobs: list[submitit.Job] = []
        noted: list[dict[str, str]] = []
        after = None
        try:
            for name, stage in stages.items():
                n = self._parts(stage)
                groups = [(f"{name}-parts", [f"--part={i}/{n}" for i in range(1, n + 1)])] if n > 1 else []
                for label, options in (*groups, (name, [""])):
                    made = self._scripts.submit(label, stage, [self._job(name, stage, o) for o in options], after)
                    after = made[0].job_id.split("_")[0]
                    jobs += made
                    names = [name_of(name, [option]) for option in options]
                    noted += [
                        {"stage": name, "name": own, "job": job.job_id, "log": str(job.paths.stdout)}
                        for own, job in zip(names, made, strict=True)
                    ]
                    write_json(Records(self._experiment.folder).submitted_path, noted)
                    tasks = f" ({len(made)} tasks)" if len(made) > 1 else ""
                    say(f"{label}: job {after}{tasks}, log {made[0].paths.stdout}")
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            if jobs:
                slurm.cancel(sorted({job.job_id.split("_")[0] for job in jobs}))
            raise ValueError(f"{name}: {blame(str(error), self._machine, stage)}; nothing was submitted") from None
        return jobs

    def _job(self, name: str, stage: Stage, option: str) -> BatchJob:
        arguments = [*self._arguments, *([option] if option else [])]
        folder = Path(self._experiment.folder).resolve()
        return BatchJob(name_of(name, [option]), stage, arguments, folder, self._machine.mpi)


def largest_arrays(stages: dict[str, Stage]) -> int:
    """Return how many jobs an array may have here, when each stage also has one that finishes it."""
    most, n_arrays = slurm.most_jobs(), sum(stage.array > 0 for stage in stages.values())
    each = sys.maxsize if most is None or n_arrays == 0 else max((most - len(stages)) // n_arrays, 1)
    return min(slurm.largest_array(), each)
