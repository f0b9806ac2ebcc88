import itertools

import numpy as np
import pytest

from cosmogan.nbody import kernels
from cosmogan.nbody.paint import UNIT, WINDOWS, BadPosition, Painter, unit_of

N_MESH, BOX = 12, 24.0
BLOCK = 512  # particles that the kernels take at a time
ORDERS = sorted(WINDOWS.values())


def spline(order, distance):
    """The windows as functions of the distance to a node in cells (Hockney & Eastwood 1988, PCS: Sefusatti 2016)."""
    s = abs(distance)
    if order == 1:
        return 1.0 if -0.5 <= distance < 0.5 else 0.0
    if order == 2:
        return max(1 - s, 0.0)
    if order == 3:
        return 0.75 - s**2 if s < 0.5 else max(1.5 - s, 0) ** 2 / 2
    return (4 - 6 * s**2 + 3 * s**3) / 6 if s < 1 else max(2 - s, 0) ** 3 / 6


def brute_force(positions, weights=None, order=2):
    """Mass assignment in float64, node by node."""
    mesh = np.zeros((N_MESH,) * 3)
    for p, x in enumerate(np.asarray(positions, np.float64)):
        u = x * (N_MESH / BOX)
        near = [range(int(np.floor(v)) - 2, int(np.floor(v)) + 4) for v in u]
        for node in itertools.product(*near):
            share = np.prod([spline(order, v - i) for v, i in zip(u, node, strict=True)])  # distance particle - node
            mesh[tuple(np.array(node) % N_MESH)] += share * (1 if weights is None else weights[p])
    return mesh


def paint_whole(positions, weights=None, order=2, side=N_MESH):
    """The mesh, painted as subvolumes of ``side`` cells and put together."""
    return together(paint([(positions, weights)], side, order), side)


