"""Run particle-mesh simulations from Gaussian initial conditions and write them as GADGET-2 snapshots."""

import argparse

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.simulations.plan import SimulationStage
from hpc import mpi
from hpc.part import Part
from hpc.stage import execute

TEXT = """\
Simulate boxes of dark matter: second-order initial conditions, a particle-mesh code, and GADGET-2 snapshots (format 1)
at each of simulate.redshifts, or, with simulate.write=shards, the subvolumes that preprocess would make of them. One
process, on a CPU or a GPU. Boxes that are there are not run again, an interrupted one resumes from its last redshift,
and raising simulate.n_simulations adds boxes. With preprocess.snapshots of your own there is nothing to do. With
--gadget2 it writes what a real GADGET-2 needs to run the boxes: initial conditions, parameter files and run.sh."""
EXAMPLE = "python -m cosmogan.simulate configs/demo.yaml simulate.device=cpu"

stage = SimulationStage


def simulate(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Run the boxes that are not there, or those among them that are a part's."""
    execute(stage(experiment), comm, part)


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    cli.part_option(reader)
    what = "write the input of a real GADGET-2 for each box there, and run nothing"
    reader.add_argument("--gadget2", dest="simulate.gadget2", metavar="FOLDER", help=what)
    return reader


def _simulate_alone(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Do the command's work, unless it was started as several ranks, each of which would do all of it."""
    if part is None:
        mpi.refuse_ranks("simulate")
    simulate(experiment, comm, part)


def main(prog: str) -> None:
    """Run the command line."""
    cli.main(parser(prog), _simulate_alone, mpi.SerialComm)


if __name__ == "__main__":
    main("python -m cosmogan.simulate")
