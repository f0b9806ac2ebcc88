"""Write a snapshot's density as shards of subvolumes."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.nbody.decompose import Layout
from cosmogan.nbody.paint import WINDOWS
from cosmogan.nbody.subvolumes import SMALLEST_ROUND, Gridder, row_bytes
from cosmogan.simulations import parameters, simulated, snapshots
from cosmogan.simulations.snapshots import Source
from hpc import mpi
from hpc.files import checksum, remove_leftovers
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.timing import Timer

_ENDS = 1 << 15  # bytes of a file's beginning and of its end, whose checksum tells it from another


@dataclass(frozen=True)
class ShardPlan:
    """The shards to write, and from what: all that is known before any particle is read; the same on every rank."""

    experiment: Experiment
    sources: tuple[Source, ...]
    layout: Layout
    subvolumes: tuple[np.ndarray, ...]  # the numbers of those in each of a snapshot's shards
    parameters: dict[int, dict[str, float]]  # of each simulation, by name

    @property
    def n_shards(self) -> int:
        """The number of shards of a snapshot."""
        return len(self.subvolumes)

    def path(self, source: Source, shard: int) -> Path:
        """Return a shard's final name."""
        snapshot = "" if source.number is None else f"-snapshot-{source.number:03d}"
        name = f"simulation-{source.simulation:03d}{snapshot}-shard-{shard:03d}-of-{self.n_shards:03d}.h5"
        return self.experiment.shards_folder / name

    def missing(self, source: Source) -> list[int]:
        """Return which of a snapshot's shards are not there."""
        return [shard for shard in range(self.n_shards) if not self.path(source, shard).exists()]

    def geometry(self, source: Source, mass: float) -> shards.Geometry:
        """Return the geometry of a snapshot's subvolumes, given the mass of the box [1e10 Msun/h]."""
        settings, snapshot = self.experiment.preprocess, source.snapshot
        return shards.Geometry(
            redshift=round(snapshot.redshift, 6),
            box_size=snapshot.box_size * snapshots.length_unit(snapshot, settings.length_unit),
            n_mesh=settings.n_mesh,
            subvolume=settings.subvolume,
            mean_cell_mass=mass / settings.n_mesh**3,
            window=WINDOWS[settings.window],
        )


def sources(experiment: Experiment) -> tuple[Source, ...]:
    """Return all snapshots of an experiment, checked; of simulations straight to shards, those they stand for."""
    return simulated.sources(experiment) if experiment.straight_to_shards else snapshots.find(experiment)


def receipt(experiment: Experiment, sources: tuple[Source, ...], n_ranks: int) -> Receipt:
    """Return the record of all that the shards depend on; a begun folder keeps its number of shards if none is set."""
    wanted, folder = experiment.preprocess, experiment.shards_folder
    recorded = Receipt.recorded(folder, "preprocess")
    n_shards = wanted.shards or recorded.get("shards")
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
    if wanted.box_size is not None:
        recipe["box_size"] = wanted.box_size
    if wanted.parameters is not None:
        recipe["parameters"] = checksum(wanted.parameters)
    if contents := _contents(sources, recorded):
        recipe["contents"] = contents
    return Receipt(folder, "preprocess", recipe)


def _contents(sources: tuple[Source, ...], recorded: dict[str, Any]) -> dict[str, str]:
    """Return a checksum of each snapshot's first file, its beginning and end: another of the same name has another.

    Of snapshots that an older record knows without one, and of particles in memory, it is what the record says.
    """
    earlier, contents = recorded.get("contents", {}), {}
    begun = {entry["files"][0] for entry in recorded.get("snapshots", ())}
    for source in sources:
        path = str(source.path)
        if isinstance(source.snapshot.files[0], simulated.Output) or (path in begun and path not in earlier):
            contents[path] = earlier.get(path)
        else:
            with open(path, "rb") as file:
                first = file.read(_ENDS)
                file.seek(max(source.path.stat().st_size - _ENDS, 0))
                contents[path] = hashlib.sha256(first + file.read(_ENDS)).hexdigest()[:16]
    return {path: digest for path, digest in contents.items() if digest is not None}


def _grown(receipt: Receipt) -> tuple[str, ...]:
    """Return the settings that may differ in a begun folder: the snapshots, when more follow the recorded ones."""
    recorded = Receipt.recorded(receipt.path.parent.parent, receipt.stage)
    before, now = recorded.get("snapshots", []), receipt.recipe["snapshots"]
    same = recorded.get("contents", {}).items() <= receipt.recipe.get("contents", {}).items()
    return ("snapshots", "contents") if same and len(before) < len(now) and before == now[: len(before)] else ()


def plan(experiment: Experiment, sources: tuple[Source, ...], n_shards: int) -> ShardPlan:
    """Return which subvolumes each shard holds."""
    layout = Layout(experiment.preprocess.n_mesh, experiment.preprocess.subvolume)
    return ShardPlan(
        experiment, sources, layout, tuple(layout.assign(n_shards)), parameters.of_all(experiment, sources)
    )


