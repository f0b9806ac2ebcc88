"""Run the stages of a plan on this machine, one after the other, where there is no scheduler."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import submitit

from hpc import chain, mpi
from hpc.chain import Command
from hpc.cluster.job import on_signals
from hpc.cluster.scheduler import Plan, Scheduler, State
from hpc.log import say


class Local(Scheduler):
    """This machine, without a scheduler.

    Parameters
    ----------
    in_process : run the commands inside this process, for a debugger
    """

    def __init__(self, in_process: bool = False) -> None:
        self._executor = "debug" if in_process else "local"

    def missing(self) -> str:
        """Say that nothing is missing."""
        return ""

    def preview(self, plan: Plan) -> str:
        """Return the commands of all stages."""
        return "".join(" ".join(chain.command_line(stage, plan.arguments)) + "\n" for stage in plan.stages.values())

    def launch(self, plan: Plan) -> list[submitit.Job]:
        """Run the stages, each in a job of its own, and wait for each."""
        jobs: list[submitit.Job] = []
        for name, stage in plan.stages.items():
            jobs.append(self._submit(name, stage, plan))
            self._wait(name, jobs[-1])
        return jobs

    def states(self, jobs: Iterable[str]) -> dict[str, State]:
        """Return nothing: there is no queue."""
        return {}

    def cancel(self, jobs: Iterable[str]) -> None:
        """Do nothing: there is no queue."""

    def _submit(self, name: str, stage: Command, plan: Plan) -> submitit.Job:
        executor = submitit.AutoExecutor(
            folder=Path(plan.experiment.folder) / "jobs" / name / "%j", cluster=self._executor
        )
        workers = stage.start == "torch"  # of torch, submitit starts each; of MPI, mpirun inside one task
        executor.update_parameters(
            name=name,
            tasks_per_node=stage.tasks_per_node if workers else 1,
            gpus_per_node=stage.gpus_per_node,
            timeout_min=stage.minutes,
        )
        return executor.submit(LocalJob(stage, plan.arguments, in_process=workers or self._executor == "debug"))

    def _wait(self, name: str, job: submitit.Job) -> None:
        log, errors = ("here", "above") if self._executor == "debug" else (job.paths.stdout, job.paths.stderr)
        say(f"{name}: job {job.job_id}, log {log}")
        try:
            failure = job.exception()
        except (KeyboardInterrupt, mpi.Terminated):
            if self._executor == "local":
                _end(job)
            raise
        if failure is not None:
            raise RuntimeError(f"{name}: failed; log: {errors}; the same command resumes from there")


def _end(job: submitit.Job) -> None:
    """Tell a job on this machine to save and end until it has: its processes may not listen yet."""
    while not job.done():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)  # the process that passes it on to the others
        time.sleep(1)


class LocalJob:
    """The work of one job on this machine; pickled by submitit.

    Parameters
    ----------
    stage : the command and its resources
    arguments : CONFIG and overrides
    in_process : run the command inside this process, whatever ``stage.start`` says
    """

    def __init__(self, stage: Command, arguments: list[str], in_process: bool) -> None:
        self.stage, self.arguments, self.in_process = stage, arguments, in_process

    def __call__(self) -> None:
        os.environ.update(chain.thread_environment(self.stage.cpus_per_task))
        if self.in_process:
            _run_module(self.stage.module, self.arguments)
        else:
            process = subprocess.Popen(chain.command_line(self.stage, self.arguments))
            with on_signals(process.terminate):
                status = process.wait()
            if status != 0:
                raise RuntimeError(f"{self.stage.module} ended with exit status {status}")


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
