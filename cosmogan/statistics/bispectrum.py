"""Bispectra of batches of subvolumes, from products of shells of Fourier modes.

A triangle is three modes q1 + q2 + q3 = 0, one from each of three shells of half-width k_F around k1, k2 and k3:

    k_i - k_F ≤ k_F |q_i| < k_i + k_F,       k3² = k1² + k2² + 2 k1 k2 cos θ

as in Pylians (θ = 0: k1 and k2 parallel). With D_i(x) the field that the modes of shell i make, and I_i(x) the one
that unit modes make (Scoccimarro 2000, arXiv:astro-ph/0004086),

    B = V²/n⁹ Σ_x D1 D2 D3 / Σ_x I1 I2 I3        Q = B / (P1 P2 + P2 P3 + P3 P1)

P_i being the mean power of shell i. A product of three fields on a grid of m cells a side also finds "triangles"
with q1 + q2 + q3 = m: none, when m exceeds the sum of the three largest |q|. So the sums are made on the smallest
grid that holds the triangles, which for large scales is much smaller than the subvolume's own.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics import fourier
from cosmogan.statistics.power import checked

# The paper's pairs (k1, k2) [1/Mpc], for subvolumes of 64 Mpc and 64 cells a side, and its ten angles.
PAPER_PAIRS = ((0.2, 0.2), (0.2, 0.3), (0.5, 1.0), (1.0, 2.0), (2.0, 2.0), (0.1, 0.5))
PAPER_SIDE = 64.0
PAPER_CELLS = 64
PAPER_ANGLES = np.linspace(0, 2.5, 10)
FAST_FACTORS = (2, 3, 5)


@dataclass(frozen=True)
class Triangles:
    """One pair of sides and the angles between them."""

    k1: float  # [h/Mpc]
    k2: float  # [h/Mpc]
    theta: np.ndarray  # (nt,) [rad]

    @property
    def k3(self) -> np.ndarray:
        """Third sides, (nt,) [h/Mpc]."""
        return np.sqrt(self.k1**2 + self.k2**2 + 2 * self.k1 * self.k2 * np.cos(self.theta))


@dataclass(frozen=True)
class Bispectrum:
    """B and Q of each sample of a batch, for one pair of sides."""

    triangles: Triangles
    n_triangles: np.ndarray  # (nt,) ordered triples of modes of the full sphere
    bispectrum: np.ndarray  # (b, nt) float64 [(Mpc/h)⁶]
    reduced: np.ndarray  # (b, nt) float64


def paper_triangles(box_size: float, n: int) -> list[Triangles]:
    """Return the paper's triangles that a grid can show.

    The paper's sides are taken in units of the fundamental, so that they fit any subvolume; where that passes the
    Nyquist wavenumber, at the same fraction of it. Angles whose third side passes it are left out.

    Parameters
    ----------
    box_size : side of the cube [Mpc/h]
    n : cells a side
    """
    unit = fourier.k_fundamental(box_size)
    largest = n // 2 - 1  # upper edges of shells stay at or below Nyquist
    found: dict[tuple[float, float], Triangles] = {}
    for pair in PAPER_PAIRS:
        q1, q2 = (k * PAPER_SIDE / (2 * np.pi) for k in pair)
        if max(q1, q2) > largest:
            q1, q2 = q1 * n / PAPER_CELLS, q2 * n / PAPER_CELLS
        triangles = Triangles(q1 * unit, q2 * unit, PAPER_ANGLES)
        fits = triangles.k3 <= largest * unit
        if min(q1, q2) > 1 and max(q1, q2) <= largest and fits.any():
            found.setdefault((round(q1, 6), round(q2, 6)), Triangles(q1 * unit, q2 * unit, PAPER_ANGLES[fits]))
    return list(found.values())


def bispectrum(density: Tensor, box_size: float, triangles: Triangles) -> Bispectrum:
    """Compute the bispectrum of every sample, for one pair of sides and several angles.

    Modes on the Nyquist planes, whose direction is not defined, and the mean take no part.

    Parameters
    ----------
    density : (b, n, n, n) in units of the mean density; each sample's own mean is taken off
    box_size : side of the cube [Mpc/h]
    triangles : sides and angles

    Raises
    ------
    ValueError
        when no mode of the grid lies in one of the shells.
    """
    n = checked(density).shape[1]
    unit = fourier.k_fundamental(box_size)
    plan = _plan(n, tuple(float(k / unit) for k in (triangles.k1, triangles.k2, *triangles.k3)), str(density.device))
    delta_k = _resize(fourier.transform(density), plan.m)
    first, power_1 = plan.field(delta_k, 0)
    second, power_2 = plan.field(delta_k, 1)
    product = first * second
    sums, reduced_by = [], []
    for shell in range(2, len(plan.shells)):
        third, power_3 = plan.field(delta_k, shell)
        sums.append((product * third).sum(dim=(1, 2, 3), dtype=torch.float64) / plan.m**3)
        reduced_by.append(power_1 * power_2 + power_2 * power_3 + power_3 * power_1)
    volume = box_size**3
    mean = torch.stack(sums, dim=1).cpu().numpy() / plan.n_triangles
    denominator = torch.stack(reduced_by, dim=1).cpu().numpy() * (volume / n**6) ** 2
    value = mean * volume**2 / n**9
    return Bispectrum(triangles, plan.n_triangles, value, value / denominator)


@dataclass(frozen=True)
class _Plan:
    """What a grid and its shells need, whatever the field: computed once for a geometry."""

    m: int  # cells a side of the grid on which products are summed
    shells: list[Tensor]  # each (m, m, m//2 + 1) bool: which modes are in
    n_modes: list[float]  # of each shell, in the full sphere
    n_triangles: np.ndarray  # (nt,)

    def field(self, delta_k: Tensor, shell: int) -> tuple[Tensor, Tensor]:
        """Return the field that one shell's modes make, (b, m, m, m), and their mean |delta_k|², (b,) float64."""
        made = _inverse(delta_k * self.shells[shell], self.m)
        return made, made.square().sum(dim=(1, 2, 3), dtype=torch.float64) / (self.m**3 * self.n_modes[shell])


