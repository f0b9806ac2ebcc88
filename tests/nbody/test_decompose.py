import itertools

import numpy as np
import pytest

from cosmogan.nbody.decompose import BadPosition, Layout, route
from cosmogan.nbody.paint import paint

N_MESH, SIDE, BOX = 12, 4, 24.0
LAYOUT = Layout(N_MESH, SIDE)


def brute_force(positions, weights=None):
    """CIC in float64, cell by cell."""
    mesh = np.zeros((N_MESH,) * 3)
    for p, x in enumerate(np.asarray(positions, np.float64)):
        u = x * (N_MESH / BOX)
        low = np.floor(u).astype(int)
        for offset in itertools.product((0, 1), repeat=3):
            share = np.prod(np.where(offset, u - low, 1 - (u - low)))
            mesh[tuple((low + offset) % N_MESH)] += share * (1 if weights is None else weights[p])
    return mesh


@pytest.fixture
def positions():
    inside = np.random.default_rng(1).uniform(0, BOX, (200, 3))
    edges = [[0, 0, 0], [BOX, BOX, BOX], [-0.1, 3, BOX + 0.2], [BOX - 1e-6, 7.999999, 8.0], [23.5, 23.5, 23.5]]
    return np.concatenate([inside, edges]).astype(np.float32)


def test_a_particle_on_a_node_puts_all_its_weight_there():
    mesh = np.zeros((N_MESH,) * 3, np.float32)
    paint(np.array([[2.0, 4.0, 22.0]]), N_MESH / BOX, N_MESH, (0, 0, 0), mesh)
    assert mesh[1, 2, 11] == 1 and mesh.sum() == 1


def test_a_whole_mesh_equals_brute_force(positions):
    weights = np.random.default_rng(2).uniform(0.5, 2, len(positions)).astype(np.float32)
    mesh = np.zeros((N_MESH,) * 3, np.float32)
    paint(positions, N_MESH / BOX, N_MESH, (0, 0, 0), mesh, weights)
    np.testing.assert_allclose(mesh, brute_force(positions, weights), atol=2e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_routed_subvolumes_together_equal_the_whole_mesh(positions, weighted):
    weights = np.random.default_rng(2).uniform(0.5, 2, len(positions)).astype(np.float32) if weighted else None
    slots = np.arange(LAYOUT.n_subvolumes)
    routed, routed_weights, counts = route(positions, weights, BOX, LAYOUT, slots)
    mesh, ends = np.zeros((N_MESH,) * 3), np.cumsum(counts)
    for number, corner in enumerate(LAYOUT.corners(slots)):
        part = slice(ends[number] - counts[number], ends[number])
        out = np.zeros((SIDE,) * 3, np.float32)
        paint(routed[part], N_MESH / BOX, N_MESH, corner, out, None if weights is None else routed_weights[part])
        mesh[tuple(slice(c, c + SIDE) for c in corner)] += out
    np.testing.assert_allclose(mesh, brute_force(positions, weights), atol=2e-5)


def test_each_subvolume_gets_just_the_particles_that_touch_it_in_their_order(positions):
    slots = np.arange(LAYOUT.n_subvolumes)
    routed, _, counts = route(positions, None, BOX, LAYOUT, slots)
    ends = np.cumsum(counts)
    for number, corner in enumerate(LAYOUT.corners(slots)):
        mask = np.zeros((N_MESH,) * 3, bool)
        mask[tuple(slice(c, c + SIDE) for c in corner)] = True
        low = np.floor(positions.astype(np.float64) * (N_MESH / BOX)).astype(int)
        touching = [any(mask[tuple((i + o) % N_MESH)] for o in itertools.product((0, 1), repeat=3)) for i in low]
        np.testing.assert_array_equal(routed[ends[number] - counts[number] : ends[number]], positions[touching])


def test_unwanted_subvolumes_get_nothing(positions):
    slots = np.full(LAYOUT.n_subvolumes, -1)
    slots[5] = 0
    routed, _, counts = route(positions, None, BOX, LAYOUT, slots)
    assert len(counts) == 1 and len(routed) == counts[0] < len(positions)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3 * BOX, -2 * BOX])
def test_a_position_that_cannot_be_is_found(positions, bad):
    positions[17, 1] = bad
    with pytest.raises(BadPosition, match="expected numbers within one box length of 0 to 24") as caught:
        route(positions, None, BOX, LAYOUT, np.arange(LAYOUT.n_subvolumes))
    assert caught.value.row == 17


def test_corners_have_the_last_axis_fastest():
    assert LAYOUT.corners(np.array([0, 1, 3, 26])).tolist() == [[0, 0, 0], [0, 0, 4], [0, 4, 0], [8, 8, 8]]
