"""State how snapshots become sharded subvolumes."""

import math
from dataclasses import dataclass
from typing import Literal

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Preprocess:
    """From snapshots to sharded subvolumes."""

    snapshots: tuple[FilePath, ...] = ()
    """Snapshots to read: paths, stems of snapshots of several files, folders or globs, one simulation each. Or one
    pattern for all simulations and redshifts, as `sims/box-{simulation:03d}/snapshot_{snapshot:03d}`. An empty list
    stands for the snapshots of `simulate`.
    """

    length_unit: Literal["kpc/h", "Mpc/h"] = "Mpc/h"
    """The unit of length in snapshots that do not state it."""

    box_size: float | None = None
    """The side of the box of snapshots whose header has none (BoxSize 0) [comoving Mpc/h]. With null the header states
    it.
    """

    particle_type: Literal["all", 0, 1, 2, 3, 4, 5] = "all"
    """The type of particles that make up the density."""

    n_mesh: int = 512
    """The number of cells along a side of the box."""

    subvolume: int = 64
    """The number of cells along a side of a subvolume; it divides `n_mesh`."""

    window: Literal["ngp", "cic", "tsc", "pcs"] = "cic"
    """The mass assignment."""

    shards: int | None = None
    """The number of files per snapshot. With null each rank writes one."""

    memory_per_rank: float = 1500.0
    """The memory of a rank for its own subvolumes and for one round of reading and exchange [MB]."""

    parameters: FilePath | None = None
    """A YAML file of numbers of each simulation, as `0: {sigma_8: 0.8}`, for conditions (docs/conditions.md)."""

    profile: bool = False
    """Print the time that each stage took (`--profile`)."""

    output: FilePath | None = None
    """The folder of the shards. With null it is `shards` in the folder `data`, or in the run's own."""

    def __post_init__(self) -> None:
        check(self.n_mesh >= 1, f"n_mesh: expected a positive number of cells, found {self.n_mesh}")
        check(
            self.subvolume >= 1 and self.n_mesh % self.subvolume == 0,
            f"subvolume: expected a divisor of n_mesh = {self.n_mesh}, found {self.subvolume}",
        )
        check(
            self.box_size is None or 0 < self.box_size < math.inf,
            f"box_size: expected a positive length or null, found {self.box_size}",
        )
        n = self.n_subvolumes
        check(self.shards is None or 1 <= self.shards <= n, f"shards: expected 1 to {n}, found {self.shards}")
        check(self.memory_per_rank >= 1, f"memory_per_rank: expected at least 1 MB, found {self.memory_per_rank}")

    @property
    def n_subvolumes(self) -> int:
        """Subvolumes in one simulation."""
        return (self.n_mesh // self.subvolume) ** 3
