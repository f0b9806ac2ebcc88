"""Submit a chain of stages through submitit: ``python -m hpc.launch CONFIG --cluster slurm``.

From Python: ``from hpc.launch import launch; jobs = launch("experiment.yaml", cluster="slurm")``.
"""

import argparse
import contextlib
import fcntl
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import submitit

from hpc import batch, chain, mpi, slurm, status
from hpc.chain import Cluster, Stage
from hpc.log import say
from hpc.rundir import write_json
from hpc.slurm_script import Scripts, blame

EPILOG = """\
examples:
  python -m hpc.launch experiment.yaml --cluster slurm            submit what is not done yet
  python -m hpc.launch experiment.yaml --cluster slurm --dry-run  print the batch scripts instead
  python -m hpc.launch status experiment.yaml                     a line for each stage
  python -m hpc.launch cancel experiment.yaml                     end its jobs"""


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
            subprocess.run(chain.command_line(self.stage, self.arguments), check=True)


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
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code not in (0, None):
            raise RuntimeError(f"{module} ended with exit status {end.code}") from None
    finally:
        sys.argv = before


def launch(
    config: str | Path,
    cluster: str = "local",
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
    dry_run : print the batch scripts that would be submitted, or the commands that would be run, instead

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
        print(_Submission(machine, experiment, arguments, limit=None).scripts(todo), end="")
        return []
    with _alone(experiment.folder):
        return _Submission(machine, experiment, arguments, _limit(todo)).submit(todo)


def _to_do(machine: Cluster, experiment: Any, wanted: str | None) -> dict[str, Stage]:
    """Return the stages that are not done, from the first such one on; of one stage alone its input must be there."""
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
    done = {name for name in names if machine.stages[name].done(experiment)}
    return {name: machine.stages[name] for name in names if name not in done}


def _limit(stages: dict[str, Stage]) -> int:
    """Return how many jobs an array may have here, when each stage also has one that finishes it."""
    most, n_arrays = slurm.most_jobs(), sum(stage.array > 0 for stage in stages.values())
    each = sys.maxsize if most is None or n_arrays == 0 else max((most - len(stages)) // n_arrays, 1)
    return min(slurm.largest_array(), each)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
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
        living = status.living(folder)
        if living:
            raise ValueError(
                f"{folder}: jobs of this run are in the queue ({', '.join(living)}); wait for them, or end them: "
                "python -m hpc.launch cancel CONFIG"
            )
        yield


class _Submission:
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
                    noted += [
                        {"stage": name, "name": _record(name, option), "job": job.job_id, "log": str(job.paths.stdout)}
                        for option, job in zip(options, made, strict=True)
                    ]
                    write_json(status.path(self._experiment.folder), noted)
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
        return BatchJob(_record(name, option), stage, arguments, folder, self._machine.mpi)


def _record(stage: str, option: str) -> str:
    """Return the name of a job's record: of a stage, or of a part of it."""
    return stage + (f"-part-{option.partition('=')[2].partition('/')[0]}" if option else "")


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
        say(f"{name}: job {job.job_id}, log {job.paths.stdout if machine.executor != 'debug' else 'here'}")
        jobs.append(job)
        if job.exception() is not None:
            raise RuntimeError(f"{name}: failed; log: {job.paths.stderr}; the same command goes on from there")
    return jobs


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hpc.launch",
        description="Submit an experiment's chain of stages through submitit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="[status|cancel] CONFIG [section.key=value]", help="see below")
    parser.add_argument(
        "--cluster", default="local", help="local, slurm, debug, or a YAML file of your own (default: local)"
    )
    parser.add_argument("--stage", help="submit only this stage")
    parser.add_argument("--dry-run", action="store_true", help="print the batch scripts, and submit nothing")
    parser.add_argument("--watch", action="store_true", help="show how the jobs get on until they are over")
    given = parser.parse_intermixed_args()
    action = given.words.pop(0) if given.words[0] in ("status", "cancel") else "launch"
    with (
        mpi.abort_on_error(mpi.SerialComm(), expected=(ValueError, OSError, RuntimeError)),
        contextlib.suppress(BrokenPipeError),
    ):
        if not given.words:
            raise ValueError(f"python -m hpc.launch {action}: expected CONFIG, found nothing")
        config, *overrides = given.words
        if action == "launch":
            launch(config, given.cluster, given.stage, overrides, given.dry_run)
        machine = chain.load_cluster(given.cluster)
        if action == "cancel":
            status.cancel(machine.read(given.words).folder)
        elif given.watch:
            status.watch(machine, machine.read(given.words))
        elif action == "status":
            print("\n".join(status.table(machine, machine.read(given.words))))


if __name__ == "__main__":
    main()
