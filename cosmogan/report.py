"""Write the paper's figures and one page that says what was reached; or one page for several runs."""

import argparse
from pathlib import Path

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.reporting import verdict
from cosmogan.reporting.plan import ReportStage
from cosmogan.reporting.work import write_several
from hpc import mpi
from hpc.log import say
from hpc.paths import argument
from hpc.stage import execute

TEXT = """\
Write report/index.html: a pass/fail table against the paper's claims, the paper's figures with what is seen in them,
data, cost, versions and settings; the figures also as report/figures/*.pdf, .png and, their numbers, .csv; the table
also as report/verdict.json, for programs. With --compare the figures and verdicts of several runs' folders go to one
page."""
EXAMPLE = """\
python -m cosmogan.report configs/demo.yaml
  python -m cosmogan.report --compare runs/feder2020 runs/feder2020-gaussian --output runs/priors"""

stage = ReportStage
NOT_MET = 3  # exit status: a criterion of --fail-on is not met


def report(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write the page and its figures; parts of the run that are missing are left out.

    Raises
    ------
    ValueError
        when nothing is measured yet: says which stage to run.
    """
    execute(stage(experiment), comm)


def fail_on_option(reader: argparse.ArgumentParser) -> None:
    """Give a command that writes a report the option to end with an error when a generator is not good."""
    what = "write the report, and end with exit status 3 unless all of the paper's claims are met"
    reader.add_argument("--fail-on", choices=["claims"], help=what)


def fail_on(group: str | None, experiment: Experiment, comm: mpi.Comm) -> None:
    """End every rank when a criterion of the group is not met, as the report that is written says; None: never.

    Raises
    ------
    SystemExit
        with status 3, when one line has named what is not met.
    """
    path = stage(experiment).verdict
    missed = [] if group is None else comm.on_root(lambda: verdict.unmet(path, group))
    if missed:
        say(f"report: {group} not met: {', '.join(missed)}; see {path}", comm.rank)
        raise SystemExit(NOT_MET)


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    reader.add_argument(
        "--compare", nargs="+", type=argument, metavar="RUN", help="folders of runs, for one page of all"
    )
    reader.add_argument("--output", type=argument, metavar="FOLDER", help="of that page (default: comparison)")
    fail_on_option(reader)
    return reader


def main(prog: str) -> None:
    """Write the report that the command line asks for."""
    arguments = parser(prog).parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = mpi.world()
    with mpi.abort_on_error(comm):
        if arguments.output and not arguments.compare:
            raise ValueError("--output: expected together with --compare; a run's own page is in its folder, report/")
        if arguments.fail_on and arguments.compare:
            raise ValueError("--fail-on: expected without --compare: for the report of one run")
        if not arguments.compare:
            experiment = cli.read_experiment(arguments, comm.rank)
            report(experiment, comm)
            fail_on(arguments.fail_on, experiment, comm)
        elif comm.rank == 0:
            write_several(list(map(Path, arguments.compare)), Path(arguments.output or "comparison"))


if __name__ == "__main__":
    main("python -m cosmogan.report")
