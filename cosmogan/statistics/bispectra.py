"""Compute bispectra of batches of subvolumes: three transforms on a small grid for all angles of a pair of sides.

A triangle is three modes q1 + q2 + q3 = 0, one from each of three shells of half-width k_F around k1, k2 and k3:

    k_i - k_F ≤ k_F |q_i| < k_i + k_F,       k3² = k1² + k2² + 2 k1 k2 cos θ

as in Pylians (θ = 0: k1 and k2 parallel). With D_i(x) the field that the modes of shell i make and C(q) the transform
of D1 D2, the sum over all triangles is one over the third shell's modes only (Scoccimarro 2000, arXiv:astro-ph/0004086,
with the sum over cells taken into Fourier space):

    Σ delta(q1) delta(q2) delta(q3) = Σ_q3 delta(q3) C*(q3)
    B = V²/n⁹ Σ delta delta delta / N_triangles        Q = B / (P1 P2 + P2 P3 + P3 P1)

P_i being the mean power of shell i, and N_triangles the same sum with unit modes. So a pair takes two inverse
transforms and one back, however many angles there are. A product of fields on a grid of m cells a side also finds
"triangles" with q1 + q2 + q3 = m on an axis: none, when m exceeds the sum of the shells' three largest components.
The transforms are made on the smallest such grid, which for large scales is much smaller than the subvolume's own.
Inverse ones leave out the lines that hold only zeros: a shell has no mode in most of them.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cosmogan.statistics import fourier
from cosmogan.statistics.fields import Density, batch, pieces
from cosmogan.statistics.fourier import NONE, Correction
from cosmogan.statistics.result import Result, axes, band, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The paper's pairs (k1, k2) [1/Mpc], for subvolumes of 64 Mpc and 64 cells a side, and its ten angles.
PAPER_PAIRS = ((0.2, 0.2), (0.2, 0.3), (0.5, 1.0), (1.0, 2.0), (2.0, 2.0), (0.1, 0.5))
PAPER_SIDE = 64.0
PAPER_CELLS = 64
PAPER_ANGLES = np.linspace(0, 2.5, 10)
FAST_ODD_PARTS = (1, 3, 5, 9, 15)  # times powers of two: sides whose transforms are fast


@dataclass(frozen=True)
class Triangles:
    """One pair of sides and the angles between them."""

    k1: float  #: [h/Mpc]
    k2: float  #: [h/Mpc]
    theta: np.ndarray  #: (nt,) [rad]; anything that numpy takes, or one number

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", np.array(self.theta, np.float64, ndmin=1))  # results make it read-only

    @property
    def k3(self) -> np.ndarray:
        """Third sides, (nt,) [h/Mpc]."""
        return np.sqrt(np.maximum(self.k1**2 + self.k2**2 + 2 * self.k1 * self.k2 * np.cos(self.theta), 0))


@dataclass(frozen=True)
class Bispectrum(Result):
    """B and Q of each sample of a batch, for one pair of sides."""

    #: [h/Mpc]
    k1: float = field(metadata=quantity(units="h/Mpc"))
    #: [h/Mpc]
    k2: float = field(metadata=quantity(units="h/Mpc"))
    #: (nt,) [rad]
    theta: np.ndarray = field(metadata=quantity("theta", units="rad"))
    #: (nt,) [h/Mpc]
    k3: np.ndarray = field(metadata=quantity("theta", units="h/Mpc"))
    #: (nt,) ordered triples of modes of the full sphere
    n_triangles: np.ndarray = field(metadata=quantity("theta"))
    #: (b, nt) float64 [(Mpc/h)⁶]
    bispectrum: np.ndarray = field(metadata=quantity("sample", "theta", units="(Mpc/h)^6"))
    #: (b, nt) float64
    reduced: np.ndarray = field(metadata=quantity("sample", "theta"))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the reduced bispectrum's median and its 16 to 84 % against the angle; return the axes."""
        ax = axes(ax)
        band(ax, self.theta, self.reduced)
        title = f"k₁ = {self.k1:.3g}, k₂ = {self.k2:.3g} h/Mpc"
        ax.set(title=title, xlabel="θ  [rad]", ylabel="reduced bispectrum Q")
        return ax


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
    by_sides: dict[tuple[float, float], Triangles] = {}
    for pair in PAPER_PAIRS:
        q1, q2 = (k * PAPER_SIDE / (2 * np.pi) for k in pair)
        if max(q1, q2) > largest:
            q1, q2 = q1 * n / PAPER_CELLS, q2 * n / PAPER_CELLS
        triangles = Triangles(q1 * unit, q2 * unit, PAPER_ANGLES)
        fits = triangles.k3 <= largest * unit
        if min(q1, q2) > 1 and max(q1, q2) <= largest and fits.any():
            by_sides.setdefault((round(q1, 6), round(q2, 6)), Triangles(q1 * unit, q2 * unit, PAPER_ANGLES[fits]))
    return list(by_sides.values())


