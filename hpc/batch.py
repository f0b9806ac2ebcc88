"""One stage inside a batch job: ``python -m hpc.batch STAGE [CONFIG] [section.key=value ...]``.

It starts the stage's processes with what the job has, keeps log and record in the run's folder, and when the time is
up, or another job takes the nodes, lets the stage save and the scheduler begin it again, as long as that gets it on.
``slurm/*.sh`` run it, and so do the jobs of `hpc.launch`.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hpc import chain, mpi, records, slurm
from hpc.log import say

# Exit statuses of a stage that was told to end, and can go on; the last of one that had only just begun.
OUT_OF_TIME = (128 + signal.SIGTERM, 75, -signal.SIGTERM)
ASKS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)  # for an end: sbatch --signal, submitit's, and SLURM's own


class Ended(Exception):
    """The processes of a stage have ended early, as they were told, and it can go on."""


class Job:
    """A stage's work in one batch job.

    Parameters
    ----------
    name : of the stage, or of a part of it: that of its record
    stage : what runs
    arguments : CONFIG and overrides, and options
    folder : the run's
    mpi_start : ``mpirun``, a plug-in of srun, or None to find one
    log : where the output goes
    """

    def __init__(
        self, name: str, stage: chain.Stage, arguments: list[str], folder: Path, mpi_start: str | None, log: Path
    ) -> None:
        self.name, self.log = name, log
        self.records, self.number = records.Records(folder), slurm.this_job(os.environ)
        self.command = command(stage, arguments, mpi_start)
        threads = os.environ.get("SLURM_CPUS_PER_TASK", "1")
        progress = str(self.records.progress_path(name).resolve())
        self._environment = {**os.environ, **chain.thread_environment(threads), "HPC_PROGRESS": progress}
        self._by_srun = self.command[0] == "srun"
        self._asked = False  # for an end
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Do the work.

        Raises
        ------
        Ended
            when the stage was told to end, and has.
        ValueError
            when it failed, when another job does the same, or when the last attempts got nowhere: in one line.
        """
        with self.records.claimed(self.name, self.number):
            self._open()
            self.records.progress_path(self.name).unlink(missing_ok=True)
            self.records.write(self.name, self._record)
            status = self._work()
        if status == 0:
            self.close("done")
        elif self._asked or status in OUT_OF_TIME:
            raise Ended(f"exit status {status}")
        else:
            raise self.failure(_in_words(status))

    def stop(self) -> None:
        """Tell the stage to save and end, from a signal's handler or not."""
        if self._process is None:
            self._asked = True  # it is told as soon as it has begun
            return
        if self._process.poll() is not None:
            return
        self._asked = True  # what mpirun ends with then says nothing
        if self._by_srun:
            slurm.terminate_steps(self.number)  # srun, given a SIGTERM itself, kills
        else:
            self._process.terminate()

    def close(self, state: str, why: str = "") -> None:
        """Write the record's last word."""
        self.records.write(self.name, replace(self._record, state=state, why=why))

    def hand_over(self, number: str) -> None:
        """Make the record that of another job, which goes on where this one has ended."""
        self.records.write(self.name, replace(self._record, job=number, state="ended"))

    def failure(self, why: str) -> ValueError:
        """Record that the stage has failed, and return the error that says so."""
        self.close("failed", why)
        return ValueError(f"{self.name}: {why}; log: {self.log}")

    def _open(self) -> None:
        """Begin this attempt's record, with where the earlier ones of the same job began."""
        before, attempts = self.records.read(self.name), list[records.Position]()
        if before is not None and before.job == self.number:
            attempts = [*before.attempts, self.records.position(self.name)][-2:]
        self._record = records.Record(self.number, str(self.log), attempts=attempts)
        if attempts == [None, None]:
            raise self.failure("two attempts ended before they had begun to count anything")

    def _work(self) -> int:
        self._process = subprocess.Popen(self.command, env=self._environment)
        if self._asked:
            self.stop()
        while True:
            try:
                return self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._stop_without_progress()

    def _stop_without_progress(self) -> None:
        """End an attempt that begins where both before it have begun."""
        began = self.records.position(self.name)
        if began is not None and self._record.attempts == [began, began]:
            label, first, total = began[-1]
            self.stop()
            assert self._process is not None
            self._process.wait()
            raise self.failure(
                f"begins at {first} of {total} ({label}) for the third time: two attempts got no further, so it is "
                "not tried again; ask for more time, or see the log for what ended them"
            )


