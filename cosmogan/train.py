"""Train the networks, on one process or many."""

import argparse

from cosmogan import cli
from cosmogan.training.plan import TrainingStage
from hpc.killed_ranks import end_with_launcher

TEXT = """\
Train the generator and the discriminator on the subvolumes of all simulations that are not held out. The network that
comes out depends on the settings alone, not on the number of processes. Stopped by SIGTERM, SIGUSR1 or Ctrl-C it saves
a checkpoint at the next step; the same command resumes from there. Also starts under srun, submitit, or alone."""
EXAMPLE = "torchrun --standalone --nproc-per-node 2 -m cosmogan.train configs/demo.yaml"

stage = TrainingStage


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    return cli.parser(prog, TEXT, EXAMPLE)


def main(prog: str) -> None:
    """Run the command line."""
    end_with_launcher()
    from cosmogan.training import work  # imports torch

    cli.main(parser(prog), work.train, work.distributed.find)


if __name__ == "__main__":
    main("python -m cosmogan.train")
