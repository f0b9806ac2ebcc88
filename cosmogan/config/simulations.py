"""Settings of where densities come from: cosmology, simulations, preprocessing."""

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Cosmology:
    """A flat ΛCDM universe."""

    omega_m: float = 0.29
    omega_b: float = 0.047
    h: float = 0.695
    n_s: float = 0.96
    sigma_8: float = 0.82

    def __post_init__(self) -> None:
        check(0 < self.omega_m <= 1, f"omega_m: expected a number in (0, 1], found {self.omega_m}")
        check(
            0 < self.omega_b < self.omega_m, f"omega_b: expected a number between 0 and omega_m, found {self.omega_b}"
        )
        check(0.1 < self.h < 2, f"h: expected H0/(100 km/s/Mpc), as 0.7, found {self.h}")
        check(0 < self.n_s < 3, f"n_s: expected a slope near 1, as 0.96, found {self.n_s}")
        check(0 < self.sigma_8 < 10, f"sigma_8: expected a positive number, as 0.8, found {self.sigma_8}")


@dataclass(frozen=True)
class Simulate:
    """The embedded particle-mesh simulator."""

    n_simulations: int = 4
    box_size: float = 355.84  # [Mpc/h]
    n_particles: int = 512  # a side
    mesh_factor: int = 2  # force mesh cells a side, per particle a side
    redshift_initial: float = 49.0
    redshifts: tuple[float, ...] = (0.0,)
    n_steps: int = 20
    seed: int = 1
    # `eisenstein-hu`, `class` (by nbodykit), a file of k [h/Mpc] and T(k), or `auto`: class where nbodykit is installed
    transfer: FilePath = "auto"
    fixed_amplitudes: bool = False  # every mode of the initial conditions has its mean power: no cosmic variance in it
    initial_conditions: FilePath | None = None  # GADGET-2 file (format 1 or 2) that the one box starts from; null: made
    write: Literal["snapshots", "shards", "both"] = "snapshots"  # shards: straight to what `preprocess` would write
    paired: bool = False  # every second box is the one before it with all its overdensities turned round
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Folder in which a real GADGET-2 runs the boxes, from what `simulate` writes there (--gadget2); null: it runs them
    gadget2: FilePath | None = None
    gadget2_files: int = 1  # of its initial conditions, and of each snapshot; at most its processes
    # Numbers of `cosmology` that differ from box to box, each with its range: a latin hypercube of a point a box
    latin_hypercube: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ends in self.latin_hypercube.items():
            good = len(ends) == 2 and ends[0] < ends[1]
            check(good, f"latin_hypercube.{name}: expected two rising numbers, found {list(ends)}")
        check(self.n_simulations >= 1, f"n_simulations: expected at least 1, found {self.n_simulations}")
        check(0 < self.box_size < math.inf, f"box_size: expected a positive length in Mpc/h, found {self.box_size}")
        check(self.n_particles >= 2, f"n_particles: expected at least 2 a side, found {self.n_particles}")
        check(self.mesh_factor >= 1, f"mesh_factor: expected at least 1, found {self.mesh_factor}")
        n_files = self.gadget2_files
        check(1 <= n_files <= self.n_particles**3, f"gadget2_files: expected at least 1, found {n_files}")
        check(
            self.gadget2 is None or (self.write == "snapshots" and self.initial_conditions is None),
            "gadget2: expected write: snapshots and no initial_conditions with it, as GADGET-2 gets its own",
        )
        check(self.seed >= 0, f"seed: expected a number not below 0, found {self.seed}")
        check(
            self.initial_conditions is None or self.n_simulations == 1,
            f"n_simulations: expected 1 with initial_conditions, found {self.n_simulations}",
        )
        check(len(self.redshifts) >= 1, "redshifts: expected at least one")
        falling = all(a > b for a, b in zip(self.redshifts, self.redshifts[1:], strict=False))
        check(falling, f"redshifts: expected a falling list, found {list(self.redshifts)}")
        n = len(self.redshifts)
        check(self.n_steps >= n, f"n_steps: expected at least one to each redshift, {n}, found {self.n_steps}")
        check(self.redshifts[-1] >= 0, f"redshifts: expected no negative one, found {self.redshifts[-1]}")
        check(
            self.redshifts[0] < self.redshift_initial < math.inf,
            f"redshift_initial: expected more than the first of redshifts, found {self.redshift_initial}",
        )

    @property
    def transfer_found(self) -> str:
        """What ``transfer`` stands for on this machine: `class`, `eisenstein-hu` or a file."""
        if self.transfer != "auto":
            return self.transfer
        return "class" if find_spec("nbodykit") else "eisenstein-hu"


@dataclass(frozen=True)
class Preprocess:
    """From snapshots to sharded subvolumes."""

    # Paths, stems of multi-file snapshots, folders or globs, a simulation each; or one pattern for simulations and
    # redshifts, as "sims/box-{simulation:03d}/snapshot_{snapshot:03d}"; empty: what `simulate` wrote.
    snapshots: tuple[FilePath, ...] = ()
    length_unit: Literal["kpc/h", "Mpc/h"] = "Mpc/h"
    box_size: float | None = None  # of snapshots whose header has none, BoxSize 0 [Mpc/h]; null: the header's
    particle_type: Literal["all", 0, 1, 2, 3, 4, 5] = "all"
    n_mesh: int = 512  # cells a side
    subvolume: int = 64  # cells a side
    window: Literal["ngp", "cic", "tsc", "pcs"] = "cic"  # mass assignment
    shards: int | None = None  # files a snapshot; null: one a rank
    memory_per_rank: float = 1500.0  # [MB] for a rank's own subvolumes and one round of reading and exchange
    parameters: FilePath | None = None  # YAML file of numbers a simulation, as 0: {sigma_8: 0.8}; docs/conditions.md
    profile: bool = False  # print what each stage took (--profile)
    output: FilePath | None = None  # folder; null: <data>/shards

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
