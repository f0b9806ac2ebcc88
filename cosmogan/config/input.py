"""State the quick simulation that a local generator starts from."""

import math
from dataclasses import dataclass

from cosmogan.config.check import check


@dataclass(frozen=True)
class Input:
    """The quick simulation whose density a local generator refines (docs/boxes.md). It starts from the same initial
    modes as the simulation that the generator imitates.
    """

    n_steps: int | None = None
    """The number of its time steps. With null the generator is the paper's, which starts from latents."""

    redshift_initial: float = 9.0
    """The redshift of its initial conditions."""

    mesh_factor: int = 1
    """The number of cells of its force mesh per particle, along a side."""

    blocks: int = 2
    """The number of residual blocks of the generator. Each sees two cells further in every direction."""

    noise: int = 2
    """The number of random numbers per cell that the generator gets, from the prior `student_t`."""

    def __post_init__(self) -> None:
        n = self.n_steps
        check(n is None or n >= 1, f"n_steps: expected at least 1 or null, found {n}")
        good = 0 < self.redshift_initial < math.inf
        check(good, f"redshift_initial: expected a positive redshift, found {self.redshift_initial}")
        check(self.mesh_factor >= 1, f"mesh_factor: expected at least 1, found {self.mesh_factor}")
        check(self.blocks >= 1, f"blocks: expected at least 1, found {self.blocks}")
        check(self.noise >= 1, f"noise: expected at least 1, found {self.noise}")

    @property
    def is_used(self) -> bool:
        """Whether the generator is a local one."""
        return self.n_steps is not None
