import numpy as np
import pytest

from cosmogan.nbody.subvolumes import Extent
from hpc.mpi import SerialComm

X = np.random.default_rng(1).uniform(0, 8, (4096, 3)).astype(np.float32)


def check(positions, box_size=8.0):
    extent = Extent(box_size)
    for part in np.array_split(positions, 3):
        extent.add(part)
    extent.check("s", len(positions), SerialComm())


def test_particles_all_over_the_box_are_taken():
    check(X)
    check(X - 4)  # the box around 0
    check(X + np.random.default_rng(2).normal(0, 1, X.shape))  # not wrapped
    check(X[:100] / 100)  # few


@pytest.mark.parametrize("factor", [1e-3, 0.7, 1 / 0.7])
def test_positions_and_box_of_two_units_are_refused(factor):
    with pytest.raises(ValueError, match=r"s: positions are from .* in a box of 8; expected"):
        check(X * factor)
