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
    """An impulse has all modes alike: P(k) comes back without cosmic variance."""
    noise = torch.zeros(N, N, N)
    noise[0, 0, 0] = N**1.5  # |noise_k|² = N³, the mean of a unit normal field's
    modes = lpt.linear_modes(noise, BOX, lambda k: 100 * k**-1.5)
    power = abs(modes) ** 2 * BOX**3 / N**6
    for index in [(1, 0, 0), (0, 3, 0), (2, -3, 5), (N // 2, N // 2, N // 2)]:
        k = K * np.sqrt(sum(i**2 for i in index))
        assert power[index].item() == pytest.approx(100 * k**-1.5, rel=1e-5)
    assert modes[0, 0, 0] == 0


def test_field_has_the_variance_that_its_power_sums_to():
    modes = lpt.linear_modes(lpt.white_noise(N, 1, 0), BOX, lambda k: np.full_like(k, 2.0))
    delta = torch.fft.irfftn(modes, s=(N, N, N))
    assert delta.var().item() == pytest.approx(2.0 * (N / BOX) ** 3, rel=0.03)


def test_noise_belongs_to_the_seed_and_the_number():
    noise = lpt.white_noise(16, 3, 5)
    assert torch.equal(noise, lpt.white_noise(16, 3, 5))
    for other in (lpt.white_noise(16, 3, 6), lpt.white_noise(16, 4, 5)):
        assert abs(torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1]) < 0.1
    assert noise.std().item() == pytest.approx(1, rel=0.05)
