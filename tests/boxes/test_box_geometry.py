import numpy as np
import pytest

from cosmogan.boxes import geometry
from cosmogan.config import Box

TRAINED = {"box_size": 100.0, "n_mesh": 100}


@pytest.mark.parametrize(
    ("wanted", "size", "n"),
    [
        (Box(), 100, 100),
        (Box(box_size=250), 250, 250),
        (Box(n_mesh=64), 64, 64),
        (Box(box_size=110, n_mesh=100), 110, 100),
    ],
)
def test_cells_are_as_large_as_in_training(wanted, size, n):
    box = geometry.geometry(wanted, TRAINED)
    assert (box.box_size, box.n_mesh, box.shape) == (size, n, (n, n, n))
    assert len(geometry.remarks(box, TRAINED)) == (abs(size / n - 1) > 0.02)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Box(box_size=200, n_mesh=100), r"box\.n_mesh: 100 cells.* 2 Mpc/h wide, .*expected n_mesh near 200"),
        (Box(region=(90, 0, 0, 20, 1, 1)), r"box\.region: expected cells from 0 to 99 .*found \[90"),
    ],
)
def test_what_cannot_be_drawn(wanted, message):
    with pytest.raises(ValueError, match=message):
        geometry.geometry(wanted, TRAINED)


@pytest.mark.parametrize("region", [(), (0, 0, 0, 64, 64, 64), (60, 3, 70, 10, 140, 1), (128, 128, 128, 22, 22, 22)])
def test_tiles_cover_a_region_once(region):
    box = geometry.geometry(Box(n_mesh=150, region=region), TRAINED)
    covered = np.zeros((150,) * 3, int)
    for column in box.columns():
        for tile in box.tiles(column):
            x, y, z = (slice(*cells) for cells in tile.wanted)
            covered[x, y, z] += 1
            whole = np.zeros(tile.shape, int)
            whole[tile.cut] = 1
            assert whole.sum() == np.prod([stop - start for start, stop in tile.wanted])
            assert all(first % geometry.TILE == 0 for first in tile.corner)
            assert max(tile.shape) <= geometry.TILE
    wanted = np.zeros_like(covered)
    x, y, z = (slice(*cells) for cells in box.region)
    wanted[x, y, z] = 1
    np.testing.assert_array_equal(covered, wanted)
