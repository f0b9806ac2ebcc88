"""Submit a chain of stages through submitit: ``python -m hpc.launch CONFIG --cluster slurm``.

From Python: ``from hpc.launch import launch; jobs = launch("experiment.yaml", cluster="slurm")``.
"""

import argparse
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import submitit

from hpc import chain, mpi, slurm, status, submission
from hpc.chain import Cluster, Stage
from hpc.jobs import LocalJob
from hpc.log import say

EPILOG = """\
examples:
  python -m hpc.launch experiment.yaml --cluster slurm            submit what is not done yet
  python -m hpc.launch experiment.yaml --cluster slurm --dry-run  print the batch scripts instead
  python -m hpc.launch status experiment.yaml                     a line for each stage; --watch: until all is over
  python -m hpc.launch cancel experiment.yaml                     end its jobs"""


def launch(
    config: str | Path,
    cluster: str | Path = "local",
    stage: str | None = None,
    overrides: list[str] | tuple[str, ...] = (),
    dry_run: bool = False,
) -> list[submitit.Job]:
    """Submit what is not done of a chain, or of one stage of it, and return the jobs.

    On SLURM each job waits for the one before (``afterok``) and this call returns at once. Where there is no
    scheduler (``local``, ``debug``) the stages run one after the other and this call returns when all are done.

    Parameters
    ----------
    config : the experiment's YAML file
    cluster : ``local``, ``slurm``, ``debug``, or a YAML file like those in ``configs/cluster``
    stage : only this one
    overrides : ``section.key=value`` strings for the experiment
    dry_run : print the batch scripts that would be submitted, or the commands that would be run, instead; where no
        SLURM answers, with arrays as large as the cluster's file wants them

    Raises
    ------
    ValueError
        for an unknown stage or cluster, a broken config, a stage whose input is not there, what SLURM refuses, and
        when jobs of this run are in the queue.
    RuntimeError
        when a stage that ran here failed; names its log.
    """
    machine = chain.load_cluster(cluster)
    if machine.executor == "slurm" and not dry_run and not slurm.is_here():
        raise ValueError(
            f"--cluster {cluster}: no SLURM on this machine (sbatch: not found); "
            "run this on the cluster's login node, or take --cluster local"
        )
    experiment = machine.read([str(config), *overrides])
    todo = _to_do(machine, experiment, stage)
    if not todo:
        say(f"nothing to submit: {stage or 'every stage'} is done: {experiment.folder}")
        return []
    arguments = [str(Path(config).resolve()), *overrides]
    if machine.executor != "slurm":
        return _run_here(machine, todo, arguments, experiment.folder, dry_run)
    if dry_run:
        print(submission.Submission(machine, experiment, arguments, _limit_if_known(todo)).scripts(todo), end="")
        return []
    with submission.alone(experiment.folder):
        limit = submission.largest_arrays(todo)
        return submission.Submission(machine, experiment, arguments, limit).submit(todo)


def _limit_if_known(todo: dict[str, Stage]) -> int | None:
    """Return how many jobs an array may have here; None where no SLURM answers."""
    with contextlib.suppress(OSError):
        return submission.largest_arrays(todo)
    return None


def _to_do(machine: Cluster, experiment: Any, wanted: str | None) -> dict[str, Stage]:
    """Return the stages that are not done; of one stage alone its input must be there."""
    if wanted is not None and wanted not in machine.stages:
        raise ValueError(f"--stage {wanted}: expected one of {', '.join(machine.stages)}")
    names = list(machine.stages)
    if wanted is not None:
        before = [name for name in names[: names.index(wanted)] if not machine.stages[name].done(experiment)]
        if before:
            raise ValueError(
                f"--stage {wanted}: its input is not there: {before[0]} is not done with these settings; "
                f"submit --stage {before[0]} first, or the whole chain"
            )
        names = [wanted]
    return {name: machine.stages[name] for name in names if not machine.stages[name].done(experiment)}


def _run_here(
    machine: Cluster, stages: dict[str, Stage], arguments: list[str], folder: Path, dry_run: bool
) -> list[submitit.Job]:
    """Run stages one after the other."""
    jobs: list[submitit.Job] = []
    for name, stage in stages.items():
        if dry_run:
            print(" ".join(chain.command_line(stage, arguments)))
            continue
        executor = submitit.AutoExecutor(folder=folder / "jobs" / name / "%j", cluster=machine.executor)
        workers = stage.start == "torch"  # of torch, submitit starts each; of MPI, mpirun inside one task
        executor.update_parameters(
            name=name,
            tasks_per_node=stage.tasks_per_node if workers else 1,
            gpus_per_node=stage.gpus_per_node,
            timeout_min=stage.minutes,
        )
        job = executor.submit(LocalJob(stage, arguments, in_process=workers or machine.executor == "debug"))
        log, errors = ("here", "above") if machine.executor == "debug" else (job.paths.stdout, job.paths.stderr)
        say(f"{name}: job {job.job_id}, log {log}")
        jobs.append(job)
        try:
            failure = job.exception()
        except (KeyboardInterrupt, mpi.Terminated):
            if machine.executor == "local":
                _end(job)
            raise
        if failure is not None:
            raise RuntimeError(f"{name}: failed; log: {errors}; the same command goes on from there")
    return jobs


def _end(job: submitit.Job) -> None:
    """Tell a job on this machine to save and end until it has: its processes may not listen yet."""
    while not job.done():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)  # the process that passes it on to the others
        time.sleep(1)


def _check(action: str, given: argparse.Namespace) -> None:
    """Raise an error about a command line that says too little or too much."""
    first = given.words[0] if given.words else "nothing"
    if first == "nothing" or ("=" in first and not Path(first).is_file()):
        raise ValueError(f"python -m hpc.launch: expected CONFIG, found {first}")
    if action != "launch" and (given.dry_run or given.stage):
        raise ValueError(f"python -m hpc.launch {action}: it takes no --stage and no --dry-run: all jobs are meant")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hpc.launch",
        usage="%(prog)s [status | cancel] CONFIG [section.key=value ...] [options]",
        description="Submit an experiment's chain of stages through submitit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--cluster", default="local", help="local, slurm, debug, or a YAML file of your own (default: local)"
    )
    parser.add_argument("--stage", help="submit only this stage")
    parser.add_argument("--dry-run", action="store_true", help="print the batch scripts, and submit nothing")
    parser.add_argument("--watch", action="store_true", help="show how the jobs get on until they are over")
    given = parser.parse_intermixed_args()
    action = given.words.pop(0) if given.words[:1] in (["status"], ["cancel"]) else "launch"
    with (
        mpi.abort_on_error(mpi.SerialComm(), expected=(ValueError, OSError, RuntimeError)),
        contextlib.suppress(BrokenPipeError),
    ):
        _check(action, given)
        config, *overrides = given.words
        if action == "launch":
            launch(config, given.cluster, given.stage, overrides, given.dry_run)
        if given.dry_run:
            return
        machine = chain.load_cluster(given.cluster)
        if action == "cancel":
            status.cancel(machine.read(given.words).folder)
        elif given.watch:
            status.watch(machine, machine.read(given.words))
        elif action == "status":
            print("\n".join(status.table(status.lines(machine, machine.read(given.words)))))


if __name__ == "__main__":
    main()
