"""Measure generated subvolumes against held-out ones, and held-out ones against themselves."""

import argparse

from cosmogan import cli, report
from cosmogan.config import Experiment
from cosmogan.validation import external
from cosmogan.validation.plan import OwnSetsStage, ValidationStage
from hpc import mpi
from hpc.stage import execute

TEXT = """\
Measure power spectra, their covariance, cross power, bispectra, voxel PDFs, mean densities and peaks of generated and
of held-out subvolumes, with errors and the noise floor that held-out boxes set against one another; and look for copies
of training volumes. Any number of ranks gives the same file; stopped, the same command resumes. With --samples it
measures anyone's volumes, with no config at all, and writes the report."""
EXAMPLE = """\
mpirun -n 64 python -m cosmogan.validate configs/feder2020.yaml
  python -m cosmogan.validate --samples theirs.npy --reference runs/demo --box-size 64"""

stage = ValidationStage


def validate(experiment: Experiment, comm: mpi.Comm) -> None:
    """Measure both sets and write the file of statistics.

    Raises
    ------
    ValueError
        when a set is missing or too small, the two are of different geometry, a density is impossible, or the engine
        is not installed.
    """
    execute(stage(experiment), comm)


def compare_own(arguments: argparse.Namespace, comm: mpi.Comm) -> Experiment:
    """Measure anyone's samples, and write the report; return the experiment that it is the report of."""
    experiment = external.experiment_of(arguments)
    plan = OwnSetsStage(experiment, external.compare(arguments, experiment))
    if not comm.on_root(plan.is_done):
        execute(plan, comm)
    report.report(experiment, comm)
    return experiment


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    external.add_options(reader)
    report.fail_on_option(reader)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    arguments = parser(prog).parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = mpi.world("validate.batch_size")
    with mpi.abort_on_error(comm):
        if arguments.samples is None:
            experiment = cli.read_experiment(arguments, comm.rank)
            validate(experiment, comm)
            if arguments.fail_on:
                report.report(experiment, comm)
        else:
            experiment = compare_own(arguments, comm)
        report.fail_on(arguments.fail_on, experiment, comm)


if __name__ == "__main__":
    main("python -m cosmogan.validate")
