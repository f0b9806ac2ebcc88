"""State how the particle-mesh simulator runs."""

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Simulate:
    """The particle-mesh simulator, which makes snapshots for whoever has none."""

    n_simulations: int = 4
    """The number of boxes."""

    box_size: float = 355.84
    """The side of a box [comoving Mpc/h]."""

    n_particles: int = 512
    """The number of particles along a side of the box."""

    mesh_factor: int = 2
    """The number of cells of the force mesh per particle, along a side."""

    redshift_initial: float = 49.0
    """The redshift of the initial conditions."""

    redshifts: tuple[float, ...] = (0.0,)
    """The redshifts at which snapshots are written, falling. Unless a generator is conditioned on the redshift, the
    last one is trained on.
    """

    n_steps: int = 20
    """The number of time steps from `redshift_initial` to the last redshift, even in the scale factor between two
    redshifts.
    """

    seed: int = 1
    """Box number i has random phases that follow from this seed and i."""

    transfer: FilePath = "auto"
    """The matter transfer function: `eisenstein-hu`, `class` (by nbodykit), or a file of two columns, k [h/Mpc] and
    T(k). `auto` is `class` where nbodykit is installed, else `eisenstein-hu`.
    """

    fixed_amplitudes: bool = False
    """Give every mode of the initial conditions its mean power, so that they have no cosmic variance."""

    initial_conditions: FilePath | None = None
    """A GADGET-2 file (format 1 or 2) from which the one box starts. With null the initial conditions are made."""

    write: Literal["snapshots", "shards", "both"] = "snapshots"
    """Write `snapshots`, or the `shards` that preprocess would make of them, without snapshots between, or `both`."""

    paired: bool = False
    """Make every second box from the initial conditions of the one before it with the sign of all overdensities
    changed.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Compute on a GPU (`cuda`), on the CPU, or (`auto`) on a GPU where there is one."""

    gadget2: FilePath | None = None
    """The folder in which a real GADGET-2 runs the boxes, from the input that `simulate` writes there (`--gadget2`).
    With null the particle-mesh code runs them.
    """

    gadget2_files: int = 1
    """The number of files of GADGET-2's initial conditions, and of each of its snapshots. It is at most the number of
    its processes.
    """

    latin_hypercube: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Parameters of `cosmology` that differ from box to box, each with its range, as `omega_m: [0.2, 0.4]`. The boxes
    are the points of a latin hypercube.
    """

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
