"""Bispectra: against sums over triples of modes written out, and fields whose bispectrum is known."""

import itertools

import numpy as np
import pytest
import torch

from cosmogan.statistics import fourier
from cosmogan.statistics.bispectra import PAPER_ANGLES, Triangles, bispectrum, paper_triangles
from cosmogan.statistics.fourier import Correction
from cosmogan.statistics.power import power_spectrum

L = 30.0
UNIT = fourier.k_fundamental(L)


def random_fields(n, b=2, seed=0):
    return torch.rand((b, n, n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(field, sides, n):
    """Visit every triple of modes that closes; return its number and the mean product."""
    reach = (n - 1) // 2
    modes = np.array([q for q in itertools.product(range(-reach, reach + 1), repeat=3) if any(q)])
    length = np.sqrt((modes**2).sum(axis=1))
    first, second = (modes[(length >= side - 1) & (length < side + 1)] for side in sides[:2])
    third = -(first[:, None] + second[None]).reshape(-1, 3)
    length = np.sqrt((third**2).sum(axis=1))
    good = (length >= max(sides[2] - 1, 1e-9)) & (length < sides[2] + 1) & (abs(third).max(axis=1) <= reach)
    delta_k = np.fft.fftn(field - field.mean())
    pick = [delta_k[tuple(q.T)] for q in (np.repeat(first, len(second), 0), np.tile(second, (len(first), 1)), third)]
    product = (pick[0] * pick[1] * pick[2]).real[good]
    return good.sum(), product.mean() * L**6 / n**9


# sides below Nyquist; so short that q = 0 is in the shell; and so long that n³ cells alone would wrap triangles around
@pytest.mark.parametrize(("n", "q1", "q2"), [(8, 1.5, 2.1), (9, 2.6, 1.2), (7, 0.9, 1.9), (9, 2.4, 2.2)])
def test_bispectrum_is_the_sum_over_closed_triangles(n, q1, q2):
    density = random_fields(n)
    triangles = Triangles(q1 * UNIT, q2 * UNIT, np.array([1.6, 1.9, 2.2]))
    found = bispectrum(density, L, triangles)
    for j, k3 in enumerate(triangles.k3):
        for i in range(2):
            count, expected = by_hand(density[i].numpy(), (q1, q2, k3 / UNIT), n)
            assert found.n_triangles[j] == count
            np.testing.assert_allclose(found.bispectrum[i, j], expected, rtol=1e-10, atol=1e-10 * L**6 / n**9)


def test_three_plane_waves_make_one_triangle():
    n, amplitude = 16, 0.2
    vectors = np.array([[3, 0, 0], [0, 4, 0], [3, 4, 0]])
    phase = 2 * np.pi * np.einsum("vi,ixyz->vxyz", vectors, np.indices((n, n, n))) / n
    density = torch.from_numpy(1 + amplitude * np.cos(phase).sum(axis=0))[None]
    triangles = Triangles(3.01 * UNIT, 4.01 * UNIT, np.array([np.pi / 2]))
    found = bispectrum(density, L, triangles)
    # The shells of 3.01, 4.01 and 5.01 reach to 2.01 … 4.01, 3.01 … 5.01, 4.01 … 6.01: 3, 4 and 5 have one assignment
    # that fits, or 4 and 5 take each other's place, 3 and 4 likewise where the ranges meet.
    fits = [
        p
        for p in itertools.permutations((3, 4, 5))
        if all(side - 1 <= q < side + 1 for q, side in zip(p, (3.01, 4.01, 5.01), strict=True))
    ]
    expected = 2 * len(fits) * (amplitude / 2) ** 3 * L**6 / found.n_triangles[0]
    np.testing.assert_allclose(found.bispectrum[0, 0], expected, rtol=1e-10)


def test_a_gaussian_field_has_none_within_its_errors():
    fields = torch.randn((64, 16, 16, 16), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for triangles in paper_triangles(L, 16)[:2]:
        samples = bispectrum(fields, L, triangles).bispectrum
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        assert (abs(samples.mean(axis=0)) < 4 * error).all()
        assert (error > 0).all()


def test_a_squared_gaussian_field_has_the_expected_sign():
    fields = torch.randn((64, 16, 16, 16), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    skewed = fields + 0.3 * (fields.square() - 1)
    found = bispectrum(skewed, L, paper_triangles(L, 16)[0])
    # white noise e + a (e² - 1): <δ³> = 6 a + 8 a³ in a cell, so B = V² <δ³>/n⁶ at all k
    expected = (6 * 0.3 + 8 * 0.3**3) * L**6 / 16**6
    error = found.bispectrum.std(axis=0, ddof=1) / np.sqrt(64)
    assert (abs(found.bispectrum.mean(axis=0) - expected) < 4 * error).all()
    assert (expected > 4 * error).all()


def test_reduced_is_b_over_the_shells_powers():
    density = random_fields(12)
    sides = (2.3, 3.1)
    triangles = Triangles(sides[0] * UNIT, sides[1] * UNIT, np.array([1.0]))
    found = bispectrum(density, L, triangles)
    shells = [
        power_spectrum(density, L, np.array([side - UNIT, side + UNIT])).power[:, 0]
        for side in (triangles.k1, triangles.k2, triangles.k3[0])
    ]
    denominator = shells[0] * shells[1] + shells[1] * shells[2] + shells[2] * shells[0]
    np.testing.assert_allclose(found.reduced[:, 0], found.bispectrum[:, 0] / denominator, rtol=1e-10)


@pytest.mark.parametrize("n", [16, 32, 64])
def test_the_papers_triangles_fit_the_grid(n):
    made = paper_triangles(L, n)
    assert len(made) >= 5
    nyquist = fourier.k_nyquist(L, n)
    for triangles in made:
        assert max(triangles.k1, triangles.k2, triangles.k3.max()) + UNIT <= nyquist * (1 + 1e-12)
        assert min(triangles.k1, triangles.k2) > UNIT
        assert set(triangles.theta) <= set(PAPER_ANGLES)


def test_on_the_papers_own_grid_the_sides_are_the_papers():
    sides = [(t.k1, t.k2) for t in paper_triangles(64.0, 64)]
    expected = [(0.2, 0.2), (0.2, 0.3), (0.5, 1.0), (1.0, 2.0), (2.0, 2.0), (0.1, 0.5)]
    np.testing.assert_allclose(sides, expected, rtol=1e-12)


@pytest.mark.parametrize("sides", [(3.1, 2), (2, 3.1), (2.5, 2.5)])
def test_shells_beyond_nyquist_are_refused_with_the_reason(sides):
    triangles = Triangles(sides[0] * UNIT, sides[1] * UNIT, np.array([0.5]))
    with pytest.raises(
        ValueError, match=r"a side of [34].* expected shells up to 4, the Nyquist wavenumber of 8³ cells"
    ):
        bispectrum(random_fields(8), L, triangles)


def test_a_shell_without_modes_is_named():
    with pytest.raises(ValueError, match="no mode of 8³ cells has a wavenumber within 1 of 0 fundamentals"):
        bispectrum(random_fields(8), L, Triangles(2 * UNIT, 2 * UNIT, np.array([np.pi])))


def test_a_cube_is_a_batch_of_one_and_numpy_is_taken_too():
    density, triangles = random_fields(12), paper_triangles(L, 12)[0]
    found = bispectrum(density[1].numpy(), L, triangles)
    np.testing.assert_allclose(found.reduced, bispectrum(density, L, triangles).reduced[1:], rtol=1e-12)


def test_float32_agrees_with_float64():
    density = torch.exp(2 * random_fields(32, b=3))
    for triangles in paper_triangles(L, 32):
        exact = bispectrum(density, L, triangles).bispectrum
        np.testing.assert_allclose(
            bispectrum(density.float(), L, triangles).bispectrum, exact, atol=1e-4 * abs(exact).max()
        )


def test_shot_noise_is_that_of_poisson_points():
    """Poisson counts of a mean of N̄ have P = 1/n̄ and B = 1/n̄²: nothing is left of either."""
    n, mean = 16, 0.5
    counts = torch.poisson(torch.full((200, n, n, n), mean), generator=torch.Generator().manual_seed(0)) / mean
    noise = (L / n) ** 3 / mean
    triangles = paper_triangles(L, n)[0]
    raw = bispectrum(counts, L, triangles).bispectrum
    left = bispectrum(counts, L, triangles, Correction(shot_noise=noise)).bispectrum
    error = left.std(axis=0, ddof=1) / np.sqrt(len(left))
    assert (abs(left.mean(axis=0)) < 4 * error).all()
    assert raw.mean() > 0.7 * noise**2
    assert abs(left.mean()) < 0.3 * noise**2
