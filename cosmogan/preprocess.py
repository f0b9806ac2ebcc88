"""Grid GADGET-2 snapshots with CIC and write sharded HDF5 subvolumes, on any number of MPI ranks."""

import glob
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import command, shards
from cosmogan.config import Experiment
from cosmogan.nbody import gadget
from cosmogan.nbody.decompose import Layout
from cosmogan.nbody.subvolumes import Snapshot, compile_kernels, paint_owned
from hpc import mpi
from hpc.log import Progress, say
from hpc.rundir import Receipt

TEXT = """\
Read GADGET-2 snapshots (format 1 or 2, one file or several), put their particles on a mesh by cloud-in-cell, cut it
into cubic subvolumes and write them as sharded HDF5. Runs on any number of MPI ranks, and as one plain process."""
EXAMPLE = "mpirun -n 64 python -m cosmogan.preprocess experiment.yaml preprocess.n_mesh=512"

_UNITS = {"kpc/h": 1e-3, "Mpc/h": 1.0}  # [Mpc/h]
_UNIT_TOLERANCE = 2.0  # a wrong unit is off by a factor 1e9; a box with only its dark matter chosen by less than this


@dataclass(frozen=True)
class Plan:
    """All that is known before any particle is read; the same on every rank."""

    snapshots: tuple[Snapshot, ...]
    geometry: shards.Geometry
    layout: Layout
    n_shards: int  # of each simulation

    def path(self, folder: Path, simulation: int, shard: int) -> Path:
        """Return a shard's final name."""
        return folder / f"simulation-{simulation:03d}-shard-{shard:03d}-of-{self.n_shards:03d}.h5"

    def numbers(self, shard: int) -> np.ndarray:
        """Return the numbers of the subvolumes in a shard."""
        n = self.layout.n_subvolumes
        return np.arange(shard * n // self.n_shards, (shard + 1) * n // self.n_shards)


def preprocess(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write all shards of an experiment that are not yet there, and the manifest."""
    folder = experiment.shards_folder
    if not experiment.preprocess.snapshots:
        if comm.rank == 0:
            _simulate_what_is_missing(experiment)
        comm.barrier()
    snapshots = _on_root(comm, lambda: _find_snapshots(experiment))
    receipt = _on_root(comm, lambda: _receipt(experiment, snapshots, comm.size))
    if _on_root(comm, lambda: receipt.done() and shards.is_complete(folder)):
        say(f"preprocess: done: {folder}", comm.rank)
        return
    _on_root(comm, lambda: receipt.begin(keep=True))
    plan = _plan(experiment, snapshots, receipt.recipe["shards"])
    _share_compiled_kernels(comm)
    say(
        f"preprocess: {len(snapshots)} snapshots of {snapshots[0].n_particles:,} particles on {comm.size} MPI rank(s)",
        comm.rank,
    )
    with Progress("preprocess", sum(s.n_particles for s in snapshots), "particles", comm.rank) as progress:
        lines = [line for i in range(len(snapshots)) for line in _simulation(plan, i, experiment, comm, progress)]
    gathered = comm.gather(lines)
    if gathered is not None:
        listed = sorted((line for part in gathered for line in part), key=lambda line: line["file"])
        shards.write_manifest(folder, plan.geometry, "simulated", listed, {"snapshots": receipt.recipe["snapshots"]})
        n = sum(line["rows"] for line in listed)
        receipt.finish(subvolumes=n, shards=len(listed))
        say(f"preprocess: wrote {n} subvolumes of {plan.layout.subvolume}³ cells in {len(listed)} shards: {folder}")
    comm.barrier()


def done(experiment: Experiment) -> bool:
    """Say whether all shards are there, made with just these settings."""
    folder = experiment.shards_folder
    if not experiment.preprocess.snapshots and not all(Path(path).exists() for path in experiment.snapshots):
        return False
    return _receipt(experiment, _find_snapshots(experiment), 1).done() and shards.is_complete(folder)


def _simulate_what_is_missing(experiment: Experiment) -> None:
    """Run `simulate` for an experiment without snapshots of its own: in a child, since ranks load no torch."""
    if all(Path(path).exists() for path in experiment.snapshots):
        return
    say("preprocess: preprocess.snapshots is not set and nothing is simulated yet: simulating first")
    command_line = [sys.executable, "-m", "cosmogan.simulate", str(experiment.freeze())]
    if subprocess.run(command_line, env=mpi.plain_environment(), check=False).returncode != 0:
        raise ValueError(f"{experiment.simulations_folder}: simulate failed, see above")


def _on_root(comm: mpi.Comm, work: Any) -> Any:
    """Do something on rank 0 only and return its result on every rank."""
    return comm.bcast(work() if comm.rank == 0 else None)


def _share_compiled_kernels(comm: mpi.Comm) -> None:
    """Let rank 0 compile what the cache lacks before the others load it: 64 ranks do not compile 64 times."""
    if comm.rank == 0:
        compile_kernels()
    comm.barrier()


def _receipt(experiment: Experiment, snapshots: tuple[Snapshot, ...], n_ranks: int) -> Receipt:
    """Return the record of all that the shards depend on; a begun folder keeps its number of shards if none is set."""
    wanted, folder = experiment.preprocess, experiment.shards_folder
    n_shards = wanted.shards or Receipt.recorded(folder, "preprocess").get("shards")
    recipe = {
        "snapshots": [{"files": [str(f.path) for f in s.files], "particles": s.n_particles} for s in snapshots],
        "length_unit": wanted.length_unit,
        "particle_type": wanted.particle_type,
        "n_mesh": wanted.n_mesh,
        "subvolume": wanted.subvolume,
        "shards": n_shards or min(n_ranks, wanted.n_subvolumes),
    }
    return Receipt(folder, "preprocess", recipe)


def _plan(experiment: Experiment, snapshots: tuple[Snapshot, ...], n_shards: int) -> Plan:
    settings, header = experiment.preprocess, snapshots[0].files[0].header
    box_size = header.box_size * _UNITS[settings.length_unit]
    mean_cell_mass = gadget.CRITICAL_DENSITY * header.omega_m * (box_size / settings.n_mesh) ** 3
    if snapshots[0].particle_mass is not None:
        mean_cell_mass = snapshots[0].n_particles * snapshots[0].particle_mass / settings.n_mesh**3
    geometry = shards.Geometry(round(header.redshift, 6), box_size, settings.n_mesh, settings.subvolume, mean_cell_mass)
    return Plan(snapshots, geometry, Layout(settings.n_mesh, settings.subvolume), n_shards)


def _simulation(
    plan: Plan, simulation: int, experiment: Experiment, comm: mpi.Comm, progress: Progress
) -> list[dict[str, Any]]:
    """Paint and write the shards of one simulation that are missing; return this rank's lines of the manifest."""
    folder = experiment.shards_folder
    snapshot = plan.snapshots[simulation]
    paths = [plan.path(folder, simulation, shard) for shard in range(plan.n_shards)]
    missing = _on_root(comm, lambda: [shard for shard in range(plan.n_shards) if not paths[shard].exists()])
    there = [shard for shard in range(plan.n_shards) if shard not in missing]
    lines = [shards.describe(paths[there[i]]) for i in mpi.share(len(there), comm)]
    if not missing:
        progress.advance(snapshot.n_particles)
        return lines
    mine = [
        [missing[i] for i in range(r * len(missing) // comm.size, (r + 1) * len(missing) // comm.size)]
        for r in range(comm.size)
    ]
    nobody = np.empty(0, np.int64)
    owned = [np.concatenate([nobody, *(plan.numbers(shard) for shard in part)]) for part in mine]
    memory = experiment.preprocess.memory_per_rank * 1e6
    density, mass = paint_owned(snapshot, plan.layout, owned, comm, memory, progress.advance)
    _check_mass(density, plan, missing, snapshot, comm)
    source = {"files": [str(file.path) for file in snapshot.files], "mass": mass}
    first = 0
    for shard in mine[comm.rank]:
        numbers = plan.numbers(shard)
        with shards.create(paths[shard], len(numbers), plan.geometry, "simulated", source) as file:
            file["density"][:] = density[first : first + len(numbers)]
            file["corner"][:] = plan.layout.corners(numbers)
            file["simulation"][:] = simulation
        first += len(numbers)
        lines.append(shards.describe(paths[shard]))
    return lines


def _check_mass(density: np.ndarray, plan: Plan, missing: list[int], snapshot: Snapshot, comm: mpi.Comm) -> None:
    """Raise when a whole box does not hold all of its mass."""
    mean = comm.allreduce(float(density.sum(dtype=np.float64))) / plan.layout.n_mesh**3
    if len(missing) == plan.n_shards and abs(mean - 1) > 1e-6:
        raise RuntimeError(f"{snapshot.files[0].path}: the painted mass is {mean:.8f} of the particles' mass")


def _find_snapshots(experiment: Experiment) -> tuple[Snapshot, ...]:
    """Find, open and check every snapshot of an experiment, headers and block lengths only."""
    settings = experiment.preprocess
    snapshots = tuple(
        Snapshot(tuple(files), settings.particle_type, files[0].header.box_size)
        for files in map(gadget.open_snapshot, _paths(experiment.snapshots))
    )
    for snapshot in snapshots:
        _check(snapshot, snapshots[0], settings.length_unit)
    for number in experiment.held_out:
        if number >= len(snapshots):
            raise ValueError(f"held_out: expected simulations from 0 to {len(snapshots) - 1}, found {number}")
    return snapshots


def _paths(patterns: tuple[str, ...]) -> list[Path]:
    """Return the snapshots that paths, stems and globs stand for, each once, in the order given."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        if not matches:
            raise ValueError(f"preprocess.snapshots: nothing matches {pattern}")
        for match in matches:
            path = Path(match)
            several = path.suffix[1:].isdigit() and path.is_file() and gadget.open_file(path).header.n_files > 1
            found[gadget.stem_of(path) if several else path] = None
    return list(found)


def _check(snapshot: Snapshot, first: Snapshot, length_unit: str) -> None:
    """Raise when a snapshot has no particles, another box or time than the first, or another length unit than set."""
    header, path = snapshot.files[0].header, snapshot.files[0].path
    if snapshot.n_particles == 0:
        raise ValueError(
            f"{path}: no particles of preprocess.particle_type={snapshot.particle_type}; "
            f"it has {list(header.n_total)} of types 0 to 5"
        )
    if header.box_size <= 0:
        raise ValueError(f"{path}: the header's BoxSize is {header.box_size:g}; expected a positive length")
    reference = first.files[0].header
    for name, found, expected in (
        ("BoxSize", header.box_size, reference.box_size),
        ("redshift", header.redshift, reference.redshift),
        ("Omega0", header.omega_m, reference.omega_m),
    ):
        if abs(found - expected) > 1e-3 * max(abs(expected), 1):
            raise ValueError(
                f"{path}: {name} is {found:g}, but {first.files[0].path} has {expected:g}; "
                "an experiment takes snapshots of one kind"
            )
    _check_unit(snapshot, header, length_unit)


def _check_unit(snapshot: Snapshot, header: gadget.Header, length_unit: str) -> None:
    if snapshot.particle_mass is None or header.omega_m <= 0 or snapshot.particle_type not in ("all", 1):
        return
    box_size = header.box_size * _UNITS[length_unit]
    density = snapshot.n_particles * snapshot.particle_mass / box_size**3
    expected = gadget.CRITICAL_DENSITY * header.omega_m
    path = snapshot.files[0].path
    if not 1 / _UNIT_TOLERANCE < density / expected < _UNIT_TOLERANCE:
        raise ValueError(
            f"{path}: in a box of {header.box_size:g} {length_unit} the mean density is {density:.4g}, "
            f"expected {expected:.4g} [1e10 Msun/h / (Mpc/h)³] by Omega0 = {header.omega_m:g}; "
            f"is preprocess.length_unit={length_unit} right?"
        )


if __name__ == "__main__":
    command.main("cosmogan.preprocess", TEXT, EXAMPLE, preprocess)
