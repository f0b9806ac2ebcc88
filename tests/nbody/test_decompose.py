import itertools

import numpy as np
import pytest

from cosmogan.nbody.decompose import Layout, Router
from cosmogan.nbody.paint import WINDOWS, BadPosition

N_MESH, BOX = 12, 24.0
BLOCK = 512  # particles that the kernels take at a time
LAYOUT = Layout(N_MESH, 4)


@pytest.fixture
def positions():
    inside = np.random.default_rng(1).uniform(0, BOX, (2 * BLOCK, 3))
    edges = [[0, 0, 0], [BOX, BOX, BOX], [-0.1, 3, BOX + 0.2], [BOX - 1e-6, 7.999999, 8.0], [23.5, 23.5, 23.5]]
    return np.concatenate([inside, edges]).astype(np.float32)


def owners(layout, n_ranks):
    owner = np.empty(layout.n_subvolumes, np.int32)
    for rank, numbers in enumerate(layout.assign(n_ranks)):
        owner[numbers] = rank
    return owner


def route(router, positions, weights=None):
    """Address and sort: (positions and weights for each rank)."""
    destination = np.empty(len(positions), np.int32)
    counts = router.address(positions, destination)
    out = np.empty((counts.sum(), 3), positions.dtype), None if weights is None else np.empty(counts.sum(), np.float32)
    router.sort((positions, weights), destination, counts, out)
    ends = np.cumsum(counts)
    return [tuple(None if x is None else x[e - c : e] for x in out) for c, e in zip(counts, ends, strict=True)]


def touched(x, owner, layout, order):
    """Brute force: the ranks that own a cell of a particle's cloud."""
    first = np.floor(np.float64(x) * (N_MESH / BOX) - order / 2 + 1).astype(int)
    cells = itertools.product(*(range(i, i + order) for i in first))
    corner = (np.array([c for c in cells]) % N_MESH) // layout.subvolume
    return set(owner[np.ravel_multi_index(corner.T, (layout.n_side,) * 3)]) - {-1}


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("order", sorted(WINDOWS.values()))
@pytest.mark.parametrize("n_ranks", [2, 5])
def test_each_rank_gets_just_the_particles_that_touch_its_subvolumes_in_their_order(positions, order, side, n_ranks):
    layout, x = Layout(N_MESH, side), positions[:300]
    owner = owners(layout, n_ranks)
    owner[3] = -1
    weights = np.arange(len(x), dtype=np.float32)
    reach = [touched(p, owner, layout, order) for p in x]
    found = route(Router((N_MESH / BOX, N_MESH, side), owner, n_ranks, order), x, weights)
    for rank, (got, got_weights) in enumerate(found):
        wanted = [rank in ranks for ranks in reach]
        np.testing.assert_array_equal(got, x[wanted])
        np.testing.assert_array_equal(got_weights, weights[wanted])


def test_what_nobody_wants_goes_nowhere(positions):
    owner = np.full(LAYOUT.n_subvolumes, -1, np.int32)
    owner[5] = 1
    found = route(Router((N_MESH / BOX, N_MESH, 4), owner, 2), positions)
    assert len(found[0][0]) == 0 < len(found[1][0]) < len(positions)


def test_a_position_that_cannot_be_is_found(positions):
    positions[BLOCK + 17, 1] = np.nan
    with pytest.raises(BadPosition, match="expected numbers within one box length of 0 to 24") as caught:
        route(Router((N_MESH / BOX, N_MESH, 4), owners(LAYOUT, 3), 3), positions)
    assert caught.value.row == BLOCK + 17


def test_corners_have_the_last_axis_fastest():
    assert LAYOUT.corners(np.array([0, 1, 3, 26])).tolist() == [[0, 0, 0], [0, 0, 4], [0, 4, 0], [8, 8, 8]]


@pytest.mark.parametrize("n_side", [1, 3, 8])
@pytest.mark.parametrize("n_shards", [1, 2, 5])
def test_every_subvolume_is_assigned_once_and_evenly(n_side, n_shards):
    shards = Layout(4 * n_side, 4).assign(n_shards)
    assert sorted(np.concatenate(shards)) == list(range(n_side**3))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_compact_region_is_shared_by_all_shards():
    layout = Layout(64, 4)
    shards = layout.assign(8)
    corners = layout.corners(np.arange(layout.n_subvolumes)) // 4
    octant = np.flatnonzero((corners < 8).all(axis=1) & (corners >= 4).all(axis=1))
    assert {len(np.intersect1d(shard, octant)) for shard in shards} == {8}