def bispectrum(density: Density, box_size: float, triangles: Triangles, correction: Correction = NONE) -> Bispectrum:
    """Compute the bispectrum of every sample, for one pair of sides and several angles.

    Parameters
    ----------
    density : (b, n, n, n) or (n, n, n) in units of the mean density; each sample's own mean is taken off
    box_size : side of the cube [Mpc/h]
    triangles : sides and angles
    correction : what is taken out; by default nothing

    Raises
    ------
    ValueError
        when a shell reaches beyond Nyquist, no mode of the grid lies in it, or ``box_size`` is no positive length.
    """
    parts = []
    for part in pieces(batch(density)):
        delta_k = fourier.transform(part, correction.window)
        parts.append(of_modes(delta_k, box_size, triangles, correction.shot_noise))
    return joined(parts)


def joined(parts: list[Bispectrum]) -> Bispectrum:
    """Return the bispectra of all parts of a batch, for the same triangles, as one."""
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("bispectrum", "reduced")}
    return Bispectrum(**{**vars(parts[0]), **values})


def of_modes(delta_k: Tensor, box_size: float, triangles: Triangles, shot_noise: float = 0.0) -> Bispectrum:
    """Compute the bispectrum from modes that are known already.

    Parameters
    ----------
    delta_k : (b, n, n, n//2 + 1) complex, from `fourier.transform`
    box_size, triangles : as in `bispectrum`
    shot_noise : 1/n̄ [(Mpc/h)³]: B loses (P1 + P2 + P3)/n̄ + 1/n̄², with P_i without theirs
    """
    n, volume = delta_k.shape[1], box_size**3
    unit = fourier.k_fundamental(box_size)
    plan = _plan(n, tuple(float(k / unit) for k in (triangles.k1, triangles.k2, *triangles.k3)), str(delta_k.device))
    sums, powers = plan.sums(delta_k)
    value = sums.cpu().numpy() / plan.n_triangles * (volume**2 / n**9)
    power = powers.cpu().numpy() * (volume / n**6) - shot_noise
    p1, p2, p3 = power[:, :1], power[:, 1:2], power[:, 2:]
    value = value - shot_noise * (p1 + p2 + p3) - shot_noise**2
    with np.errstate(invalid="ignore"):  # uniform volumes have none
        reduced = value / (p1 * p2 + p2 * p3 + p3 * p1)
    return Bispectrum(triangles.k1, triangles.k2, triangles.theta, triangles.k3, plan.n_triangles, value, reduced)


@dataclass(frozen=True)
class _Shell:
    """The modes of a shell: where they lie in the half spectra of the fields' grid and of the small one."""

    in_field: Tensor  # (modes,) int64, of n³ cells
    in_grid: Tensor  # (modes,) int64, of ``shape``
    shape: tuple[int, int, int]  # (m, m, m//2 + 1), or (m, 2 r + 1, r + 1) where no component exceeds r
    weight: Tensor  # (modes,) float64: how many modes each stored one stands for


