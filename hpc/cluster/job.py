"""Do a stage's work inside a batch job: start its processes, keep its record, and let it save before the time is up."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hpc import chain
from hpc.cluster.job_records import JobRecord, JobRecords, Position
from hpc.cluster.scheduler import Queue, Work
from hpc.log import say

# Exit statuses of a stage that ended on request and can resume; the last of one that had only just begun.
OUT_OF_TIME = (128 + signal.SIGTERM, 75, -signal.SIGTERM)
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)  # that ask for an end: SLURM's, submitit's, the system's


class Ended(Exception):
    """The processes of a stage have ended early, on request, and it can resume."""


class Job:
    """A stage's work in one batch job.

    Parameters
    ----------
    work : the stage, its arguments and its run's folder
    queue : the scheduler in whose job this is
    log : where the output goes
    """

    def __init__(self, work: Work, queue: Queue, log: Path) -> None:
        self.name, self.log, self.queue = work.name, log, queue
        self.records, self.number = JobRecords(work.folder), queue.this_job()
        self._command = queue.command(work.stage, work.arguments, work.mpi_start)
        progress = str(self.records.progress_path(work.name).resolve())
        self._environment = {**os.environ, **chain.thread_environment(queue.threads()), "HPC_PROGRESS": progress}
        self._asked = False  # for an end
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Do the work.

        Raises
        ------
        Ended
            when the stage ended early, on request.
        ValueError
            when it failed, when another job does the same, or when the last attempts got nowhere: in one line.
        """
        with self.records.claimed(self.name, self.number, self.queue):
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

    def run_or_requeue(self, begin_again: Callable[[], None]) -> None:
        """Do the work; when it ended early and may resume, let it begin again. Signals that ask for an end stop it.

        Raises
        ------
        ValueError
            what `run` raises; the line stands in the log, too.
        SystemExit
            when the work ended early.
        """
        with on_signals(self.stop):
            try:
                self.run()
            except ValueError as error:
                say(f"error: {error}")
                raise
            except Ended:
                if self.may_resume():
                    begin_again()
                raise SystemExit(OUT_OF_TIME[0]) from None

    def stop(self) -> None:
        """Ask the stage to save and end, from a signal's handler or not."""
        if self._process is None:
            self._asked = True  # it is asked as soon as it has begun
            return
        if self._process.poll() is not None:
            return
        self._asked = True  # the status that mpirun ends with then says nothing
        self.queue.terminate(self._process)

    def close(self, state: str, why: str = "") -> None:
        """Write the record's last state."""
        self.records.write(self.name, replace(self._record, state=state, why=why))

    def hand_over(self, number: str) -> None:
        """Make the record that of another job, which resumes where this one has ended."""
        self.records.write(self.name, replace(self._record, job=number, state="ended"))

    def may_resume(self) -> bool:
        """Say whether this job, which ended early, may begin again: not when its scheduler has ended or requeued it."""
        self.close("ended")
        state = self.queue.states([self.number]).get(self.number)
        return state is not None and state.phase == "running"

    def failure(self, why: str) -> ValueError:
        """Record that the stage has failed, and return the error that says so."""
        self.close("failed", why)
        return ValueError(f"{self.name}: {why}; log: {self.log}")

    def _open(self) -> None:
        """Begin this attempt's record, with where the earlier ones of the same job began."""
        before, attempts = self.records.read(self.name), list[Position]()
        if before is not None and before.job == self.number:
            attempts = [*before.attempts, self.records.position(self.name)][-2:]
        self._record = JobRecord(self.number, str(self.log), attempts=attempts)
        if attempts == [None, None]:
            raise self.failure("two attempts ended before they had begun to count anything")

    def _work(self) -> int:
        self._process = subprocess.Popen(self._command, env=self._environment)
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


@contextlib.contextmanager
def on_signals(handler: Callable[[], None]) -> Iterator[None]:
    """Call a function at each signal by which a scheduler asks for an end."""
    before = [signal.signal(number, lambda *_: handler()) for number in SIGNALS]
    try:
        yield
    finally:
        for number, earlier in zip(SIGNALS, before, strict=True):
            signal.signal(number, earlier)


def _in_words(status: int) -> str:
    number = status - 128 if status > 128 else -status
    if number == signal.SIGKILL:
        return "killed (signal 9): one of its processes has failed, or it took more memory than it asked for"
    return f"ended by signal {number}" if status < 0 else f"failed with exit status {status}"