def prepare(plan: ShardPlan, receipt: Receipt, n_ranks: int, part: Part | None) -> None:
    """Check memory, disk space and earlier records, clear away what a killed run left, and begin the record.

    A part clears nothing away: others, on hosts that are not seen from here, may be writing.
    """
    folder = plan.experiment.shards_folder
    strangers = sorted(p.name for p in folder.glob("*") if p.suffix in (".h5", ".json"))
    if strangers and not receipt.path.exists():  # in this order: another part makes the record before its first shard
        raise ValueError(
            f"{folder}: has {strangers[0]}, and {receipt.path} is not there to say what made it; "
            "use another preprocess.output"
        )
    _check_memory(plan, n_ranks)
    receipt.begin(keep=True, allowed=_grown(receipt))
    if part is None:
        remove_leftovers(folder)
    _check_space(plan)


def is_simulated(experiment: Experiment) -> bool:
    """Say whether all that `simulate` makes for these shards is there."""
    if not experiment.straight_to_shards:
        return all(map(simulated.is_there, experiment.simulated))
    sources = simulated.sources(experiment)
    shard_plan = plan(experiment, sources, receipt(experiment, sources, 1).recipe["shards"])
    return not any(shard_plan.missing(source) for source in sources)


def _check_memory(plan: ShardPlan, n_ranks: int) -> None:
    settings, n_shards = plan.experiment.preprocess, plan.n_shards
    own = -(-n_shards // n_ranks) * len(plan.subvolumes[0]) * settings.subvolume**3 * 4
    needed = own + SMALLEST_ROUND * max((row_bytes(source.snapshot) for source in plan.sources), default=0)
    if needed > settings.memory_per_rank * 1e6:
        more = "more ranks" if n_shards >= n_ranks else f"more than {n_shards} preprocess.shards"
        for_what = f"{settings.n_mesh}³ cells in {n_shards} shard(s)"
        raise ValueError(
            f"preprocess.memory_per_rank: expected at least {needed / 1e6:.4g} MB, which {n_ranks} rank(s) need for "
            f"{for_what}, found {settings.memory_per_rank:g}; raise it, or use {more}"
        )


def _check_space(plan: ShardPlan) -> None:
    folder, cells = plan.experiment.shards_folder, plan.experiment.preprocess.subvolume**3
    rows = sum(len(plan.subvolumes[shard]) for source in plan.sources for shard in plan.missing(source))
    free = shutil.disk_usage(folder).free
    if rows * cells * 4 > free:
        raise ValueError(
            f"{folder}: expected room for {rows * cells * 4 / 1e6:.4g} MB of shards, found {free / 1e6:.4g} MB free; "
            "free some, or set preprocess.output elsewhere"
        )


def write(
    plan: ShardPlan, source: Source, comm: mpi.Comm, timer: Timer, advance: Callable[[int], None] = lambda n: None
) -> list[dict[str, Any]]:
    """Paint and write the shards of one snapshot that are missing; return this rank's lines of the manifest."""
    missing = comm.on_root(lambda: plan.missing(source))
    kept = [shard for shard in range(plan.n_shards) if shard not in missing]
    with timer("checksum"):
        lines = [shards.describe(plan.path(source, kept[i])) for i in mpi.share(len(kept), comm)]
    if not missing:
        return lines
    settings, nobody = plan.experiment.preprocess, np.empty(0, np.int64)
    n = len(missing)
    mine = [missing[rank * n // comm.size : (rank + 1) * n // comm.size] for rank in range(comm.size)]
    owned = [np.concatenate([nobody, *(plan.subvolumes[shard] for shard in part)]) for part in mine]
    order, memory = WINDOWS[settings.window], settings.memory_per_rank * 1e6
    density, mass, filled = Gridder(source.snapshot, plan.layout, owned, order, comm, memory, timer).paint(advance)
    if n == plan.n_shards:
        _check_mass(filled, plan, source, comm)
    snapshots.check_unit(source.snapshot, mass, settings.length_unit)
    first = 0
    for shard in mine[comm.rank]:
        rows = slice(first, first + len(plan.subvolumes[shard]))
        with timer("write", density[rows].nbytes):
            lines.append(_write_shard(plan, source, shard, density[rows], mass))
        first = rows.stop
    return lines


def _check_mass(filled: float, plan: ShardPlan, source: Source, comm: mpi.Comm) -> None:
    """Raise when a whole box does not hold all of its mass."""
    mean = comm.allreduce(filled) / plan.layout.n_mesh**3
    if abs(mean - 1) > 1e-6:
        raise RuntimeError(f"{source.path}: the painted mass is {mean:.8f} of the particles' mass")


def _write_shard(plan: ShardPlan, source: Source, shard: int, density: np.ndarray, mass: float) -> dict[str, Any]:
    """Write a shard, and return its line of the manifest."""
    lines: list[dict[str, Any]] = []
    path, numbers, geometry = plan.path(source, shard), plan.subvolumes[shard], plan.geometry(source, mass)
    origin = {"files": [str(file.path) for file in source.snapshot.files], "mass": mass}
    origin["parameters"] = plan.parameters[source.simulation]
    with shards.create(path, len(numbers), geometry, "simulated", origin, lines) as file:
        file["density"][:] = density
        file["corner"][:] = plan.layout.corners(numbers)
        file["simulation"][:] = source.simulation
    return lines[0]
