"""Power and cross power: against sums written out by hand, analytic fields, and identities."""

import itertools

import numpy as np
import pytest
import torch

from cosmogan.statistics import fourier
from cosmogan.statistics.power import cross_power, power_spectrum

L = 50.0


def random_fields(n, b=2, seed=0, dtype=torch.float64):
    return torch.rand((b, n, n, n), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def modes(n):
    axis = range(-(n // 2), (n + 1) // 2)
    return np.array(list(itertools.product(axis, axis, axis)))


def by_hand(first, second, n):
    """Sum exp(-i k x) over cells and |delta_k|² over modes, with no transform and no half spectrum."""
    q = modes(n)
    cells = np.array(list(itertools.product(range(n), range(n), range(n))))
    waves = np.exp(-2j * np.pi * (q @ cells.T) / n)
    delta = [waves @ (field - field.mean()).ravel() for field in (first, second)]
    product = (delta[0] * delta[1].conj()).real * L**3 / n**6
    shell = np.floor(np.sqrt((q**2).sum(axis=1)) + 1e-9).astype(int)
    counts = np.bincount(shell)
    return np.bincount(shell, product)[1:] / counts[1:], counts[1:]


@pytest.mark.parametrize("n", [6, 7])
def test_power_and_cross_power_are_the_sums_written_out(n):
    a, b = random_fields(n, seed=1), random_fields(n, seed=2)
    found, cross = power_spectrum(a, L), cross_power(a, b, L)
    for i in range(2):
        expected, counts = by_hand(a[i].numpy(), a[i].numpy(), n)
        np.testing.assert_allclose(found.power[i], expected, rtol=1e-10)
        np.testing.assert_array_equal(found.n_modes, counts)
        expected, _ = by_hand(a[i].numpy(), b[i].numpy(), n)
        np.testing.assert_allclose(cross.power[i], expected, rtol=1e-10, atol=1e-10 * found.power[i].max())


def test_the_mean_is_in_no_bin_even_where_edges_begin_at_zero():
    n, unit = 8, fourier.k_fundamental(L)
    a, b = (1e4 + random_fields(n, seed=seed, dtype=torch.float32) for seed in (1, 2))  # whose means leave rounding
    for measure in (lambda edges: power_spectrum(a, L, edges), lambda edges: cross_power(a, b, L, edges)):
        expected = measure(unit * np.array([1, 2.5]))
        for low in (0, -0.5):
            found = measure(unit * np.array([low, 2.5]))
            for name in ("k", "n_modes", "corner_fraction", "power"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert measure(unit * np.array([0, 1, 2.5])).n_modes[0] == 0  # and has no bin of its own


def test_a_plane_wave_has_its_power_in_one_bin():
    n, amplitude, q = 16, 0.3, np.array([2, 1, -2])
    phase = 2 * np.pi * (np.indices((n, n, n)).T @ q).T / n
    density = torch.from_numpy(1 + amplitude * np.cos(phase + 0.4))[None]
    found = power_spectrum(density, L)
    # two modes ±q of |delta_k| = n³ amplitude/2 each
    expected = np.zeros_like(found.power[0])
    expected[2] = 2 * (amplitude / 2) ** 2 * L**3 / found.n_modes[2]
    np.testing.assert_allclose(found.power[0], expected, atol=1e-12 * L**3)


@pytest.mark.parametrize("n", [8, 9])
def test_parseval(n):
    density = random_fields(n)
    found = power_spectrum(density, L)
    variance = density.var(dim=(1, 2, 3), correction=0).numpy()
    np.testing.assert_allclose((found.power * found.n_modes).sum(axis=1) / L**3, variance, rtol=1e-12)
    assert found.n_modes.sum() == n**3 - 1


def test_a_field_of_fixed_amplitudes_gives_its_spectrum_back():
    n = 16
    white = np.fft.rfftn(np.random.default_rng(0).standard_normal((n, n, n)))
    q, _ = fourier.half_spectrum(n)
    shell = np.maximum(np.floor(q), 1)  # constant within a bin, so a bin has no scatter at all
    wanted = 100.0 * shell**-1.5
    density = np.fft.irfftn(white / abs(white) * np.sqrt(wanted * n**6 / L**3), s=(n, n, n), axes=(0, 1, 2))
    found = power_spectrum(torch.from_numpy(density)[None], L)
    np.testing.assert_allclose(found.power[0], 100.0 * np.arange(1, len(found.k) + 1) ** -1.5, rtol=1e-10)


def test_float32_agrees_with_float64_and_batches_with_single_samples():
    density = random_fields(16, b=3)
    exact = power_spectrum(density, L).power
    np.testing.assert_allclose(power_spectrum(density.float(), L).power, exact, rtol=1e-5)
    single = np.concatenate([power_spectrum(sample[None], L).power for sample in density])
    np.testing.assert_allclose(single, exact, rtol=1e-12)


def test_the_mean_is_taken_off_and_the_field_not_divided_by_it():
    density = random_fields(8)
    power = power_spectrum(density, L).power
    np.testing.assert_allclose(power_spectrum(density + 7, L).power, power, rtol=1e-10)
    np.testing.assert_allclose(power_spectrum(density * 3, L).power, 9 * power, rtol=1e-10)


def test_small_fluctuations_on_a_large_mean_survive_float32():
    density = (100 + 0.01 * random_fields(16)).float()
    np.testing.assert_allclose(power_spectrum(density, L).power, power_spectrum(density.double(), L).power, rtol=1e-4)


def test_bins_hold_their_lower_edge():
    n, unit = 8, fourier.k_fundamental(L)
    q, weight = fourier.half_spectrum(n)
    found = power_spectrum(random_fields(n), L, unit * np.array([1, 2, 3, 4.5]))
    counts = [weight[(q >= low) & (q < high)].sum() for low, high in ((1, 2), (2, 3), (3, 4.5))]
    np.testing.assert_array_equal(found.n_modes, counts)
    mean = [(q * weight)[(q >= low) & (q < high)].sum() for low, high in ((1, 2), (2, 3), (3, 4.5))]
    np.testing.assert_allclose(found.k, np.array(mean) / counts * unit, rtol=1e-14)


@pytest.mark.parametrize("box_size", [16.0, 44.48, 64.0, 355.84 / 8])
def test_default_edges_put_whole_wavenumbers_in_the_bin_above(box_size):
    n = 64
    edges = fourier.linear_edges(box_size, n)
    made = fourier.bins(box_size, n, edges, torch.device("cpu"))
    q, weight = fourier.half_spectrum(n)
    exact = np.bincount(np.floor(q).astype(int).ravel(), weight.ravel())[1:]
    np.testing.assert_array_equal(made.n_modes, exact)
    assert edges[-1] > np.sqrt(3) * fourier.k_nyquist(box_size, n)


def test_wider_bins_are_means_of_the_narrow_ones():
    density = random_fields(16)
    narrow, wide = (power_spectrum(density, L, fourier.linear_edges(L, 16, bins)) for bins in (None, 1))
    mean = (narrow.power * narrow.n_modes).sum(axis=1) / narrow.n_modes.sum()
    np.testing.assert_allclose(wide.power[:, 0], mean, rtol=1e-12)


def test_wrong_arguments_are_named():
    for shape in ((4, 4), (2, 4, 4, 5)):
        with pytest.raises(ValueError, match=r"expected cubes, \(n, n, n\) or \(b, n, n, n\), found shape \("):
            power_spectrum(torch.zeros(shape), L)
    with pytest.raises(ValueError, match="expected 1 to 6 wavenumber bins for 8³ cells, found 7"):
        fourier.linear_edges(L, 8, 7)
    with pytest.raises(ValueError, match="box_size: expected a positive length in Mpc/h, found -1"):
        power_spectrum(torch.zeros(4, 4, 4), -1)
    with pytest.raises(ValueError, match="k_edges: expected two or more rising numbers"):
        power_spectrum(torch.zeros(4, 4, 4), L, np.array([1.0, 0.5]))
    with pytest.raises(
        ValueError, match=r"cross power: expected pairs of one shape, found \(1, 4, 4, 4\) and \(1, 8, 8, 8\)"
    ):
        cross_power(torch.zeros(4, 4, 4), torch.zeros(8, 8, 8), L)


@pytest.mark.parametrize("n", [8, 9])
def test_sums_over_spheres_hold_every_mode_once(n):
    values = np.random.default_rng(0).random((n, n, n))
    q = np.fft.fftfreq(n, 1 / n)
    square = q[:, None, None] ** 2 + q[None, :, None] ** 2 + q**2
    even = values + values[np.ix_(*3 * [-np.arange(n)])]  # as |delta_k|² is
    expected = np.bincount(square.astype(int).ravel(), even.ravel(), fourier.n_spheres(n))
    found = fourier.sphere_sums(torch.from_numpy(even[None, ..., : n // 2 + 1].copy()))
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_sums_over_spheres_are_of_float64_and_leave_the_values_as_they_are():
    values = torch.rand((2, 8, 8, 5), generator=torch.Generator().manual_seed(0))
    doubles = values.double()
    before = doubles.clone()
    np.testing.assert_allclose(fourier.sphere_sums(values), fourier.sphere_sums(doubles), rtol=1e-14)
    np.testing.assert_array_equal(doubles, before)


def test_corners_are_marked():
    n = 8
    found = power_spectrum(random_fields(n), L)
    q, weight = fourier.half_spectrum(n)
    shell = np.floor(q).astype(int)
    expected = [weight[(shell == i) & (q > n / 2)].sum() / weight[shell == i].sum() for i in range(1, 7)]
    np.testing.assert_allclose(found.corner_fraction, expected)
    assert found.corner_fraction[2] == 0 < found.corner_fraction[3] < found.corner_fraction[4] == 1


def test_the_papers_bins_have_the_papers_wavenumbers():
    h = 0.695
    found = power_spectrum(torch.ones(64, 64, 64), 64 * h, fourier.paper_edges(64 * h, 64, h))
    assert len(found.k) == 16
    np.testing.assert_allclose(found.k[[0, -1]] * h, [0.139, 4.740], atol=6e-4)


def test_a_field_assigned_to_a_mesh_gets_its_power_back():
    """The window of CIC is sinc² an axis; a field with it comes back when it is divided out."""
    n, density = 16, random_fields(16)
    q = np.fft.fftfreq(n)
    window = (np.sinc(q)[:, None, None] * np.sinc(q)[:, None] * np.sinc(q[: n // 2 + 1])) ** 2
    smooth = torch.fft.irfftn(torch.fft.rfftn(density, dim=(1, 2, 3)) * torch.from_numpy(window), s=(n, n, n))
    expected = power_spectrum(density, L).power
    corrected = power_spectrum(smooth, L, correction=fourier.Correction(window=2, shot_noise=1.5))
    np.testing.assert_allclose(corrected.power, expected - 1.5, rtol=1e-10)
    assert (power_spectrum(smooth, L).power[:, -1] < 0.2 * expected[:, -1]).all()
    with pytest.raises(ValueError, match="window: expected the order of a mass assignment"):
        fourier.Correction(window=5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_gives_the_same_spectrum():
    density = random_fields(16)
    np.testing.assert_allclose(power_spectrum(density.cuda(), L).power, power_spectrum(density, L).power, rtol=1e-10)
