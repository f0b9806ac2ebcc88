import pytest
import torch

from cosmogan.gan import scaling


@pytest.mark.parametrize("kappa", [4.0, 45.0])
def test_the_density_comes_back(kappa):
    density = torch.logspace(-4, 4, 1000, dtype=torch.float64)
    back = scaling.unscale(scaling.scale(density, kappa), kappa)
    torch.testing.assert_close(back, density, rtol=1e-9, atol=0)


def test_single_precision_keeps_the_rarest_cells_to_a_percent():
    density = torch.tensor([0.01, 1.0, 100.0, 1e4])
    torch.testing.assert_close(scaling.unscale(scaling.scale(density, 45.0), 45.0), density, rtol=1e-3, atol=1e-5)


def test_equation_5():
    density = torch.tensor([0.0, 15.0, 45.0, 135.0])
    torch.testing.assert_close(scaling.scale(density, 45.0), torch.tensor([-1.0, -0.5, 0.0, 0.5]))


def test_a_saturated_tanh_gives_a_finite_density():
    density = scaling.unscale(torch.tensor([-1.0, 1.0]), 45.0)
    assert density.tolist() == [0.0, pytest.approx(45 * 8191, rel=1e-6)]
