"""Choose which epoch's generator is released, calibrate it or tune its latent scale, and release it."""

import argparse

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.selection.plan import SelectionStage
from hpc import mpi
from hpc.part import Part
from hpc.stage import execute

TEXT = """\
Score the generators of all epochs, and their moving averages, by mean, median and scatter of P(k), the voxel PDF
and the mean density of what they draw, against the training set; calibrate the best one's densities to the training
set's (select.calibrate), or else tune the scale of its latents until its mean power has the training set's amplitude,
if that is better on training boxes left out; release it. Of equals within the error of the score a moving average is
taken. Stopped, the same command resumes from what is scored."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.select experiment.yaml select.first_epoch=50"

stage = SelectionStage


def select(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Score, choose, calibrate or tune, and release; or only score a part's candidates.

    Raises
    ------
    ValueError
        when training is not finished, or no epoch is left to score.
    """
    execute(stage(experiment), comm, part)


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    cli.part_option(reader)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    cli.main(parser(prog), select)


if __name__ == "__main__":
    main("python -m cosmogan.select")
