"""Draw a periodic box of any size from a released local generator, on any number of MPI ranks."""

import argparse
from functools import partial

from cosmogan import cli
from cosmogan.boxes.plan import BoxStage
from cosmogan.config import Experiment
from hpc import mpi
from hpc.stage import execute

TEXT = """\
Draw a box from a local generator: a quick simulation from new initial modes, then tile by tile what the generator
makes of it. The bytes are the same for any number of ranks and threads, and for a region alone. Killed at any moment,
the same command resumes with what is missing. The box is the dataset `density` of box.h5 in the output folder."""
EXAMPLE = "mpirun -n 8 python -m cosmogan.box configs/demo-box.yaml --box-size 355.84 --n-mesh 256 --seed 7"

stage = BoxStage


def box(experiment: Experiment, comm: mpi.Comm) -> None:
    """Draw a box, unless it is there."""
    execute(stage(experiment), comm)


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    for name, kind, metavar, what in (
        ("box_size", float, "L", "side of the box [Mpc/h]"),
        ("n_mesh", int, "N", "cells along a side; default: cells as large as in training"),
        ("seed", int, "SEED", "of the initial modes and of the generator's random numbers"),
        ("number", int, "I", "of the box under its seed"),
        ("output", str, "FOLDER", "where the box goes"),
    ):
        reader.add_argument(f"--{name.replace('_', '-')}", dest=f"box.{name}", type=kind, metavar=metavar, help=what)
    what = "the part to draw: first cells X Y Z, and numbers of cells NX NY NZ"
    cells = ("X", "Y", "Z", "NX", "NY", "NZ")
    reader.add_argument("--region", dest="box.region", type=int, nargs=6, metavar=cells, help=what)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    cli.main(parser(prog), box, partial(mpi.world, None))


if __name__ == "__main__":
    main("python -m cosmogan.box")
