"""Compute the flat ΛCDM background, its growing mode and the linear power spectrum.

Radiation is left out, as GADGET-2 leaves it out. a is the scale factor.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import trapezoid
from scipy.special import hyp2f1

Values = float | np.ndarray

CMB_TEMPERATURE = 2.7255  # [K] (Fixsen 2009)


def expansion(a: Values, omega_m: float) -> np.ndarray:
    """Return H(a) / H0."""
    return np.sqrt(omega_m * a**-3 + 1 - omega_m)


def matter_fraction(a: Values, omega_m: float) -> np.ndarray:
    """Return Ω_m(a)."""
    return omega_m * a**-3 / expansion(a, omega_m) ** 2


def _growing_mode(a: Values, omega_m: float) -> np.ndarray:
    """Return the growing mode that is a while matter rules: a 2F1(1/3, 1; 11/6; -a^3 Ω_Λ/Ω_m)."""
    return a * hyp2f1(1 / 3, 1, 11 / 6, -(a**3) * (1 - omega_m) / omega_m)


def growth(a: Values, omega_m: float) -> np.ndarray:
    """Return the linear growth factor D, 1 today."""
    return _growing_mode(a, omega_m) / _growing_mode(1.0, omega_m)


def growth_rate(a: Values, omega_m: float) -> np.ndarray:
    """Return f = d ln D / d ln a, exact in a flat universe of matter and Λ."""
    return matter_fraction(a, omega_m) * (2.5 * a / _growing_mode(a, omega_m) - 1.5)


def growth_second(a: Values, omega_m: float) -> np.ndarray:
    """Return the second-order growth factor D2 = -3/7 D² Ω_m(a)^(-1/143), good to 2e-4 (Bouchet et al. 1995)."""
    return -3 / 7 * growth(a, omega_m) ** 2 * matter_fraction(a, omega_m) ** (-1 / 143)


def growth_second_slope(a: Values, omega_m: float) -> np.ndarray:
    """Return dD2/dD of `growth_second`."""
    per_log_a = 2 * growth_rate(a, omega_m) + 3 / 143 * (1 - matter_fraction(a, omega_m))  # d ln D2 / d ln a
    return growth_second(a, omega_m) * per_log_a / (growth(a, omega_m) * growth_rate(a, omega_m))


def peculiar_velocity(a: Values, omega_m: float) -> np.ndarray:
    """Return a dD/dt, which turns the velocity dx/dD [Mpc/h] into a dx/dt [km/s]."""
    return 100 * a * expansion(a, omega_m) * growth_rate(a, omega_m) * growth(a, omega_m)


def transfer(k: np.ndarray, omega_m: float, omega_b: float, h: float) -> np.ndarray:
    """Return the matter transfer function of Eisenstein & Hu (1998, ApJ 496, 605), baryon oscillations included.

    Parameters
    ----------
    k : (n,) wavenumbers [h/Mpc], positive

    Returns
    -------
    (n,) array, 1 at small k (their eq. 16)
    """
    omh2, obh2, fraction = omega_m * h**2, omega_b * h**2, omega_b / omega_m
    theta = CMB_TEMPERATURE / 2.7
    z_eq = 2.50e4 * omh2 * theta**-4  # eq. 2
    k_eq = 7.46e-2 * omh2 * theta**-2  # eq. 3 [1/Mpc]
    b1 = 0.313 * omh2**-0.419 * (1 + 0.607 * omh2**0.674)
    b2 = 0.238 * omh2**0.223
    z_drag = 1291 * omh2**0.251 / (1 + 0.659 * omh2**0.828) * (1 + b1 * obh2**b2)  # eq. 4
    r_drag, r_eq = (31.5 * obh2 * theta**-4 * 1e3 / z for z in (z_drag, z_eq))  # eq. 5
    growing = (np.sqrt(1 + r_drag) + np.sqrt(r_drag + r_eq)) / (1 + np.sqrt(r_eq))
    sound = 2 / (3 * k_eq) * np.sqrt(6 / r_eq) * np.log(growing)  # eq. 6 [Mpc]
    k_silk = 1.6 * obh2**0.52 * omh2**0.73 * (1 + (10.4 * omh2) ** -0.95)  # eq. 7 [1/Mpc]

    k = k * h  # [1/Mpc], as in the paper
    q = k / (13.41 * k_eq)  # eq. 10
    cold = _cold_transfer(k * sound, q, omh2, fraction)
    amplitude = 2.07 * k_eq * sound * (1 + r_drag) ** -0.75 * _drag_depth((1 + z_eq) / (1 + z_drag))  # eq. 14
    damping = amplitude * np.exp(-((k / k_silk) ** 1.4))
    return fraction * _baryon_transfer(k * sound, q, damping, omh2, fraction) + (1 - fraction) * cold


def _pressureless(q: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Return T̃_0 (eqs. 19 and 20)."""
    c = 14.2 / alpha + 386 / (1 + 69.9 * q**1.08)
    log = np.log(np.e + 1.8 * beta * q)
    return log / (log + c * q**2)