def command(stage: chain.Stage, arguments: list[str], mpi_start: str | None) -> list[str]:
    """Return what starts a stage's processes in this job, with all the tasks that the job has."""
    work = [sys.executable, "-m", stage.module, *arguments]
    if stage.start == "process":
        return work
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    srun = ["srun", "--kill-on-bad-exit=1", f"--cpus-per-task={cores}", "--cpu-bind=cores"]
    if stage.start == "torch":
        return [*srun, "--mpi=none", *work]
    start = mpi_start or slurm.mpi_plugin(mpi.library()) or "mpirun"
    if start == "mpirun":
        return [chain.mpirun(), "-n", os.environ.get("SLURM_NTASKS", "1"), *work]
    return [*srun, f"--mpi={start}", *work]


def may_go_on(job: Job) -> bool:
    """Say whether a job that ended early may begin again: not when SLURM has ended it, or begins it again itself."""
    job.close("ended")
    state = slurm.states([job.number]).get(job.number)
    return state is not None and state.word == "RUNNING"


@contextlib.contextmanager
def asked(handler: Callable[[], None]) -> Iterator[None]:
    """Call a function at each signal by which SLURM asks for an end."""
    before = [signal.signal(number, lambda *_: handler()) for number in ASKS]
    try:
        yield
    finally:
        for number, one in zip(ASKS, before, strict=True):
            signal.signal(number, one)


def _in_words(status: int) -> str:
    number = status - 128 if status > 128 else -status
    if number == signal.SIGKILL:
        return "killed (signal 9): one of its processes has failed, or it took more memory than it asked for"
    return f"ended by signal {number}" if status < 0 else f"failed with exit status {status}"


def run_script(name: str, arguments: list[str]) -> None:
    """Do a stage's work as the batch script that ``sbatch slurm/STAGE.sh`` submitted."""
    made = chain.load_chain()
    if name not in made.stages:
        raise ValueError(f"hpc.batch {name}: expected one of {', '.join(made.stages)}")
    if not slurm.in_job():
        raise ValueError(f"hpc.batch: not inside a batch job; submit one: sbatch slurm/{name}.sh")
    number = slurm.this_job(os.environ)
    given = [word for i, word in enumerate(arguments) if not word.startswith("-") and (i == 0 or "=" in word)]
    folder = made.read(given).folder  # without options, and what they are given
    log = (folder / "jobs" / f"{name}-{number}.log").resolve()
    say(f"{name}: job {number}; log: {log}")
    with _output_to(log):
        of, mpi_start = records.name_of(name, arguments), os.environ.get("COSMOGAN_MPI")
        job = Job(of, made.stages[name], arguments, folder, mpi_start, log)
        with asked(job.stop):
            try:
                job.run()
            except ValueError as error:
                say(f"error: {error}")
                raise
            except Ended:
                if may_go_on(job):
                    _begin_again(job, arguments)
                raise SystemExit(OUT_OF_TIME[0]) from None


def _begin_again(job: Job, arguments: list[str]) -> None:
    """Put this job into the queue again; where the site does not allow that, submit its script anew."""
    refusal = slurm.requeue(job.number)
    if refusal:
        script = job.log.with_suffix(".sh")
        number = slurm.resubmit(job.number, script, arguments)
        job.hand_over(number)
        say(f"{job.name}: goes on as job {number} ({refusal})")


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
