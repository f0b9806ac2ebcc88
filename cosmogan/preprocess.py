"""Grid GADGET-2 snapshots and write sharded HDF5 subvolumes, on any number of MPI ranks."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import command, parameters, shards, snapshots
from cosmogan.config import Experiment
from cosmogan.nbody.decompose import Layout
from cosmogan.nbody.paint import WINDOWS
from cosmogan.nbody.subvolumes import SMALLEST_ROUND, Gridder, row_bytes
from cosmogan.snapshots import Source
from hpc import mpi
from hpc.log import Progress, say
from hpc.rundir import Receipt, checksum, remove_leftovers
from hpc.stages import Stages, table

TEXT = """\
Read GADGET-2 snapshots (formats 1, 2 and 3, one file or several), put their particles on a mesh, cut it into cubic
subvolumes and write them as sharded HDF5. Runs on any number of MPI ranks, and as one plain process; the densities are
the same, bit for bit. Killed at any moment, the same command goes on with the shards that are missing."""
EXAMPLE = "mpirun -n 64 python -m cosmogan.preprocess experiment.yaml preprocess.n_mesh=512 --profile"


@dataclass(frozen=True)
class Plan:
    """All that is known before any particle is read; the same on every rank."""

    experiment: Experiment
    sources: tuple[Source, ...]
    layout: Layout
    hands: tuple[np.ndarray, ...]  # the numbers of the subvolumes in each of a snapshot's shards
    parameters: dict[int, dict[str, float]]  # of each simulation, by name

    def path(self, source: Source, shard: int) -> Path:
        """Return a shard's final name."""
        snapshot = "" if source.number is None else f"-snapshot-{source.number:03d}"
        name = f"simulation-{source.simulation:03d}{snapshot}-shard-{shard:03d}-of-{len(self.hands):03d}.h5"
        return self.experiment.shards_folder / name

    def missing(self, source: Source) -> list[int]:
        """Return which of a snapshot's shards are not there."""
        return [shard for shard in range(len(self.hands)) if not self.path(source, shard).exists()]

    def geometry(self, source: Source, mass: float) -> shards.Geometry:
        """Return what the cells of a snapshot's subvolumes are, given the mass of the box [1e10 Msun/h]."""
        settings, snapshot = self.experiment.preprocess, source.snapshot
        return shards.Geometry(
            redshift=round(snapshot.redshift, 6),
            box_size=snapshot.box_size * snapshots.UNITS[settings.length_unit],
            n_mesh=settings.n_mesh,
            subvolume=settings.subvolume,
            mean_cell_mass=mass / settings.n_mesh**3,
            window=WINDOWS[settings.window],
        )


