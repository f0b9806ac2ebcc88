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
    with pytest.raises(ValueError, match=r"s: positions along . are from .* in a box of 8; expected"):
        check(X * factor)


def test_particles_in_a_plane_are_refused():
    with pytest.raises(ValueError, match=r"s: positions along z are from 3 to 3 in a box of 8; expected"):
        check(np.where([True, True, False], X, 3))


def test_zeros_in_the_place_of_positions_are_refused():
    """As a copy that broke off leaves them; they would be one crowded cell."""
    positions = X.copy()
    positions[:20] = 0
    check(positions)  # a few may be there
    positions[-400:] = 0
    with pytest.raises(ValueError, match=r"s: 10.3 % of the positions are \(0, 0, 0\); expected particles all over"):
        check(positions)