def _drag_depth(y: float) -> float:
    """Return G(y) (eq. 15)."""
    root = np.sqrt(1 + y)
    return y * (-6 * root + (2 + 3 * y) * np.log((root + 1) / (root - 1)))


def _cold_transfer(ks: np.ndarray, q: np.ndarray, omh2: float, fraction: float) -> np.ndarray:
    """Return T_c (eqs. 11, 12, 17 and 18); ``ks`` is k times the sound horizon."""
    a1 = (46.9 * omh2) ** 0.670 * (1 + (32.1 * omh2) ** -0.532)
    a2 = (12.0 * omh2) ** 0.424 * (1 + (45.0 * omh2) ** -0.582)
    alpha = a1**-fraction * a2 ** -(fraction**3)
    b1 = 0.944 / (1 + (458 * omh2) ** -0.708)
    b2 = (0.395 * omh2) ** -0.0266
    beta = 1 / (1 + b1 * ((1 - fraction) ** b2 - 1))
    f = 1 / (1 + (ks / 5.4) ** 4)
    return f * _pressureless(q, 1, beta) + (1 - f) * _pressureless(q, alpha, beta)


def _baryon_transfer(ks: np.ndarray, q: np.ndarray, damping: np.ndarray, omh2: float, fraction: float) -> np.ndarray:
    """Return T_b (eqs. 21 to 24); ``damping`` is α_b exp(-(k/k_Silk)^1.4)."""
    beta = 0.5 + fraction + (3 - 2 * fraction) * np.sqrt((17.2 * omh2) ** 2 + 1)
    node = 8.41 * omh2**0.435
    shifted = ks / (1 + (node / ks) ** 3) ** (1 / 3)
    oscillation = np.sinc(shifted / np.pi)
    return (_pressureless(q, 1, 1) / (1 + (ks / 5.2) ** 2) + damping / (1 + (beta / ks) ** 3)) * oscillation


def linear_power(k: np.ndarray, transfer: Callable[[np.ndarray], np.ndarray], n_s: float, sigma_8: float) -> np.ndarray:
    """Return today's linear matter power spectrum [(Mpc/h)³] at wavenumbers (n,) [h/Mpc], positive.

    Parameters
    ----------
    transfer : T(k), of any norm
    """

    def shape(k: np.ndarray) -> np.ndarray:
        return k**n_s * transfer(k) ** 2

    fine = np.geomspace(1e-5, 1e2, 8192)
    return shape(k) * (sigma_8 / tophat_sigma(fine, shape(fine), 8.0)) ** 2


def tophat_sigma(k: np.ndarray, power: np.ndarray, radius: float) -> float:
    """Return the rms overdensity in spheres: σ² = ∫ d ln k k³ P(k) W²(k R) / 2π².

    Parameters
    ----------
    k, power : (n,) wavenumbers [h/Mpc], evenly spaced in ln k, and P(k) [(Mpc/h)³]
    radius : R [Mpc/h]
    """
    x = k * radius
    # 3 (sin x - x cos x) / x³, as its series where that loses its digits
    window = np.where(x < 0.05, 1 - x**2 / 10, 3 * (np.sin(x) - x * np.cos(x)) / np.maximum(x, 0.05) ** 3)
    return float(np.sqrt(trapezoid(k**3 * power * window**2 / (2 * np.pi**2), np.log(k))))