def preprocess(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write all shards of an experiment that are not yet there, and the manifest."""
    folder, stages = experiment.shards_folder, Stages()
    if not experiment.preprocess.snapshots:
        _on_root(comm, lambda: _simulate_what_is_missing(experiment))
    with stages("headers"):
        sources = _on_root(comm, lambda: snapshots.find(experiment))
        receipt = _on_root(comm, lambda: _receipt(experiment, sources, comm.size))
        if _on_root(comm, lambda: receipt.done() and shards.is_complete(folder)):
            say(f"preprocess: done: {folder}", comm.rank)
            return
        plan = _plan(experiment, sources, receipt.recipe["shards"])
        _on_root(comm, lambda: _prepare(plan, receipt, comm.size))
    if comm.rank == 0:
        say(_introduction(plan, comm.size))
    with Progress("preprocess", sum(s.snapshot.n_particles for s in sources), "particles", comm.rank) as progress:
        lines = [line for source in sources for line in _snapshot(plan, source, comm, stages, progress.advance)]
    gathered, summary = comm.gather(lines), stages.summary(comm)
    if gathered is not None and summary is not None:
        _finish(plan, receipt, sorted((line for part in gathered for line in part), key=lambda x: x["file"]), summary)
        if experiment.preprocess.profile:
            print(table(summary), flush=True)
    comm.barrier()


def done(experiment: Experiment) -> bool:
    """Say whether all shards are there, made with just these settings."""
    folder = experiment.shards_folder
    if not experiment.preprocess.snapshots and not all(path.exists() for path in experiment.simulated):
        return False
    return _receipt(experiment, snapshots.find(experiment), 1).done() and shards.is_complete(folder)


def _simulate_what_is_missing(experiment: Experiment) -> None:
    """Run `simulate` for an experiment without snapshots of its own: in a child, since ranks load no torch."""
    if all(path.exists() for path in experiment.simulated):
        return
    say("preprocess: preprocess.snapshots is not set and nothing is simulated yet: simulating first")
    command_line = [sys.executable, "-m", "cosmogan.simulate", str(experiment.freeze())]
    if subprocess.run(command_line, env=mpi.plain_environment(), check=False).returncode != 0:
        raise ValueError(f"{experiment.simulations_folder}: simulate failed, see above")


def _on_root(comm: mpi.Comm, work: Callable[[], Any]) -> Any:
    """Do something on rank 0 only and return its result on every rank; the others wait asleep."""
    result = work() if comm.rank == 0 else None
    comm.barrier()
    return comm.bcast(result)


def _receipt(experiment: Experiment, sources: tuple[Source, ...], n_ranks: int) -> Receipt:
    """Return the record of all that the shards depend on; a begun folder keeps its number of shards if none is set."""
    wanted, folder = experiment.preprocess, experiment.shards_folder
    n_shards = wanted.shards or Receipt.recorded(folder, "preprocess").get("shards")
    recipe = {
        "snapshots": [
            {"files": [str(file.path) for file in source.snapshot.files], "particles": source.snapshot.n_particles}
            for source in sources
        ],
        "length_unit": wanted.length_unit,
        "particle_type": wanted.particle_type,
        "n_mesh": wanted.n_mesh,
        "subvolume": wanted.subvolume,
        "window": wanted.window,
        "shards": n_shards or min(n_ranks, wanted.n_subvolumes),
    }
    if wanted.parameters is not None:
        recipe["parameters"] = checksum(wanted.parameters)
    return Receipt(folder, "preprocess", recipe)


def _plan(experiment: Experiment, sources: tuple[Source, ...], n_shards: int) -> Plan:
    layout = Layout(experiment.preprocess.n_mesh, experiment.preprocess.subvolume)
    return Plan(experiment, sources, layout, tuple(layout.deal(n_shards)), parameters.of_all(experiment, sources))


def _prepare(plan: Plan, receipt: Receipt, n_ranks: int) -> None:
    """Refuse what cannot end well, clear away what a killed run left, and record what is about to be done."""
    folder = plan.experiment.shards_folder
    strangers = (
        [] if receipt.path.exists() else sorted(p.name for p in folder.glob("*") if p.suffix in (".h5", ".json"))
    )
    if strangers:
        raise ValueError(
            f"{folder}: has {strangers[0]}, and {receipt.path} is not there to say what made it; "
            "use another preprocess.output"
        )
    _check_memory(plan, n_ranks)
    receipt.begin(keep=True)
    remove_leftovers(folder)
    _check_space(plan)


def _check_memory(plan: Plan, n_ranks: int) -> None:
    settings, n_shards = plan.experiment.preprocess, len(plan.hands)
    own = -(-n_shards // n_ranks) * len(plan.hands[0]) * settings.subvolume**3 * 4
    needed = own + SMALLEST_ROUND * max(row_bytes(source.snapshot) for source in plan.sources)
    if needed > settings.memory_per_rank * 1e6:
        more = "more ranks" if n_shards >= n_ranks else f"more than {n_shards} preprocess.shards"
        for_what = f"{settings.n_mesh}³ cells in {n_shards} shard(s)"
        raise ValueError(
            f"preprocess.memory_per_rank: expected at least {needed / 1e6:.4g} MB, which {n_ranks} rank(s) need for "
            f"{for_what}, found {settings.memory_per_rank:g}; raise it, or use {more}"
        )


def _check_space(plan: Plan) -> None:
    folder, cells = plan.experiment.shards_folder, plan.experiment.preprocess.subvolume**3
    rows = sum(len(plan.hands[shard]) for source in plan.sources for shard in plan.missing(source))
    free = shutil.disk_usage(folder).free
    if rows * cells * 4 > free:
        raise ValueError(
            f"{folder}: expected room for {rows * cells * 4 / 1e6:.0f} MB of shards, found {free / 1e6:.0f} MB free; "
            "free some, or set preprocess.output elsewhere"
        )


def _introduction(plan: Plan, n_ranks: int) -> str:
    n_shards = len(plan.sources) * len(plan.hands)
    there = n_shards - sum(len(plan.missing(source)) for source in plan.sources)
    particles = sum(source.snapshot.n_particles for source in plan.sources)
    kept = f"; {there} of {n_shards} shards are there already" if there else ""
    return f"preprocess: {len(plan.sources)} snapshot(s), {particles:,} particles, on {n_ranks} MPI rank(s){kept}"


def _snapshot(
    plan: Plan, source: Source, comm: mpi.Comm, stages: Stages, advance: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Paint and write the shards of one snapshot that are missing; return this rank's lines of the manifest."""
    missing = _on_root(comm, lambda: plan.missing(source))
    there = [shard for shard in range(len(plan.hands)) if shard not in missing]
    with stages("checksum"):
        lines = [shards.describe(plan.path(source, there[i])) for i in mpi.share(len(there), comm)]
    if not missing:
        advance(source.snapshot.n_particles)
        return lines
    settings, nobody = plan.experiment.preprocess, np.empty(0, np.int64)
    n = len(missing)
    mine = [missing[rank * n // comm.size : (rank + 1) * n // comm.size] for rank in range(comm.size)]
    owned = [np.concatenate([nobody, *(plan.hands[shard] for shard in part)]) for part in mine]
    order, memory = WINDOWS[settings.window], settings.memory_per_rank * 1e6
    density, mass, filled = Gridder(source.snapshot, plan.layout, owned, order, comm, memory, stages).paint(advance)
    if n == len(plan.hands):
        _check_mass(filled, plan, source, comm)
    snapshots.check_unit(source.snapshot, mass, settings.length_unit)
    first = 0
    for shard in mine[comm.rank]:
        rows = slice(first, first + len(plan.hands[shard]))
        with stages("write", density[rows].nbytes):
            lines.append(_write(plan, source, shard, density[rows], mass))
        first = rows.stop
    return lines


def _check_mass(filled: float, plan: Plan, source: Source, comm: mpi.Comm) -> None:
    """Raise when a whole box does not hold all of its mass."""
    mean = comm.allreduce(filled) / plan.layout.n_mesh**3
    if abs(mean - 1) > 1e-6:
        raise RuntimeError(f"{source.path}: the painted mass is {mean:.8f} of the particles' mass")


def _write(plan: Plan, source: Source, shard: int, density: np.ndarray, mass: float) -> dict[str, Any]:
    """Write a shard, and return its line of the manifest."""
    lines: list[dict[str, Any]] = []
    path, numbers, geometry = plan.path(source, shard), plan.hands[shard], plan.geometry(source, mass)
    origin = {"files": [str(file.path) for file in source.snapshot.files], "mass": mass}
    origin["parameters"] = plan.parameters[source.simulation]
    with shards.create(path, len(numbers), geometry, "simulated", origin, lines) as file:
        file["density"][:] = density
        file["corner"][:] = plan.layout.corners(numbers)
        file["simulation"][:] = source.simulation
    return lines[0]


def _finish(plan: Plan, receipt: Receipt, lines: list[dict[str, Any]], summary: list[dict[str, Any]]) -> None:
    """Write the manifest and the record."""
    folder = plan.experiment.shards_folder
    geometry = shards.read_geometry(folder / lines[0]["file"])
    shards.write_manifest(folder, geometry, "simulated", lines, {"snapshots": receipt.recipe["snapshots"]})
    n = sum(line["rows"] for line in lines)
    receipt.finish(subvolumes=n, shards=len(lines), stages=summary)
    say(f"preprocess: wrote {n} subvolumes of {plan.layout.subvolume}³ cells in {len(lines)} shards: {folder}")


def _options(parser: argparse.ArgumentParser) -> None:
    what = "print seconds, bytes, messages and the imbalance of ranks for each stage"
    parser.add_argument("--profile", dest="preprocess.profile", action="store_true", help=what)


if __name__ == "__main__":
    command.main("cosmogan.preprocess", TEXT, EXAMPLE, preprocess, options=_options)
