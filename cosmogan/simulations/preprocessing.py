"""Write all snapshots of an experiment as shards of subvolumes, and the manifest."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.simulations import gridding, snapshots
from cosmogan.simulations.snapshots import Source
from hpc.log import Progress, say
from hpc.mpi import Comm
from hpc.part import Part, share_of, title
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage
from hpc.timing import Timer, table

MAX_LINES = 20  # simulations are named


@dataclass
class PreprocessStage(Stage[Comm]):
    """Grid snapshots and write their subvolumes; the headers are read once and sent to all ranks with the plan."""

    name = "preprocess"
    experiment: Experiment
    n_ranks: int = 1
    timer: Timer = field(default_factory=Timer)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """All snapshots, checked; of simulations straight to shards, those they stand for."""
        return gridding.sources(self.experiment)

    @cached_property
    def receipt(self) -> Receipt:
        """The record of all that the shards depend on."""
        return gridding.receipt(self.experiment, self.sources, self.n_ranks)

    def with_headers(self) -> "PreprocessStage":
        """Read the headers and the records, and return itself, to be sent to all ranks."""
        self.__dict__.update(sources=self.sources, receipt=self.receipt)
        return self

    @property
    def workplace(self) -> Path:
        """The folder of the shards."""
        return self.experiment.shards_folder

    def parts(self) -> int:
        """Return how many snapshots there are, or will be, to share out."""
        if not self.experiment.preprocess.snapshots:  # perhaps not simulated yet
            return len(self.experiment.simulated)
        return len(self.sources)

    def is_done(self) -> bool:
        """Say whether all shards are there, made with just these settings."""
        if not self.experiment.preprocess.snapshots and not gridding.is_simulated(self.experiment):
            return False
        if self.experiment.input.is_used and not PreprocessStage(self.experiment.quick).is_done():
            return False
        return self.receipt.done() and shards.is_complete(self.workplace)

    def when_done(self) -> str:
        """Return where the shards are."""
        return f"done: {self.workplace}"

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Write the shards that are missing, and the manifest; of a part, only those of its snapshots."""
        with self.timer("headers"):
            plan = gridding.plan(self.experiment, tuple(share_of(self.sources, part)), self.receipt.recipe["shards"])
            world.on_root(lambda: gridding.prepare(plan, self.receipt, world.size, part))
        doing = title(self.name, part)
        if world.rank == 0:
            say(f"{doing}: {_introduction(plan, world.size)}")
            for line in snapshots.remarks(plan.sources, self.experiment.preprocess):
                say(f"{doing}: warning: {line}")
            for line in _simulations(plan):
                say(f"{doing}: {line}")
        kept, to_do = world.on_root(lambda: _particles(plan))
        with Progress(doing, kept + to_do, "particles", world.rank) as progress:
            progress.resume_at(kept)
            lines = [
                line
                for source in plan.sources
                for line in gridding.write(plan, source, world, self.timer, progress.advance)
            ]
        gathered, summary = world.gather(lines), self.timer.summary(world)
        if gathered is None or summary is None:
            return Outcome({}, ())
        written = sorted((line for of_rank in gathered for line in of_rank), key=lambda line: line["file"])
        profile = "\n" + table(summary) if self.experiment.preprocess.profile else ""
        if part is not None:
            return Outcome({}, (f"its {len(written)} shards are there: {self.workplace}{profile}",))
        return self._finished(plan, written, summary, profile)

    def _finished(
        self, plan: gridding.ShardPlan, written: list[dict[str, Any]], summary: list[dict[str, Any]], profile: str
    ) -> Outcome:
        """Write the manifest, and return the results for the record."""
        geometry = shards.read_geometry(self.workplace / written[0]["file"])
        origin = {"snapshots": self.receipt.recipe["snapshots"]}
        shards.write_manifest(self.workplace, geometry, "simulated", written, origin)
        n = sum(line["rows"] for line in written)
        sizes = f"{n} subvolumes of {plan.layout.subvolume}³ cells in {len(written)} shards"
        results = {"subvolumes": n, "shards": len(written), "stages": summary}
        return Outcome(results, (f"wrote {sizes}: {self.workplace}{profile}",))


def _particles(plan: gridding.ShardPlan) -> tuple[int, int]:
    """Return the number of particles in the shards that are written, and of those still to be read."""
    kept, to_do = 0, 0
    for source in plan.sources:
        n, missing = int(source.snapshot.n_particles), len(plan.missing(source))
        kept += n * (plan.n_shards - missing) // plan.n_shards
        to_do += n if missing else 0
    return kept, to_do


def _introduction(plan: gridding.ShardPlan, n_ranks: int) -> str:
    n_shards = len(plan.sources) * plan.n_shards
    n_kept = n_shards - sum(len(plan.missing(source)) for source in plan.sources)
    particles = sum(source.snapshot.n_particles for source in plan.sources)
    kept = f"; {n_kept} of {n_shards} shards are there already" if n_kept else ""
    return f"{len(plan.sources)} snapshot(s), {particles:,} particles, on {n_ranks} MPI rank(s){kept}"


def _simulations(plan: gridding.ShardPlan) -> list[str]:
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
