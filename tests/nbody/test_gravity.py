"""Forces: against closed forms, conserved momentum, threads against one thread, torch against the compiled kernels."""

import numpy as np
import pytest
import torch

from cosmogan.nbody import gravity, gravity_cpu, kernels
from cosmogan.nbody.paint import Painter

N_MESH, BOX = 16, 40.0


def random_positions(n=3000, seed=0):
    clustered = np.random.default_rng(seed).normal(BOX / 2, BOX / 4, (n, 3)) % BOX
    clustered[:10] = BOX  # what float32 rounding leaves on the far face
    return torch.from_numpy(clustered.astype(np.float32))


@pytest.fixture
def threads():
    """Set the number of threads; put the old one back at the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_mesh", [2, 3, 4, 6, 16, 17])
def test_counts_in_threads_are_those_of_preprocess(n_mesh):
    positions = random_positions()
    painter = Painter((n_mesh / BOX, n_mesh, n_mesh), np.zeros(1, np.int32))
    painter.add(positions.numpy())
    counts = gravity.paint_cpu(positions, BOX, n_mesh)
    np.testing.assert_allclose(counts.numpy(), painter.density()[0][0], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("n_mesh", [16, 21])
def test_particles_are_sorted_by_pencil_and_keep_their_order(n_mesh, monkeypatch):
    monkeypatch.setattr(gravity_cpu, "PIECE", 257)
    positions, n_side = random_positions().numpy(), -(-n_mesh // kernels.SIDE)
    cells = np.floor(positions * (n_mesh / BOX)).astype(int) % n_mesh // kernels.SIDE
    pencils = cells[:, 0] * n_side + cells[:, 1]
    field = gravity_cpu.Field(len(positions), n_mesh, BOX)
    field.sort(positions)
    np.testing.assert_array_equal(field._order, np.argsort(pencils, kind="stable"))
    np.testing.assert_array_equal(np.diff(field._ends), np.bincount(pencils, minlength=n_side**2))


def test_particles_of_a_run_gone_wrong_stay_in_the_mesh():
    """Velocities without bound carry them anywhere: the memory beside the mesh must not be written to."""
    positions = torch.tensor([[-1e12, 1e12, 1.0], [1e30, -1e30, 1.0], [-0.1, 2 * BOX, 1.0]])
    assert gravity.paint_cpu(positions, BOX, N_MESH).sum().item() == pytest.approx(len(positions))


def test_same_bytes_for_any_number_of_threads(threads):
    positions, results = random_positions(), []
    for n in (1, 2, 3):
        threads(n)
        results.append(gravity.gravity(positions, BOX, N_MESH))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("n_mesh", [3, 16, 21])
def test_torch_paints_and_reads_as_the_compiled_kernels_do(n_mesh, monkeypatch):
    """Meshes smaller than what is read around a pencil, of whole pencils, and of some that are cut off."""
    monkeypatch.setattr(gravity, "GPU_PIECE", 1000)
    positions = random_positions()
    counts = gravity.paint_cpu(positions, BOX, n_mesh)
    torch.testing.assert_close(gravity.paint_torch(positions, BOX, n_mesh), counts, rtol=2e-5, atol=1e-5)
    slope = gravity.read_slope_cpu(positions, counts, BOX)
    torch.testing.assert_close(gravity.read_slope_torch(positions, counts, BOX), slope, rtol=1e-4, atol=1e-4)


def test_torch_paints_the_same_bytes_in_any_order_of_particles():
    positions = random_positions()
    shuffled = positions[torch.randperm(len(positions), generator=torch.Generator().manual_seed(1))]
    assert torch.equal(gravity.paint_torch(positions, BOX, N_MESH), gravity.paint_torch(shuffled, BOX, N_MESH))


def test_reading_is_the_adjoint_of_painting():
    """Σ over cells of field × counts is Σ over particles of the field that they read."""
    positions = random_positions()
    phi = torch.from_numpy(np.random.default_rng(1).normal(size=(N_MESH,) * 3).astype(np.float32))
    read = gravity.read_slope_cpu(positions, phi, BOX).double().sum(dim=0)
    counts = gravity.paint_cpu(positions, BOX, N_MESH).double()
    for axis in range(3):
        near, far = (phi.double().roll(-i, axis) - phi.double().roll(i, axis) for i in (1, 2))
        on_mesh = (gravity.NEAR * near + gravity.FAR * far) * counts * (N_MESH / BOX)
        assert read[axis].item() == pytest.approx(on_mesh.sum().item(), abs=2e-3)


def test_slope_of_a_wave_is_its_four_point_difference():
    k = 2 * np.pi * 3 / N_MESH  # per cell
    wave = torch.cos(k * torch.arange(N_MESH, dtype=torch.float32))
    nodes = torch.arange(N_MESH) * (BOX / N_MESH)
    for axis in range(3):
        field = wave.view([-1 if i == axis else 1 for i in range(3)]).expand(N_MESH, N_MESH, N_MESH).contiguous()
        positions = torch.zeros(N_MESH, 3)
        positions[:, axis] = nodes
        factor = (8 * np.sin(k) - np.sin(2 * k)) / 6 * N_MESH / BOX
        expected = torch.zeros(N_MESH, 3)
        expected[:, axis] = -factor * torch.sin(k * torch.arange(N_MESH))
        torch.testing.assert_close(gravity.read_slope_cpu(positions, field, BOX), expected, atol=1e-6, rtol=1e-5)


def test_momentum_is_conserved_and_a_lone_particle_does_not_move_itself():
    force = gravity.gravity(random_positions(), BOX, N_MESH)
    assert abs(force.double().mean(dim=0)).max() < 1e-5 * force.std()
    lone = torch.tensor([[3.3, 17.7, 39.1]])
    pull_at_one_cell = BOX**3 / (4 * np.pi * (BOX / N_MESH) ** 2)
    assert abs(gravity.gravity(lone, BOX, N_MESH)).max() < 1e-5 * pull_at_one_cell


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_particles_attract_by_the_inverse_square(axis):
    """∇·g = -δ: at separations well below the box each of n = 2 pulls with g = L³ / (n 4π r²)."""
    n_mesh, separation = 64, 5.0
    positions = torch.full((2, 3), 11.0)
    positions[1, axis] += separation
    force = gravity.gravity(positions, BOX, n_mesh).double()
    background = BOX**3 / 2 * separation / (3 * BOX**3)  # of the mean density that is taken off
    expected = BOX**3 / (2 * 4 * np.pi * separation**2) - background
    assert force[0, axis].item() == pytest.approx(expected, rel=0.02)
    torch.testing.assert_close(force[0], -force[1], atol=1e-3, rtol=0)
    others = [i for i in range(3) if i != axis]
    assert abs(force[0, others]).max() < 1e-4 * expected


@pytest.mark.parametrize("mesh_factor", [1, 2])
def test_a_lattice_displaced_by_a_long_wave_feels_its_displacement(mesh_factor):
    n = 32
    axis = torch.arange(n) * (BOX / n)
    positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
    psi = 1e-2 * BOX / n * torch.sin(2 * np.pi * 2 * positions[:, 1] / BOX)
    positions = positions + BOX / (2 * mesh_factor * n)
    positions[:, 1] += psi
    force = gravity.gravity(positions.remainder_(BOX), BOX, mesh_factor * n)
    assert abs(force[:, 1] - psi).max() < 0.01 * psi.max()


def test_inverse_laplacian_of_a_wave():
    x = torch.arange(N_MESH, dtype=torch.float64) * (2 * np.pi / N_MESH)
    wave = 5 + torch.cos(2 * x).view(-1, 1, 1) * torch.cos(x).view(1, 1, -1) * torch.ones(1, N_MESH, 1)
    modes = gravity.inverse_laplacian(torch.fft.rfftn(wave), BOX)
    expected = (5 - wave) / (5 * (2 * np.pi / BOX) ** 2)
    torch.testing.assert_close(torch.fft.irfftn(modes, s=(N_MESH,) * 3), expected)


def test_windows_of_painting_and_reading_are_divided_out():
    """At the Nyquist frequency CIC's window is sinc²(1/2) = (2/π)² for each axis and each of the two."""
    modes = torch.ones(N_MESH, N_MESH, N_MESH // 2 + 1, dtype=torch.complex128)
    gravity.divide_by_windows(modes)
    half = N_MESH // 2
    assert modes[half, 0, 0].real.item() == pytest.approx((np.pi / 2) ** 4)
    assert modes[half, half, half].real.item() == pytest.approx((np.pi / 2) ** 12)
    assert modes[0, 0, 0] == 1
