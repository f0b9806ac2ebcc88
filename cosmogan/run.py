"""Run the whole chain on this machine: ``python -m cosmogan.run CONFIG``."""

import argparse
import os
import subprocess
import time
from pathlib import Path

from cosmogan import cli
from cosmogan.config import Experiment
from hpc import mpi
from hpc.chain import Command, command_line, thread_environment
from hpc.cluster.machines import load_cluster
from hpc.log import clock, say

TEXT = """\
Run the whole chain on this machine: simulate, preprocess, train, select, sample, validate, report. What is complete is
kept, so the same command resumes after an interruption, and a finished chain says so. How many processes each stage
gets stands in configs/cluster/local.yaml; --cluster takes another file like it. With --minutes it stops in time, with
exit status 75: the same command resumes."""
EXAMPLE = "python -m cosmogan.run configs/demo.yaml output=runs/mine train.epochs=100"

OUT_OF_TIME = 75  # exit status: try again (EX_TEMPFAIL of sysexits.h)


def run(experiment: Experiment, stages: dict[str, Command], minutes: float | None = None) -> None:
    """Run every stage that is not done, each in processes of its own.

    Parameters
    ----------
    experiment : what is run
    stages : in their order
    minutes : after which the running stage is asked to save and end; None: no limit

    Raises
    ------
    RuntimeError
        when a stage fails: names it.
    SystemExit
        with status 75 when the minutes are over.
    """
    frozen = experiment.freeze()
    start = time.monotonic()

    def left() -> float | None:
        return None if minutes is None else max(60 * minutes - (time.monotonic() - start), 0)

    for i, (name, stage) in enumerate(stages.items(), 1):
        if stage.done(experiment):
            say(f"[{i}/{len(stages)}] {name}: done before")
            continue
        began = time.monotonic()
        say(f"[{i}/{len(stages)}] {name}" + _budget(": ", left()))
        _run_stage(name, stage, str(frozen), left())
        say(f"[{i}/{len(stages)}] {name}: took {clock(time.monotonic() - began)}" + _budget(", ", left()))
    page = experiment.report_folder / "index.html"
    say(f"\nall stages done in {clock(time.monotonic() - start)}; the report: {page.resolve()}")
    say(f"what to try next:\n{_next_steps(frozen, experiment.train.epochs)}")


def _budget(before: str, left: float | None) -> str:
    return "" if left is None else f"{before}{clock(left)} left"


def _run_stage(name: str, stage: Command, config: str, seconds: float | None) -> None:
    environment = {**os.environ, **thread_environment(stage.cpus_per_task)}
    process = subprocess.Popen(command_line(stage, [config]), env=environment)
    try:
        status = process.wait(seconds)
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reaches the stage, too: it saves what it has
        raise
    except (mpi.Terminated, subprocess.TimeoutExpired) as error:
        process.terminate()
        process.wait()
        if isinstance(error, mpi.Terminated):
            raise
        say(f"{name}: the time is up; run the same command again to resume")
        raise SystemExit(OUT_OF_TIME) from None
    if status != 0:
        raise RuntimeError(f"{name}: failed with exit status {status}, see above; run the same command again to resume")


def _next_steps(config: Path, epochs: int) -> str:
    return (
        f"  python -m cosmogan.run {config} sample.n_samples=5000     # more volumes\n"
        f"  python -m cosmogan.run {config} train.epochs={2 * epochs}         # train for longer, from here on\n"
        "  python -m cosmogan.preprocess --help                       # your own snapshots"
    )


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    reader.add_argument(
        "--cluster", default="local", help="processes for each stage: a name in configs/cluster or a YAML file"
    )
    reader.add_argument("--minutes", type=float, help="stop after so many, saved; the same command resumes")
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    arguments = parser(prog).parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm(), expected=(ValueError, OSError, RuntimeError)):
        experiment = cli.read_experiment(arguments)
        run(experiment, load_cluster(arguments.cluster).stages, arguments.minutes)


if __name__ == "__main__":
    main("python -m cosmogan.run")
