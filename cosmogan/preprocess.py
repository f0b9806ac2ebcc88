"""Grid GADGET-2 snapshots and write sharded HDF5 subvolumes, on any number of MPI ranks."""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from cosmogan import cli, shards, simulate
from cosmogan.config import Experiment
from cosmogan.simulations import gridding, simulated, snapshots
from hpc import launcher, mpi
from hpc.log import Progress, say
from hpc.part import Part, share_of, title
from hpc.rundir import Receipt
from hpc.stages import Stages, table

TEXT = """\
Read GADGET-2 snapshots (formats 1, 2 and 3, one file or several), put their particles on a mesh, cut it into cubic
subvolumes and write them as sharded HDF5. Runs on any number of MPI ranks, and as one plain process; the densities are
the same, bit for bit. Killed at any moment, the same command goes on with the shards that are missing."""
MAX_LINES = 20  # simulations are named
EXAMPLE = "mpirun -n 64 python -m cosmogan.preprocess experiment.yaml preprocess.n_mesh=512 --profile"


def parts(experiment: Experiment) -> int:
    """Return how many snapshots there are, or will be, to share out."""
    if not experiment.preprocess.snapshots:  # perhaps not simulated yet
        return len(experiment.simulated)
    return len(gridding.sources(experiment))


def preprocess(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Write all shards of an experiment that are not yet there, and the manifest; or only those of a part's snapshots.

    Raises
    ------
    ValueError
        when something cannot end well: names the setting or the file, what was found and what was expected.
    """
    folder, stages = experiment.shards_folder, Stages()
    if not experiment.preprocess.snapshots:
        mpi.on_root(comm, lambda: _simulate_what_is_missing(experiment, part))
    with stages("headers"):
        sources = mpi.on_root(comm, lambda: gridding.sources(experiment))
        receipt = mpi.on_root(comm, lambda: gridding.receipt(experiment, sources, comm.size))
        if mpi.on_root(comm, lambda: receipt.done() and shards.is_complete(folder)):
            say(f"preprocess: done: {folder}", comm.rank)
            return
    with cli.at_work(experiment, "preprocess", comm.rank, folder, part):
        _write(experiment, comm, part, sources, receipt, stages)


def workplace(experiment: Experiment) -> Path:
    """Return the folder of what comes out."""
    return experiment.shards_folder


def _write(
    experiment: Experiment, comm: mpi.Comm, part: Part | None, sources: Any, receipt: Receipt, stages: Stages
) -> None:
    """Write the shards that are missing, and the manifest."""
    with stages("headers"):
        plan = gridding.plan(experiment, tuple(share_of(sources, part)), receipt.recipe["shards"])
        mpi.on_root(comm, lambda: gridding.prepare(plan, receipt, comm.size, part))
    doing = title("preprocess", part)
    if comm.rank == 0:
        say(f"{doing}: {_introduction(plan, comm.size)}")
        for line in snapshots.remarks(plan.sources, experiment.preprocess):
            say(f"{doing}: warning: {line}")
        for line in _simulations(plan):
            say(f"{doing}: {line}")
    kept, to_do = mpi.on_root(comm, lambda: _particles(plan))
    with Progress(doing, kept + to_do, "particles", comm.rank) as progress:
        progress.resume_at(kept)
        lines = [
            line for source in plan.sources for line in gridding.write(plan, source, comm, stages, progress.advance)
        ]
    gathered, summary = comm.gather(lines), stages.summary(comm)
    if gathered is not None and summary is not None:
        found = sorted((line for of_rank in gathered for line in of_rank), key=lambda x: x["file"])
        if part is None:
            _finish(plan, receipt, found, summary)
        else:
            say(f"{doing}: its {len(found)} shards are there: {experiment.shards_folder}")
        if experiment.preprocess.profile:
            print(table(summary), flush=True)
    comm.barrier()


def done(experiment: Experiment) -> bool:
    """Say whether all shards are there, made with just these settings."""
    folder = experiment.shards_folder
    if not experiment.preprocess.snapshots and not gridding.is_simulated(experiment):
        return False
    return gridding.receipt(experiment, gridding.sources(experiment), 1).done() and shards.is_complete(folder)


def _simulate_what_is_missing(experiment: Experiment, part: Part | None) -> None:
    """Run `simulate` for an experiment without snapshots of its own: in a child, since ranks load no torch."""
    if gridding.is_simulated(experiment):
        simulate.receipt(experiment).check()
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
    if subprocess.run(command_line, env=launcher.plain_environment(), check=False).returncode != 0:
        raise ValueError(f"{experiment.simulations_folder}: simulate failed, see above")


def _particles(plan: gridding.Plan) -> tuple[int, int]:
    """Return how many particles are in what is written already, and how many are yet to be read."""
    kept, to_do = 0, 0
    for source in plan.sources:
        n, missing = int(source.snapshot.n_particles), len(plan.missing(source))
        kept += n * (len(plan.hands) - missing) // len(plan.hands)
        to_do += n if missing else 0
    return kept, to_do


def _introduction(plan: gridding.Plan, n_ranks: int) -> str:
    n_shards = len(plan.sources) * len(plan.hands)
    there = n_shards - sum(len(plan.missing(source)) for source in plan.sources)
    particles = sum(source.snapshot.n_particles for source in plan.sources)
    kept = f"; {there} of {n_shards} shards are there already" if there else ""
    return f"{len(plan.sources)} snapshot(s), {particles:,} particles, on {n_ranks} MPI rank(s){kept}"


def _simulations(plan: gridding.Plan) -> list[str]:
    """Return lines that say which simulation is which file; none for those that this experiment simulates."""
    if not plan.experiment.preprocess.snapshots:
        return []
    of_simulations: dict[int, list[str]] = {}
    for source in plan.sources:
        of_simulations.setdefault(source.simulation, []).append(str(source.path))
    lines = shards.named_simulations(of_simulations)
    for i, number in enumerate(sorted(of_simulations)):
        lines[i] += " (held out)" if number in plan.experiment.held_out else ""
    more = f"and {len(lines) - MAX_LINES} more: python -m cosmogan.shards show {plan.experiment.shards_folder}"
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], more]


def _finish(plan: gridding.Plan, receipt: Receipt, lines: list[dict[str, Any]], summary: list[dict[str, Any]]) -> None:
    """Write the manifest and the record."""
    folder = plan.experiment.shards_folder
    geometry = shards.read_geometry(folder / lines[0]["file"])
    shards.write_manifest(folder, geometry, "simulated", lines, {"snapshots": receipt.recipe["snapshots"]})
    n = sum(line["rows"] for line in lines)
    receipt.finish(subvolumes=n, shards=len(lines), stages=summary)
    say(f"preprocess: wrote {n} subvolumes of {plan.layout.subvolume}³ cells in {len(lines)} shards: {folder}")


def _options(parser: argparse.ArgumentParser) -> None:
    cli.part_option(parser)
    what = "print seconds, bytes, messages and the imbalance of ranks for each stage"
    parser.add_argument("--profile", dest="preprocess.profile", action="store_true", help=what)


if __name__ == "__main__":
    world = partial(mpi.world, "preprocess.memory_per_rank")
    cli.main("cosmogan.preprocess", TEXT, EXAMPLE, preprocess, world, options=_options)
