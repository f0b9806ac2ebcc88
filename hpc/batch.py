"""Run one stage inside a batch job: ``python -m hpc.batch STAGE [CONFIG] [section.key=value ...]``.

``slurm/*.sh`` run it. It starts the stage's processes with the tasks that the job has, and keeps log and record in the
run's folder. When the time is up, or another job takes the nodes, the stage saves and the job begins again, as long as
it makes progress.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hpc import chain, mpi
from hpc.cluster import machines
from hpc.cluster.job import Job
from hpc.cluster.job_records import record_name
from hpc.cluster.scheduler import Work
from hpc.log import say


def run_script(name: str, arguments: list[str]) -> None:
    """Do a stage's work as the batch script that ``sbatch slurm/STAGE.sh`` submitted."""
    pipeline = chain.load_chain()
    if name not in pipeline.stages:
        raise ValueError(f"hpc.batch {name}: expected one of {', '.join(pipeline.stages)}")
    queue = machines.queue_of_this_job()
    if queue is None:
        raise ValueError(f"hpc.batch: not inside a batch job; submit one: sbatch slurm/{name}.sh")
    number = queue.this_job()
    config = [word for i, word in enumerate(arguments) if not word.startswith("-") and (i == 0 or "=" in word)]
    folder = pipeline.read(config).folder  # without options and their values
    log = (folder / "jobs" / f"{name}-{number}.log").resolve()
    say(f"{name}: job {number}; log: {log}")
    with _output_to(log):
        mpi_start = os.environ.get("COSMOGAN_MPI")
        work = Work(record_name(name, arguments), pipeline.stages[name], arguments, folder, mpi_start)
        job = Job(work, queue, log)
        job.run_or_requeue(lambda: _begin_again(job, arguments))


def _begin_again(job: Job, arguments: list[str]) -> None:
    """Put this job into the queue again; where the site does not allow that, submit its script anew."""
    refusal = job.queue.requeue(job.number)
    if refusal:
        script = job.log.with_suffix(".sh")
        number = job.queue.resubmit(job.number, script, arguments)
        job.hand_over(number)
        say(f"{job.name}: resumes as job {number} ({refusal})")


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Let all output go to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    before = [os.dup(1), os.dup(2)]
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(before[0], 1)
        os.dup2(before[1], 2)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m hpc.batch", description=__doc__)
    parser.add_argument("stage", help="as train")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="CONFIG section.key=value")
    given = parser.parse_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        run_script(given.stage, given.arguments)


if __name__ == "__main__":
    main()
