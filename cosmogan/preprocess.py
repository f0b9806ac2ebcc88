"""Grid GADGET-2 snapshots and write sharded HDF5 subvolumes, on any number of MPI ranks."""

import argparse
import subprocess
import sys
from functools import partial

from cosmogan import cli
from cosmogan.config import Experiment
from cosmogan.simulations import gridding, simulated
from cosmogan.simulations.plan import SimulationStage
from cosmogan.simulations.preprocessing import PreprocessStage
from hpc import mpi, mpi_environment
from hpc.log import say
from hpc.part import Part
from hpc.stage import execute
from hpc.timing import Timer

TEXT = """\
Read GADGET-2 snapshots (formats 1, 2 and 3, one file or several), put their particles on a mesh, cut it into cubic
subvolumes and write them as sharded HDF5. Runs on any number of MPI ranks, and as one plain process; the densities are
the same, bit for bit. Killed at any moment, the same command resumes with the shards that are missing."""
EXAMPLE = "mpirun -n 64 python -m cosmogan.preprocess experiment.yaml preprocess.n_mesh=512 --profile"

stage = PreprocessStage


def preprocess(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Write all shards of an experiment that are not yet there, and the manifest; or only those of a part's snapshots.

    Raises
    ------
    ValueError
        when something cannot end well: names the setting or the file, what was found and what was expected.
    """
    if not experiment.preprocess.snapshots:
        comm.on_root(lambda: _simulate_what_is_missing(experiment, part))
    timer = Timer()
    with timer("headers"):
        plan = comm.on_root(lambda: stage(experiment, comm.size).with_headers())
    plan.timer = timer
    execute(plan, comm, part)
    if experiment.input.is_used:
        preprocess(experiment.quick, comm, part)


def _simulate_what_is_missing(experiment: Experiment, part: Part | None) -> None:
    """Run `simulate` for an experiment without snapshots of its own: in a child, since ranks load no torch."""
    if gridding.is_simulated(experiment):
        SimulationStage(experiment).receipt.check()
        return
    if folder := experiment.simulate.gadget2:
        missing = next(path for path in experiment.simulated if not simulated.is_there(path))
        raise ValueError(
            f"{missing}: not found; expected a snapshot of GADGET-2, by simulate.gadget2: write its input with "
            f"python -m cosmogan.simulate, then run it with sbatch slurm/gadget2.sh {folder}"
        )
    if part is not None:  # every part would make all boxes
        raise ValueError(f"--part: {experiment.simulations_folder}: boxes are missing; run simulate first")
    say("preprocess: preprocess.snapshots is not set and nothing is simulated yet: simulating first")
    command_line = [sys.executable, "-m", "cosmogan.simulate", str(experiment.freeze())]
    if subprocess.run(command_line, env=mpi_environment.plain_environment(), check=False).returncode != 0:
        raise ValueError(f"{experiment.simulations_folder}: simulate failed, see above")


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    cli.part_option(reader)
    what = "print seconds, bytes, messages and the imbalance of ranks for each stage"
    reader.add_argument("--profile", dest="preprocess.profile", action="store_true", help=what)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    cli.main(parser(prog), preprocess, partial(mpi.world, "preprocess.memory_per_rank"))


if __name__ == "__main__":
    main("python -m cosmogan.preprocess")
