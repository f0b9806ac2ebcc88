"""Initial conditions: plane waves, for which perturbation theory is exact or short, and power put in and taken out."""

import numpy as np
import pytest
import torch

from cosmogan.nbody import cosmology, lpt

N, BOX, OMEGA_M, A = 32, 64.0, 0.29, 0.1
K = 2 * np.pi / BOX


def nodes():
    axis = torch.arange(N, dtype=torch.float64) * (BOX / N)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def displace(delta):
    """Return displacements and velocities of an overdensity (N, N, N)."""
    positions, velocities = lpt.displace(torch.fft.rfftn(delta.float()), BOX, A, OMEGA_M)
    moved = positions.view(N, N, N, 3).double() - nodes()
    return torch.remainder(moved + BOX / 2, BOX) - BOX / 2, velocities.view(N, N, N, 3).double()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_wave_moves_as_zeldovich_says(axis):
    x = nodes()[..., axis]
    moved, velocities = displace(0.2 * torch.cos(2 * K * x))
    expected = torch.zeros(N, N, N, 3, dtype=torch.float64)
    expected[..., axis] = -0.2 * torch.sin(2 * K * x) / (2 * K)
    torch.testing.assert_close(velocities, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(moved, cosmology.growth(A, OMEGA_M) * expected, atol=2e-5, rtol=0)


def test_two_crossed_waves_have_their_second_order():
    """δ = α cos kx + β cos ky has the source αβ cos kx cos ky, so ∇φ2 = αβ/2k (sin kx cos ky, cos kx sin ky)."""
    alpha, beta = 0.8, 0.5
    x, y = K * nodes()[..., 0], K * nodes()[..., 1]
    moved, velocities = displace(alpha * torch.cos(x) + beta * torch.cos(y))
    zero = torch.zeros_like(x)
    first = -torch.stack([alpha * torch.sin(x), beta * torch.sin(y), zero], -1) / K
    mixed = [torch.sin(x) * torch.cos(y), torch.cos(x) * torch.sin(y), zero]
    second = alpha * beta / (2 * K) * torch.stack(mixed, -1)
    d, d2 = cosmology.growth(A, OMEGA_M), cosmology.growth_second(A, OMEGA_M)
    torch.testing.assert_close(moved, d * first + d2 * second, atol=5e-5, rtol=0)
    torch.testing.assert_close(
        velocities, first + cosmology.growth_second_slope(A, OMEGA_M) * second, atol=5e-5, rtol=0
    )


def test_second_order_source_of_waves_along_all_axes_and_across():
    """Against derivatives written out: φ = cos(x + y) + cos z has φ,xx φ,zz + φ,yy φ,zz = 2 cos(x + y) cos z."""
    x, y, z = (K * nodes()[..., axis] for axis in range(3))
    phi = torch.cos(x + y) + torch.cos(z)
    source = lpt.second_order_source(torch.fft.rfftn(phi), BOX)
    torch.testing.assert_close(source, 2 * K**4 * torch.cos(x + y) * torch.cos(z), atol=1e-9, rtol=1e-9)


def test_modes_have_the_power_asked_for():
    """Fixed amplitudes: P(k) comes back without cosmic variance."""
    modes = lpt.linear_modes(lpt.fix_amplitudes(lpt.unit_modes(N, 1, 0)), BOX, lambda k: 100 * k**-1.5)
    power = abs(modes) ** 2 * BOX**3 / N**6
    for index in [(1, 0, 0), (0, 3, 0), (2, -3, 5), (N // 2 - 1, N // 2 - 1, N // 2 - 1)]:
        k = K * np.sqrt(sum(i**2 for i in index))
        assert power[index].item() == pytest.approx(100 * k**-1.5, rel=1e-5)
    assert modes[0, 0, 0] == 0


@pytest.mark.parametrize("n", [8, 9, 32])
def test_unit_modes_are_of_a_real_field_with_unit_variance(n):
    modes = lpt.unit_modes(n, 1, 0)
    field = torch.fft.irfftn(modes, s=(n, n, n))
    torch.testing.assert_close(torch.fft.rfftn(field), modes, atol=5e-6, rtol=0)
    inner = abs(modes[1 : n // 2 - 1, 1 : n // 2 - 1, 1 : n // 2 - 1]) ** 2
    assert inner.mean().item() == pytest.approx(1, abs=4 / inner.numel() ** 0.5)


@pytest.mark.parametrize("n", [16, 17])
def test_a_finer_lattice_has_the_modes_of_a_coarser_one(n):
    coarse, fine = lpt.unit_modes(n, 3, 5), lpt.unit_modes(4 * n, 3, 5)
    shared = [*range((n + 1) // 2), *range(-((n - 1) // 2), 0)]
    block = np.ix_(shared, shared, range((n + 1) // 2))
    assert torch.equal(coarse[block], fine[block]) and abs(coarse[block]).min() == abs(coarse[0, 0, 0]) == 0
    assert np.count_nonzero(coarse[block]) == coarse[block].numel() - 1


def test_modes_belong_to_the_seed_and_the_number():
    modes = lpt.unit_modes(16, 3, 5)
    assert torch.equal(modes, lpt.unit_modes(16, 3, 5))
    for other in (lpt.unit_modes(16, 3, 6), lpt.unit_modes(16, 4, 5)):
        fields = torch.stack([torch.fft.irfftn(m, s=(16, 16, 16)).flatten() for m in (modes, other)])
        assert abs(torch.corrcoef(fields)[0, 1]) < 0.1
