import numpy as np
import pytest
import torch

from cosmogan.statistics.refinement import refinement

N, SIZE = 32, 100.0


def fields(n_draws, truth_scatter=1.0):
    """A known part, and a simulation and draws that add white noise to it."""
    random = np.random.default_rng(1)
    known = np.fft.irfftn(np.fft.rfftn(random.standard_normal((N, N, N))) / (1 + np.arange(N // 2 + 1)))
    noise = 0.1 * random.standard_normal((n_draws + 1, N, N, N))
    noise[0] *= truth_scatter
    every = torch.from_numpy(1 + known + noise).float()
    return every[0], torch.from_numpy(1 + known).float(), every[1:]


@pytest.mark.parametrize("n_draws", [2, 8])
def test_draws_as_likely_as_the_simulation(n_draws):
    truth, quick, draws = fields(n_draws)
    found = refinement(truth, quick, draws, SIZE)
    many = found.n_modes > 200
    np.testing.assert_allclose(found.scatter_ratio[many], 1, atol=0.25)
    np.testing.assert_allclose(found.scatter_ratio[many].mean(), 1, atol=0.05)
    np.testing.assert_allclose(found.correlation[many], found.quick_correlation[many] ** 2, atol=0.03)
    np.testing.assert_allclose(found.power_ratio[many], 1, atol=0.15)
    assert (found.mean_correlation > found.correlation - 1e-6).all()


def test_draws_that_scatter_less_than_the_simulation():
    found = refinement(*fields(8, truth_scatter=2.0), SIZE)
    many = found.n_modes > 200
    np.testing.assert_allclose(found.scatter_ratio[many].mean(), 1 / 3.56, atol=0.05)  # (1 + 1/8) / (4 + 1/8)


def test_draws_that_are_the_simulation():
    truth, quick, _ = fields(2)
    found = refinement(truth, quick, torch.stack([truth, truth]), SIZE)
    np.testing.assert_allclose(found.correlation, 1, rtol=1e-6)
    np.testing.assert_allclose(found.power_ratio, 1, rtol=1e-6)
    assert 2 * np.pi / SIZE == pytest.approx(found.k[0], rel=0.3) and found.k[-1] < found.k_nyquist