def paint(parts, side, order=2, slots=None):
    """The subvolumes, painted part by part."""
    every = np.arange((N_MESH // side) ** 3, dtype=np.int32)
    painter = Painter((N_MESH / BOX, N_MESH, side), every if slots is None else slots, order)
    for part in parts:
        painter.add(*part)
    density, total = painter.density()
    assert total == pytest.approx(density.sum(dtype=np.float64), rel=1e-6)
    return density


def together(density, side):
    """The mesh of all subvolumes."""
    n = N_MESH // side
    return density.reshape(n, n, n, side, side, side).transpose(0, 3, 1, 4, 2, 5).reshape((N_MESH,) * 3)


@pytest.fixture
def positions():
    inside = np.random.default_rng(1).uniform(0, BOX, (BLOCK + 100, 3))
    edges = [[0, 0, 0], [BOX, BOX, BOX], [-0.1, 3, BOX + 0.2], [BOX - 1e-6, 7.999999, 8.0], [23.5, 23.5, 23.5]]
    far = [[-BOX, 2 * BOX, 0.3], [1.5 * BOX, -0.7 * BOX, 3]]
    return np.concatenate([inside[:BLOCK], edges, far, inside[BLOCK:]])


@pytest.fixture
def weights(positions):
    return np.random.default_rng(2).uniform(0.5, 2, len(positions)).astype(np.float32)


def test_a_particle_on_a_node_puts_all_its_weight_there():
    for order in (1, 2):
        mesh = paint_whole(np.array([[2.0, 4.0, 22.0]]), order=order)
        assert mesh[1, 2, 11] == 1 and mesh.sum() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ORDERS)
def test_a_whole_mesh_equals_brute_force(positions, weights, order, dtype):
    x, weights = positions[BLOCK - 60 : BLOCK + 40].astype(dtype), weights[BLOCK - 60 : BLOCK + 40]
    np.testing.assert_allclose(paint_whole(x, None, order), brute_force(x, None, order), atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(paint_whole(x, weights, order), brute_force(x, weights, order), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("order", ORDERS)
def test_subvolumes_of_any_size_together_equal_the_mesh(positions, weights, order, side):
    mesh = paint_whole(positions, weights, order, side)
    np.testing.assert_array_equal(mesh, paint_whole(positions, weights, order))


@pytest.mark.parametrize("order", ORDERS)
def test_mass_is_kept(positions, weights, order):
    assert paint_whole(positions, weights, order).sum(dtype=np.float64) == pytest.approx(weights.sum(dtype=np.float64))


def test_calls_and_blocks_do_not_change_a_bit(positions):
    whole = paint_whole(positions, side=4)
    parts = paint([(part,) for part in np.array_split(positions, 7)], 4)
    np.testing.assert_array_equal(together(parts, 4), whole)


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_particles_does_not_change_a_bit(positions, weights, order):
    shuffled = np.random.default_rng(3).permutation(len(positions))
    expected = paint_whole(positions, weights, order, 4)
    np.testing.assert_array_equal(paint_whole(positions[shuffled], weights[shuffled], order, 4), expected)


@pytest.mark.parametrize("order", ORDERS)
def test_crowded_cells_are_exact(order, monkeypatch):
    """Nine tenths of 300 000 particles in one cell, where float32 sums are off by 1e-3; the list of carries fills."""
    monkeypatch.setattr(kernels, "CARRIES", 512 * 64)
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.uniform(0, BOX, (30_000, 3)), BOX / 2 + rng.uniform(0.1, 0.9, (270_000, 3))])
    weights = rng.uniform(0.5, 2, len(x)).astype(np.float32)
    found = paint_whole(x, weights, order, 4)
    # shares of less than a unit beside the crowd may all be rounded alike
    np.testing.assert_allclose(found, in_float64(x, weights, order), rtol=2e-7, atol=len(x) * UNIT / 16)


def test_light_and_heavy_particles_are_summed_alike():
    """As in a zoom: heavy ones of many units, which need more than 32 bits each, far from a crowd of light ones."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(0, BOX / 2, (100_000, 3)), rng.uniform(0, BOX, (50, 3))])
    weights = np.where(np.arange(len(x)) < 100_000, 1, 32_768).astype(np.float32)
    painter = Painter(
        (N_MESH / BOX, N_MESH, 4), np.arange(27, dtype=np.int32), 2, unit_of(1.0, float(weights.sum()), len(x))
    )
    painter.add(x, weights)
    np.testing.assert_allclose(together(painter.density()[0], 4), in_float64(x, weights, 2), rtol=3e-7, atol=1e-7)


def in_float64(positions, weights, order):
    """Mass assignment by sums in float64, with the kernels' own fractions."""
    mesh, u = np.zeros((N_MESH,) * 3), positions * (N_MESH / BOX) + (1 - order / 2)
    low = np.floor(u).astype(int)
    d = (u - low).astype(np.float32).astype(np.float64)
    for nodes in itertools.product(range(order), repeat=3):
        shares = [_share(order, nodes[axis], d[:, axis]) for axis in range(3)]
        np.add.at(mesh, tuple((low + nodes).T % N_MESH), np.prod(shares, axis=0) * weights)
    return mesh


def _share(order, node, d):
    """The share of a window's nodes, first to last, of particles d behind the first plus order/2 - 1."""
    distance = d + (order / 2 - 1 - node)
    s = abs(distance)
    if order == 1:
        return np.ones_like(d)
    if order == 2:
        return 1 - s
    if order == 3:
        return np.where(s < 0.5, 0.75 - s**2, (1.5 - s) ** 2 / 2)
    return np.where(s < 1, 4 - 6 * s**2 + 3 * s**3, (2 - s) ** 3) / 6


def test_unwanted_subvolumes_are_passed_over(positions):
    slots = np.full(27, -1, np.int32)
    slots[[5, 13]] = [1, 0]
    density = paint([(positions,)], 4, slots=slots)
    whole = paint_whole(positions, side=4)
    np.testing.assert_array_equal(density[0], whole[4:8, 4:8, 4:8])
    np.testing.assert_array_equal(density[1], whole[0:4, 4:8, 8:12])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3 * BOX, -2 * BOX, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_position_that_cannot_be_is_found(positions, bad, dtype):
    positions[BLOCK + 17, 1] = bad
    with pytest.raises(BadPosition, match="expected numbers within one box length of 0 to 24") as caught:
        paint_whole(positions.astype(dtype))
    assert caught.value.row == BLOCK + 17


@pytest.mark.parametrize("name", ["NGP", "CIC", "TSC", "PCS"])
def test_real_particles_equal_pylians(data, name):
    library = pytest.importorskip("MAS_library", reason="Pylians is not installed: make reference")
    path = data / "g2_64_kpc_f1" / "snapshot_006"
    x = np.fromfile(path, np.float32, 3 * 64**3, offset=268).reshape(-1, 3)
    theirs = np.zeros((64,) * 3, np.float32)
    library.MA(x, theirs, 64_000.0, name, verbose=False)
    painter = Painter((64 / 64_000.0, 64, 16), np.arange(64, dtype=np.int32), WINDOWS[name.lower()])
    painter.add(x)
    mesh = painter.density()[0].reshape(4, 4, 4, 16, 16, 16).transpose(0, 3, 1, 4, 2, 5).reshape((64,) * 3)
    if name == "NGP":  # a particle half-way between nodes may go to either
        assert np.abs(mesh - theirs).sum() <= 4
    else:
        np.testing.assert_allclose(mesh, theirs, rtol=2e-5, atol=2e-4)