@lru_cache(maxsize=32)
def _plan(n: int, sides: tuple[float, ...], device: str) -> _Plan:
    """Plan for cubes of n cells a side and shells around ``sides`` [k_F]: first, second, and all third ones."""
    m = _grid(n, sides)
    q, _ = fourier.half_spectrum(m)
    present = _resize(torch.ones((1, n, n, n // 2 + 1)), m)[0].bool().numpy() & (q > 0)
    edges = [(np.array((side - 1, side + 1)) * (1 - fourier.EDGE_TOLERANCE)) for side in sides]
    shells = [torch.from_numpy(present & (q >= low) & (q < high)) for low, high in edges]
    for side, shell in zip(sides, shells, strict=True):
        if not shell.any():
            raise ValueError(f"no mode of {n}³ cells has a wavenumber within 1 of {side:.3g} fundamentals")
    ones = [_inverse(shell.to(torch.complex128), m) for shell in shells]
    n_modes = [float((field.square().sum() / m**3).round()) for field in ones]
    n_triangles = [float(((ones[0] * ones[1] * third).sum() / m**3).round()) for third in ones[2:]]
    return _Plan(m, [shell.to(device) for shell in shells], n_modes, np.asarray(n_triangles))


def _inverse(modes: Tensor, m: int) -> Tensor:
    """Return the field of the given modes, Σ_q modes exp(2πi q·j/m): no factor of 1/m³."""
    return torch.fft.irfftn(modes, s=(m, m, m), dim=(-3, -2, -1), norm="forward")


def _resize(delta_k: Tensor, m: int) -> Tensor:
    """Carry the modes that both grids hold, Nyquist planes left out, to a grid of m cells a side."""
    kept = (min(delta_k.shape[1], m) - 1) // 2  # largest component
    out = delta_k.new_zeros((len(delta_k), m, m, m // 2 + 1))
    parts = (slice(0, kept + 1), slice(-kept, None))
    for rows in parts:
        for columns in parts:
            out[:, rows, columns, : kept + 1] = delta_k[:, rows, columns, : kept + 1]
    return out


def _grid(n: int, sides: tuple[float, ...]) -> int:
    """Return the smallest grid with a fast transform on which no triangle of the given sides is wrapped around."""
    corner = np.sqrt(3) * ((n - 1) // 2)
    reach = [min(side + 1, corner) for side in sides]
    m = int(reach[0] + reach[1] + max(reach[2:])) + 1
    while not _fast(m):
        m += 1
    return m


def _fast(m: int) -> bool:
    for factor in FAST_FACTORS:
        while m % factor == 0:
            m //= factor
    return m == 1
