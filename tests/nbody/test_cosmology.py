"""Growth against integrals and differential equations, the transfer function against CAMB, σ8 against a closed form."""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from cosmogan.nbody import cosmology

A = np.array([0.02, 0.1, 0.3, 0.5, 0.8, 1.0])


@pytest.mark.parametrize("omega_m", [0.1, 0.29, 1.0])
def test_growth_is_the_integral_over_the_background(omega_m):
    def unnormalised(a):
        integral = quad(lambda x: (x * cosmology.expansion(x, omega_m)) ** -3, 0, a)[0]
        return cosmology.expansion(a, omega_m) * integral

    expected = np.array([unnormalised(a) for a in A]) / unnormalised(1.0)
    np.testing.assert_allclose(cosmology.growth(A, omega_m), expected, rtol=1e-7)


@pytest.mark.parametrize("omega_m", [0.1, 0.29])
def test_rates_are_the_slopes_of_the_growth_factors(omega_m):
    step = 1e-4
    low, high = A * (1 - step), A * (1 + step)
    first = np.log(cosmology.growth(high, omega_m) / cosmology.growth(low, omega_m)) / np.log(high / low)
    np.testing.assert_allclose(cosmology.growth_rate(A, omega_m), first, rtol=1e-6)
    rise = cosmology.growth_second(high, omega_m) - cosmology.growth_second(low, omega_m)
    run = cosmology.growth(high, omega_m) - cosmology.growth(low, omega_m)
    np.testing.assert_allclose(cosmology.growth_second_slope(A, omega_m), rise / run, rtol=1e-6)


def test_second_growth_solves_its_equation():
    """D2'' + (2 + dlnH/dlna) D2' = 3/2 Ω_m(a) (D2 - D²), primes being d/dlna."""
    omega_m, start = 0.29, 1e-3

    def slope(log_a, y):
        a = np.exp(log_a)
        fraction = cosmology.matter_fraction(a, omega_m)
        return [y[1], -(2 - 1.5 * fraction) * y[1] + 1.5 * fraction * (y[0] - cosmology.growth(a, omega_m) ** 2)]

    early = cosmology.growth(start, omega_m) ** 2
    solution = solve_ivp(slope, (np.log(start), 0), [-3 / 7 * early, -6 / 7 * early], t_eval=np.log(A), rtol=1e-8)
    np.testing.assert_allclose(cosmology.growth_second(A, omega_m), solution.y[0], rtol=3e-4)


def test_peculiar_velocity_is_the_expansion_rate_times_the_distance_while_matter_rules():
    """In an Einstein-de Sitter universe D = a, so a dx/dt = a H a dx/dD."""
    np.testing.assert_allclose(cosmology.peculiar_velocity(A, 1.0), A**2 * 100 * A**-1.5)


def test_linear_power_follows_camb(data):
    k, camb = np.loadtxt(data / "pk_linear_z0_sigma8_0.82.txt", unpack=True)
    fit = partial(cosmology.transfer, omega_m=0.29, omega_b=0.047, h=0.69)
    ratio = cosmology.linear_power(k, fit, n_s=0.96, sigma_8=0.82) / camb
    assert np.all(abs(ratio - 1) < 0.045)
    oscillating = (k > 0.02) & (k < 0.3)  # without baryon oscillations the ratio swings by 10 %
    assert np.std(ratio[oscillating]) < 0.02
    assert cosmology.tophat_sigma(k, camb, 8.0) == pytest.approx(0.82, rel=1e-4)


def test_linear_power_has_the_amplitude_asked_for():
    k = np.geomspace(1e-4, 50, 3000)
    fit = partial(cosmology.transfer, omega_m=0.3, omega_b=0.05, h=0.7)
    power = cosmology.linear_power(k, fit, n_s=1.0, sigma_8=0.9)
    assert cosmology.tophat_sigma(k, power, 8.0) == pytest.approx(0.9, rel=1e-3)


def test_transfer_is_one_on_large_scales():
    assert cosmology.transfer(np.array([1e-6]), 0.3, 0.05, 0.7) == pytest.approx(1, abs=1e-4)


def test_sigma_of_a_power_law_has_its_closed_form():
    """P = k^-2 gives σ² = 3 / (10 π R)."""
    k = np.geomspace(1e-6, 1e3, 100_000)
    for radius in (1.0, 8.0):
        assert cosmology.tophat_sigma(k, k**-2, radius) ** 2 == pytest.approx(3 / (10 * np.pi * radius), rel=1e-4)


def test_growth_and_rates_are_those_of_class():
    library = pytest.importorskip("nbodykit.cosmology", reason="nbodykit is not installed: make reference")
    universe = library.Cosmology(h=0.695, Omega0_b=0.047, Omega0_cdm=0.243, n_s=0.96, m_ncdm=None)
    z = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
    a = 1 / (1 + z)
    np.testing.assert_allclose(cosmology.growth(a, 0.29), universe.scale_independent_growth_factor(z), rtol=1e-3)
    np.testing.assert_allclose(cosmology.growth_rate(a, 0.29), universe.scale_independent_growth_rate(z), rtol=1e-3)
