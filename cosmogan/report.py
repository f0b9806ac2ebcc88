"""Write the paper's figures and one page that says what was reached; or one page for several runs."""

import argparse
from pathlib import Path

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.reporting.plan import ReportStage
from cosmogan.reporting.work import write_several
from hpc import mpi
from hpc.paths import argument
from hpc.stage import execute

TEXT = """\
Write report/index.html: a pass/fail table against the paper's claims, the paper's figures with what is seen in them,
data, cost, versions and settings; the figures also as report/figures/*.pdf, .png and, their numbers, .csv. With
--compare the figures and verdicts of several runs' folders go to one page."""
EXAMPLE = """\
python -m cosmogan.report configs/demo.yaml
  python -m cosmogan.report --compare runs/feder2020 runs/feder2020-gaussian --output runs/priors"""

stage = ReportStage


def report(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write the page and its figures; parts of the run that are missing are left out.

    Raises
    ------
    ValueError
        when nothing is measured yet: says which stage to run.
    """
    execute(stage(experiment), comm)


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    reader.add_argument(
        "--compare", nargs="+", type=argument, metavar="RUN", help="folders of runs, for one page of all"
    )
    reader.add_argument("--output", type=argument, metavar="FOLDER", help="of that page (default: comparison)")
    return reader


def main(prog: str) -> None:
    """Write the report that the command line asks for."""
    arguments = parser(prog).parse_intermixed_args()
    comm = mpi.world()
    with mpi.abort_on_error(comm):
        if arguments.output and not arguments.compare:
            raise ValueError("--output: expected together with --compare; a run's own page is in its folder, report/")
        if not arguments.compare:
            report(cli.read_experiment(arguments, comm.rank), comm)
        elif comm.rank == 0:
            write_several(list(map(Path, arguments.compare)), Path(arguments.output or "comparison"))


if __name__ == "__main__":
    main("python -m cosmogan.report")
