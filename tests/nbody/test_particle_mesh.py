"""Time steps: against the equation of motion, linear theory, and a real GADGET-2 run from the same start."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import snapshot_files
import torch

from cosmogan.nbody import cosmology, gadget, gravity, lpt, particle_mesh

OMEGA_M = 0.29
BOX = 32.0  # of the GADGET-2 run [Mpc/h]


def test_schedule_lands_on_each_redshift():
    stretches = particle_mesh.schedule(49, (3.0, 1.0, 0.0), 11)
    assert [s[0] for s in stretches] == pytest.approx([0.02, 0.25, 0.5])
    assert [s[-1] for s in stretches] == pytest.approx([0.25, 0.5, 1.0])
    assert sum(len(s) - 1 for s in stretches) == 11
    longest, shortest = max(np.diff(s).max() for s in stretches), min(np.diff(s).min() for s in stretches)
    assert longest < 1.4 * shortest


def test_schedule_needs_a_step_for_each_redshift():
    assert [len(s) for s in particle_mesh.schedule(49, (9.0, 0.0), 2)] == [2, 2]
    with pytest.raises(ValueError, match="n_steps: expected at least 2, one a redshift, found 1"):
        particle_mesh.schedule(49, (9.0, 0.0), 1)


def test_kick_of_a_short_step_is_the_equation_of_motion():
    """In D-time x'' = -3/2 Ω_m(a) / (f² D) (x' - g/D), so 1 - α is that coefficient times the step."""
    for a in (0.02, 0.1, 0.5, 1.0):
        ends = a * np.array([1 - 1e-4, 1 + 1e-4])
        step = np.diff(cosmology.growth(ends, OMEGA_M))[0]
        drag = cosmology.matter_fraction(a, OMEGA_M) / cosmology.growth_rate(a, OMEGA_M) ** 2
        expected = 1.5 * drag / cosmology.growth(a, OMEGA_M) * step
        assert 1 - particle_mesh.kick_weight(ends, OMEGA_M) == pytest.approx(expected, rel=4e-3)


def test_kick_of_a_long_step_in_an_einstein_de_sitter_universe():
    """From D = 1 to 2 with D2 = -3/7 D²: F = (-3/7 - 6/7 · 1/2) / 1.5 - 1.5 = -29/14, α = (-12/7 - F) / (-6/7 - F)."""
    growth_unit = 0.5  # D is a, 1 today: steps from a = 0.5 to 1 are from 1 to 2 in units of 0.5
    assert particle_mesh.kick_weight(growth_unit * np.array([1.0, 2.0]), 1.0) == pytest.approx(5 / 17)


def evolve(particles, box_size, n_mesh, steps):
    """Evolve copies of (positions, velocities), off the mesh's nodes by half a cell as the command does."""
    half_cell = box_size / (2 * n_mesh)
    positions, velocities = particles[0] + half_cell, particles[1].clone()
    for _ in particle_mesh.evolve(positions, velocities, steps, box_size, n_mesh, OMEGA_M):
        pass
    return (positions - half_cell).remainder(box_size), velocities


def displacements(positions, n, box_size):
    """Return x - q (n, n, n, 3) of particles from the nodes of an n³ lattice."""
    axis = torch.arange(n) * (box_size / n)
    moved = positions.view(n, n, n, 3) - torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return torch.remainder(moved + box_size / 2, box_size) - box_size / 2


def gaussian_modes(n, box_size, sigma_8):
    fit = partial(cosmology.transfer, omega_m=OMEGA_M, omega_b=0.047, h=0.69)
    power = partial(cosmology.linear_power, transfer=fit, n_s=0.96, sigma_8=sigma_8)
    return lpt.linear_modes(lpt.unit_modes(n, 1, 0), box_size, power)


@pytest.mark.parametrize(("mesh_factor", "n_steps"), [(1, 8), (2, 2), (2, 8)])
def test_large_scales_grow_as_linear_theory_says(mesh_factor, n_steps):
    """Modes of √2 and √3 fundamentals lag by 1 %: they feel the lattice of the particles, in any N-body code."""
    n, box_size = 32, 640.0
    modes = gaussian_modes(n, box_size, sigma_8=0.1)
    start = lpt.displace(modes.clone(), box_size, 0.02, OMEGA_M)
    positions, _ = evolve(start, box_size, mesh_factor * n, np.linspace(0.02, 1, n_steps + 1))
    moved = torch.fft.rfftn(displacements(positions, n, box_size), dim=(0, 1, 2))
    growth = sum(-1j * k * moved[..., i] for i, k in enumerate(gravity.wavenumbers(n))) * 2 * np.pi / box_size / modes
    for along_an_axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert abs(growth[along_an_axis] - 1) < 6e-3
    large = np.s_[:2, :2, 1:2]
    power = abs(modes[large]) ** 2
    assert ((abs(growth[large]) ** 2 * power).sum() / power.sum()).item() == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("n_steps", [1, 2, 6])
def test_steps_of_any_length_follow_second_order_theory(n_steps):
    """Two crossed waves: their product, which is the second order, ends with the size that 2LPT gives it."""
    n, box_size, amplitude = 32, 100.0, 0.1
    k, x = 2 * np.pi / box_size, 2 * np.pi * torch.arange(n) / n
    delta = amplitude * (torch.cos(x).view(-1, 1, 1) + torch.cos(x).view(1, -1, 1)).expand(n, n, n)
    start = lpt.displace(torch.fft.rfftn(delta), box_size, 0.02, OMEGA_M)
    positions, velocities = evolve(start, box_size, n, np.linspace(0.02, 1, n_steps + 1))

    moved = displacements(positions, n, box_size)[..., 0]
    wave = torch.sin(x).view(-1, 1, 1) * torch.cos(x).view(1, -1, 1)
    source = amplitude**2 / (2 * k)
    found, speed = (4 * (field * wave).mean().item() / source for field in (moved, velocities[:, 0].view(n, n, n)))
    assert found == pytest.approx(cosmology.growth_second(1.0, OMEGA_M), rel=0.02)
    assert speed == pytest.approx(cosmology.growth_second_slope(1.0, OMEGA_M), rel=0.02)


@dataclasses.dataclass
class Run:
    """Particles of the GADGET-2 run in the order of their IDs."""

    positions: torch.Tensor
    velocities: torch.Tensor  # v/√a [km/s]


def read(path):
    file = gadget.open_file(path)
    n = sum(file.header.n_part)
    velocities = np.fromfile(path, "<f4", 3 * n, offset=file.position_offset + 12 * n + 8).reshape(n, 3)
    order = np.argsort(np.fromfile(path, "<u4", n, offset=file.position_offset + 24 * n + 16))
    return Run(torch.from_numpy(snapshot_files.read(file)[0][order]), torch.from_numpy(velocities[order]))


def correlation_and_ratio(positions, others, box_size, k):
    """Return r(k) and √(P/P_other) of two densities around one wavenumber [h/Mpc]."""
    n = 64
    a, b = (torch.fft.rfftn(gravity.paint_cpu(p, box_size, n)) for p in (positions, others))
    kx, ky, kz = gravity.wavenumbers(n)
    shell = abs(torch.sqrt(kx**2 + ky**2 + kz**2) * 2 * np.pi / box_size - k) < 0.2
    powers = [(u[shell] * v[shell].conj()).real.sum() for u, v in ((a, b), (a, a), (b, b))]
    return (powers[0] / torch.sqrt(powers[1] * powers[2])).item(), torch.sqrt(powers[1] / powers[2]).item()


def evolve_gadget_start(folder, n_mesh, steps):
    start = read(folder / "ic32_mpc")
    to_gadget = float(cosmology.peculiar_velocity(0.02, OMEGA_M) / 0.02**0.5)
    return evolve((start.positions, start.velocities / to_gadget), BOX, n_mesh, steps)


@pytest.mark.parametrize(("mesh_factor", "r", "ratio"), [(1, 0.995, 0.03), (2, 0.999, 0.03)])
def test_ten_steps_end_where_gadget_ends(data, mesh_factor, r, ratio):
    folder = data / "g2_32_mpc_f1"
    positions, _ = evolve_gadget_start(folder, mesh_factor * 32, np.linspace(0.02, 1, 11))
    end = read(folder / "snapshot_006")
    found = correlation_and_ratio(positions, end.positions, BOX, k=1.0)
    assert found[0] > r and abs(found[1] - 1) < ratio


def test_bulk_velocities_are_those_of_gadget(data):
    """Means over Lagrangian cubes of 8³ particles, at z = 1: what the unresolved haloes do inside drops out."""
    folder = data / "g2_32_mpc_f1"
    _, velocities = evolve_gadget_start(folder, 64, np.linspace(0.02, 0.5, 8))
    found = velocities * float(cosmology.peculiar_velocity(0.5, OMEGA_M) / 0.5**0.5)
    expected = read(folder / "snapshot_003").velocities
    bulk, expected = (v.reshape(4, 8, 4, 8, 4, 8, 3).mean(dim=(1, 3, 5)).flatten() for v in (found, expected))
    assert (bulk @ expected / (expected @ expected)).item() == pytest.approx(1, abs=0.03)
    assert torch.corrcoef(torch.stack([bulk, expected]))[0, 1] > 0.99


def test_same_bytes_on_one_thread_and_on_two():
    start = lpt.displace(gaussian_modes(16, 64.0, sigma_8=0.8), 64.0, 0.02, OMEGA_M)
    before, results = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(evolve(start, 64.0, 32, np.linspace(0.02, 1, 5))[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)
