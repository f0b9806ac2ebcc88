"""State which box is drawn."""

import math
from dataclasses import dataclass

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Box:
    """The box that a local generator draws: any size, from new initial modes (docs/boxes.md)."""

    box_size: float | None = None
    """The side of the box [comoving Mpc/h]. With null it follows from `n_mesh`, or is that of the training boxes."""

    n_mesh: int | None = None
    """The number of cells along a side. With null it follows from `box_size`: cells are as large as in training."""

    seed: int = 1
    """The seed of the initial modes and of the generator's random numbers."""

    number: int = 0
    """The number of the box under its seed. Its initial modes are those of `simulate`'s box of this seed and number."""

    region: tuple[int, ...] = ()
    """The part of the box that is drawn: its first cell on each axis, and its cells along each, as
    `[0, 0, 0, 256, 256, 64]`. An empty list stands for the whole box.
    """

    output: FilePath | None = None
    """The folder for the box. With null it is `box-SEED-NUMBER` in the run's folder."""

    def __post_init__(self) -> None:
        size, n = self.box_size, self.n_mesh
        check(size is None or 0 < size < math.inf, f"box_size: expected a positive length in Mpc/h, found {size}")
        check(n is None or n >= 2, f"n_mesh: expected at least 2 cells a side, found {n}")
        check(self.seed >= 0, f"seed: expected a number not below 0, found {self.seed}")
        check(self.number >= 0, f"number: expected a number not below 0, found {self.number}")
        region = list(self.region)
        good = not region or (len(region) == 6 and min(region[:3]) >= 0 and min(region[3:]) >= 1)
        check(good, f"region: expected three first cells and three numbers of cells, found {region}")
