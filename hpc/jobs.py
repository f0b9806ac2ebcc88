"""Run the launcher's jobs, on SLURM and without it; pickled by submitit."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import submitit

from hpc import batch, chain
from hpc.chain import Stage
from hpc.log import say


class LocalJob:
    """What one job does without a scheduler; pickled by submitit.

    Parameters
    ----------
    stage : the command and its resources
    arguments : CONFIG and overrides
    in_process : run the command inside this process, whatever ``stage.start`` says
    """

    def __init__(self, stage: Stage, arguments: list[str], in_process: bool) -> None:
        self.stage, self.arguments, self.in_process = stage, arguments, in_process

    def __call__(self) -> None:
        os.environ.update(chain.thread_environment(self.stage.cpus_per_task))
        if self.in_process:
            _run_module(self.stage.module, self.arguments)
        else:
            process = subprocess.Popen(chain.command_line(self.stage, self.arguments))
            with batch.asked(process.terminate):
                status = process.wait()
            if status != 0:
                raise RuntimeError(f"{self.stage.module} ended with exit status {status}")


class BatchJob:
    """What one SLURM job does: a stage, or a part of it, begun again through submitit's protocol until it is done.

    Parameters
    ----------
    name : of its record
    stage : the command and its resources
    arguments : CONFIG and overrides, and options
    folder : the run's
    mpi_start : how MPI ranks start; None: whatever fits
    """

    def __init__(self, name: str, stage: Stage, arguments: list[str], folder: Path, mpi_start: str | None) -> None:
        self._given = (name, stage, arguments, folder, mpi_start)

    def __call__(self) -> None:
        begin_again: Any = signal.getsignal(signal.SIGUSR2)  # submitit's: checkpoint, and requeue
        job = batch.Job(*self._given, submitit.JobEnvironment().paths.stdout)
        with batch.asked(job.stop):
            try:
                job.run()
            except ValueError as error:
                say(f"error: {error}")
                raise
            except batch.Ended:
                if batch.may_go_on(job):
                    begin_again(signal.SIGUSR2, None)
                raise SystemExit(batch.OUT_OF_TIME[0]) from None

    def checkpoint(self, *_: Any) -> submitit.helpers.DelayedSubmission:
        """Return the same job for submitit to requeue: every command goes on by itself."""
        return submitit.helpers.DelayedSubmission(BatchJob(*self._given))


def _run_module(module: str, arguments: list[str]) -> None:
    """Run ``python -m module`` here; a failure that it reports by its exit status is raised."""
    before = sys.argv
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # imported to ask whether it is done; runpy would warn of that
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code not in (0, None):
            raise RuntimeError(f"{module} ended with exit status {end.code}") from None
    finally:
        sys.argv = before