@dataclass(frozen=True)
class _Plan:
    """The shells and weights that all fields on a grid share, computed once for a geometry."""

    m: int  # cells a side of the small grid
    first: _Shell
    second: _Shell | None  # None: the same as the first
    third: _Shell  # all third shells together
    members: Tensor  # (modes of third, nt) float64: weights of the modes of each third shell
    n_modes: Tensor  # (2 + nt,) of each shell, in the full sphere
    n_triangles: np.ndarray = field(default_factory=lambda: np.ones(1))  # (nt,)

    def sums(self, delta_k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums over triangles, (b, nt), and the shells' mean |delta_k|², (b, 2 + nt); float64."""
        modes = delta_k.reshape(len(delta_k), -1)
        third = modes[:, self.third.in_field]
        size = (self.m,) * 3
        field_1, power_1 = self._field(modes, self.first)
        field_2, power_2 = (field_1, power_1) if self.second is None else self._field(modes, self.second)
        product = torch.fft.rfftn(field_1 * field_2, s=size, dim=(1, 2, 3), norm="forward")
        product = product.reshape(len(modes), -1)[:, self.third.in_grid]
        total = (third.real * product.real + third.imag * product.imag).double() @ self.members
        power_3 = _square(third) @ self.members
        return total, torch.cat([power_1, power_2, power_3], dim=1) / self.n_modes

    def _field(self, modes: Tensor, shell: _Shell) -> tuple[Tensor, Tensor]:
        """Return the field that one shell's modes make, (b, m, m, m), and their summed |delta_k|², (b, 1) float64."""
        chosen, last = modes[:, shell.in_field], shell.shape[2]
        compact = modes.new_zeros((len(modes), math.prod(shell.shape)))
        compact[:, shell.in_grid] = chosen
        compact = torch.fft.ifft(compact.unflatten(1, shell.shape), dim=1, norm="forward")
        grid = modes.new_zeros((len(modes), self.m, self.m, last))
        grid[:, :, :last] = compact[:, :, :last]
        grid[:, :, 1 - last :] = compact[:, :, last:]
        grid = torch.fft.ifft(grid, dim=2, norm="forward")
        filtered = torch.fft.irfft(grid, n=self.m, dim=3, norm="forward")
        return filtered, (_square(chosen) @ shell.weight)[:, None]


def _square(modes: Tensor) -> Tensor:
    return (modes.real.square() + modes.imag.square()).double()


@lru_cache(maxsize=32)
def _plan(n: int, sides: tuple[float, ...], device: str) -> _Plan:
    """Plan for cubes of n cells a side and shells around ``sides`` [k_F]: first, second, and all third ones."""
    _check_sides(n, sides)
    upper = (np.array(sides) + 1) * (1 - fourier.EDGE_TOLERANCE)
    lower = (np.array(sides) - 1) * (1 - fourier.EDGE_TOLERANCE)
    largest = np.ceil(upper).astype(int) - 1  # components of modes in a shell
    m = _grid(int(largest[0] + largest[1] + largest[2:].max()))
    q, weight = fourier.half_spectrum(n)
    inside = [(q > 0) & (q >= low) & (q < high) for low, high in zip(lower, upper, strict=True)]
    for side, shell in zip(sides, inside, strict=True):
        if not shell.any():
            raise ValueError(f"no mode of {n}³ cells has a wavenumber within 1 of {side:.3g} fundamentals")
    union = np.logical_or.reduce(inside[2:])
    members = np.stack([shell[union] * weight[union] for shell in inside[2:]], axis=1)
    first, second = (
        _shell(shell, weight, (m, 2 * reach + 1, reach + 1), device)
        for shell, reach in zip(inside[:2], largest[:2].tolist(), strict=True)
    )
    third = _shell(union, weight, (m, m, m // 2 + 1), device)
    n_modes = torch.tensor([(shell * weight).sum() for shell in inside], dtype=torch.float64, device=device)
    other = None if sides[0] == sides[1] else second
    plan = _Plan(m, first, other, third, torch.from_numpy(members).to(device), n_modes)
    ones = torch.ones((1, n, n, n // 2 + 1), dtype=torch.complex128, device=device)
    return dataclasses.replace(plan, n_triangles=plan.sums(ones)[0][0].round().cpu().numpy())


def _check_sides(n: int, sides: tuple[float, ...]) -> None:
    """Raise a ValueError when a shell reaches beyond Nyquist."""
    side = max(sides)
    if side + 1 > n / 2 * (1 + fourier.EDGE_TOLERANCE):
        raise ValueError(
            f"triangles: a side of {side:.4g} fundamentals, with a shell that reaches {side + 1:.4g}; expected shells "
            f"up to {n / 2:g}, the Nyquist wavenumber of {n}³ cells: modes beyond it exist in some directions only"
        )


def _shell(chosen: np.ndarray, weight: np.ndarray, shape: tuple[int, int, int], device: str) -> _Shell:
    """Find the chosen modes of the half spectrum of n³ cells, (n, n, n//2 + 1) bool, in one of ``shape``."""
    n = len(chosen)
    x, y, z = np.nonzero(chosen)
    x, y = (np.where(2 * i < n, i, i - n) % side for i, side in zip((x, y), shape[:2], strict=True))
    parts = (np.flatnonzero(chosen), (x * shape[1] + y) * shape[2] + z, weight[chosen])
    modes, places, weights = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)
    return _Shell(modes, places, shape, weights)


def _grid(reach: int) -> int:
    """Return the side of the smallest grid with a fast transform on which three components do not wrap around."""
    m = reach + 1
    while m // (m & -m) not in FAST_ODD_PARTS:
        m += 1
    return m
