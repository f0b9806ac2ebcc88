"""Submit a chain of stages through submitit: ``python -m hpc.launch CONFIG --cluster slurm``.

From Python: ``from hpc.launch import launch; jobs = launch("experiment.yaml", cluster="slurm")``.
"""

import argparse
import contextlib
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import submitit

from hpc import mpi, settings
from hpc.chain import Cluster, Stage, command_line, load_cluster, thread_environment
from hpc.log import say


class StageJob:
    """What one job does; pickled by submitit. A requeued job does the same again: every command goes on by itself.

    Parameters
    ----------
    stage : the command and its resources
    arguments : CONFIG and overrides
    in_process : run the command inside this process, whatever ``stage.start`` says
    """

    def __init__(self, stage: Stage, arguments: list[str], in_process: bool) -> None:
        self.stage, self.arguments, self.in_process = stage, arguments, in_process

    def __call__(self) -> None:
        os.environ.update(thread_environment(self.stage))
        if self.in_process:
            _run_module(self.stage.module, self.arguments)
        else:
            subprocess.run(command_line(self.stage, self.arguments), check=True)

    def checkpoint(self, *_: Any) -> submitit.helpers.DelayedSubmission:
        """Return the same job for submitit to requeue when it is preempted or out of time."""
        return submitit.helpers.DelayedSubmission(StageJob(self.stage, self.arguments, self.in_process))


def _run_module(module: str, arguments: list[str]) -> None:
    """Run ``python -m module`` here; a failure that it reports by its exit status is raised."""
    before = sys.argv
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code not in (0, None):
            raise RuntimeError(f"{module} ended with exit status {end.code}") from None
    finally:
        sys.argv = before


def launch(
    config: str | Path, cluster: str = "local", stage: str | None = None, overrides: list[str] | tuple[str, ...] = ()
) -> list[submitit.Job]:
    """Submit the whole chain, or one stage of it, and return the jobs.

    On SLURM each job waits for the one before (``afterok``) and this call returns at once. Where there is no
    scheduler (``local``, ``debug``) the stages run one after the other and this call returns when all are done.

    Parameters
    ----------
    config : the experiment's YAML file
    cluster : ``local``, ``slurm``, ``debug``, or a YAML file like those in ``configs/cluster``
    stage : only this one
    overrides : ``section.key=value`` strings for the experiment

    Raises
    ------
    ValueError
        for an unknown stage or cluster, or a broken config.
    RuntimeError
        when a stage that ran here failed; names its log.
    """
    machine = load_cluster(cluster)
    stages = {stage: machine.stages[stage]} if stage in machine.stages else machine.stages
    if stage is not None and stage not in machine.stages:
        raise ValueError(f"--stage {stage}: expected one of {', '.join(machine.stages)}")
    folder = _run_folder(Path(config), overrides) / "jobs"
    arguments = [str(Path(config).resolve()), *overrides]
    jobs: list[submitit.Job] = []
    for name, one in stages.items():
        after = jobs[-1].job_id if jobs and machine.executor == "slurm" else None
        job = _executor(machine, name, one, folder, after).submit(_job(machine, one, arguments))
        say(f"{name}: job {job.job_id}, log {job.paths.stdout if machine.executor != 'debug' else 'here'}")
        jobs.append(job)
        if machine.executor != "slurm":
            _wait(name, job)
    return jobs


def _run_folder(config: Path, overrides: list[str] | tuple[str, ...]) -> Path:
    """Return the experiment's ``output`` folder, where the jobs leave their logs."""
    tree = settings.read_tree(config)
    for override in overrides:
        settings.apply(tree, override)
    if not isinstance(tree.get("output"), str):
        raise ValueError(f"{config}: output: expected a folder for this run, found {tree.get('output')!r}")
    return Path(tree["output"])


def _job(machine: Cluster, stage: Stage, arguments: list[str]) -> StageJob:
    """Return the job: the processes that submitit starts are a stage's workers, but MPI ranks without srun's MPI."""
    return StageJob(stage, arguments, in_process=machine.executor != "local" or stage.start == "torch")


def _executor(machine: Cluster, name: str, stage: Stage, folder: Path, after: str | None) -> submitit.Executor:
    executor = submitit.AutoExecutor(folder=folder / name / "%j", cluster=machine.executor)
    workers = machine.executor == "slurm" or stage.start == "torch"  # else mpirun starts the ranks inside one task
    resources: dict[str, Any] = {
        "name": name,
        "nodes": stage.nodes,
        "tasks_per_node": stage.tasks_per_node if workers else 1,
        "cpus_per_task": stage.cpus_per_task if workers else stage.cpus_per_task * stage.tasks_per_node,
        "gpus_per_node": stage.gpus_per_node,
        "timeout_min": stage.minutes,
    }
    if stage.memory_gb is not None:
        resources["mem_gb"] = stage.memory_gb
    if machine.executor == "slurm":
        resources.update(_slurm_options(machine, after))
    executor.update_parameters(**resources)
    return executor


def _slurm_options(machine: Cluster, after: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"slurm_partition": machine.partition, "slurm_account": machine.account}
    extra = dict(machine.extra)
    if after is not None:
        extra |= {"dependency": f"afterok:{after}", "kill-on-invalid-dep": "yes"}  # do not wait for what failed
    options["slurm_additional_parameters"] = extra
    options["slurm_setup"] = list(machine.setup)
    options["slurm_srun_args"] = list(machine.srun)
    return {key: value for key, value in options.items() if value}


def _wait(name: str, job: submitit.Job) -> None:
    """Wait for a job; what went wrong stands in its log."""
    if job.exception() is not None:
        raise RuntimeError(f"{name}: failed; log: {job.paths.stderr}; the same command goes on from there")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hpc.launch",
        description="Submit an experiment's chain of stages through submitit.",
        epilog="example:\n  python -m hpc.launch experiment.yaml --cluster slurm --stage train",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="the experiment's YAML file")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="override any setting of CONFIG")
    parser.add_argument(
        "--cluster", default="local", help="local, slurm, debug, or a YAML file of your own (default: local)"
    )
    parser.add_argument("--stage", help="submit only this stage")
    arguments = parser.parse_intermixed_args()
    with (
        mpi.abort_on_error(mpi.SerialComm(), expected=(ValueError, OSError, RuntimeError)),
        contextlib.suppress(BrokenPipeError),
    ):
        launch(arguments.config, arguments.cluster, arguments.stage, arguments.overrides)


if __name__ == "__main__":
    main()
