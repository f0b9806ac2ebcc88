"""Initial conditions: plane waves, for which perturbation theory is exact or short, and power put in and taken out."""

import itertools

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


def test_random_waves_are_displaced_as_their_sums_written_out_say():
    """Against sums over waves and over pairs of waves, with no Fourier transform and no mesh of fields.

    δ = Σ A_k e^(ikq) has ψ1 = Σ i k/k² A_k e^(ikq); each pair of waves gives φ2 a wave of K = k + k', with
    ∇²φ2 = ½ Σ A_k A_k' (1 - cos²) e^(iKq), the angle being that between k and k' (Bouchet et al. 1995, eq. 8).
    """
    n, random = 10, np.random.default_rng(4)  # sums of two waves stay below the Nyquist frequency
    half = random.permutation(np.array(list(itertools.product(range(-2, 3), repeat=3)))[:62])[:20]
    waves = np.concatenate([half, -half])
    amplitude = random.normal(size=(20, 2)) @ [0.2, 0.2j]
    amplitude = np.concatenate([amplitude, amplitude.conj()])  # of a real field
    q = np.array(list(itertools.product(range(n), repeat=3))) * (BOX / n)
    first = displacement(q, waves, amplitude)
    length = np.sqrt((waves**2).sum(axis=1))
    cosine = (waves @ waves.T) / np.outer(length, length)
    pairs = (waves[:, None] + waves).reshape(-1, 3)
    second = -displacement(q, pairs, (np.outer(amplitude, amplitude) * (1 - cosine**2)).ravel() / 2)

    delta = (np.exp(1j * K * q @ waves.T) @ amplitude).real.reshape(n, n, n)
    positions, velocities = lpt.displace(torch.fft.rfftn(torch.from_numpy(delta).float()), BOX, A, OMEGA_M)
    d, d2 = cosmology.growth(A, OMEGA_M), cosmology.growth_second(A, OMEGA_M)
    slope = cosmology.growth_second_slope(A, OMEGA_M)
    moved = (positions.numpy() - q + BOX / 2) % BOX - BOX / 2
    np.testing.assert_allclose(moved, d * first + d2 * second, atol=2e-5)
    np.testing.assert_allclose(velocities, first + slope * second, atol=2e-5)
    assert abs(d2 * second).max() > 0.02 * abs(d * first).max() > 0.01  # the second order is there to be seen


def displacement(q, waves, amplitude):
    """Return Σ i k/k² A_k e^(ikq) at points (n, 3); a wave of k = 0 displaces nothing."""
    k = K * waves
    squared = (k**2).sum(axis=1)
    per_wave = 1j * k / np.where(squared > 0, squared, np.inf)[:, None] * amplitude[:, None]
    return (np.exp(1j * q @ k.T) @ per_wave).real


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


@pytest.mark.parametrize("n", [16, 17, 64])
def test_a_finer_lattice_has_the_modes_of_a_coarser_one(n):
    coarse, fine = lpt.unit_modes(n, 3, 5), lpt.unit_modes(4 * n, 3, 5)
    shared = [*range((n + 1) // 2), *range(-((n - 1) // 2), 0)]
    block = np.ix_(shared, shared, range((n + 1) // 2))
    assert torch.equal(coarse[block], fine[block]) and abs(coarse[block]).min() == abs(coarse[0, 0, 0]) == 0
    assert np.count_nonzero(coarse[block]) == coarse[block].numel() - 1
    deltas = [lpt.linear_modes(modes, BOX, lambda k: k**-2)[block] / len(modes) ** 3 for modes in (coarse, fine)]
    torch.testing.assert_close(*deltas, rtol=1e-5, atol=0)


def test_modes_belong_to_the_seed_and_the_number():
    modes = lpt.unit_modes(16, 3, 5)
    assert torch.equal(modes, lpt.unit_modes(16, 3, 5))
    for other in (lpt.unit_modes(16, 3, 6), lpt.unit_modes(16, 4, 5)):
        fields = torch.stack([torch.fft.irfftn(m, s=(16, 16, 16)).flatten() for m in (modes, other)])
        assert abs(torch.corrcoef(fields)[0, 1]) < 0.1
