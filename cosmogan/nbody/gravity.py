"""Compute gravity on a mesh: CIC counts, the Poisson equation in Fourier space, the force at particles by CIC.

The slope of the potential is its four-point difference, which is odd, so that painting and reading with one
window conserves momentum. What depends on the device is painting and reading: compiled kernels in threads for
the CPU, torch for a GPU; each gives the same bytes on every run, whatever the number of threads.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from cosmogan.nbody import gravity_cpu
from cosmogan.nbody.gravity_cpu import FAR, NEAR

GPU_PIECE = 1 << 24
FIXED_POINT = 1 << 32  # integers add up to the same sum in any order, floating-point numbers do not


def gravity(positions: torch.Tensor, box_size: float, n_mesh: int) -> torch.Tensor:
    """Return g = -∇φ at the particles, ∇²φ = δ: the displacement, in linear theory.

    Parameters
    ----------
    positions : (n, 3) float32 in [0, L] [Mpc/h]
    box_size : [Mpc/h]
    n_mesh : cells a side

    Returns
    -------
    (n, 3) float32 [Mpc/h]
    """
    read = read_slope_cpu if positions.device.type == "cpu" else read_slope_torch
    return read(positions, potential(positions, box_size, n_mesh), box_size).neg_()


def potential(positions: torch.Tensor, box_size: float, n_mesh: int) -> torch.Tensor:
    """Return φ (n_mesh, n_mesh, n_mesh) of ∇²φ = δ, in (Mpc/h)²; arguments as of `gravity`."""
    if positions.device.type == "cpu":
        return torch.from_numpy(gravity_cpu.Field(len(positions), n_mesh, box_size).potential(positions.numpy()))
    delta_k = torch.fft.rfftn(paint_torch(positions, box_size, n_mesh))
    delta_k *= n_mesh**3 / len(positions)
    # Particles that start on a lattice leave its harmonics in the counts. A mesh as coarse as the lattice sees none
    # of them and can be freed of both windows, which brings its power at a third of its Nyquist frequency from 0.83 to
    # 1.00 of that of a mesh four times finer; a finer one would amplify them (its correlation there falls to 0.97).
    if n_mesh**3 <= len(positions):
        divide_by_windows(delta_k)
    return torch.fft.irfftn(inverse_laplacian(delta_k, box_size), s=(n_mesh,) * 3)


def wavenumbers(n: int, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the modes of ``rfftn`` along each axis, in units of 2π/L, shaped to broadcast; |k| ≤ n/2."""
    full = torch.fft.fftfreq(n, 1 / n, device=device)
    half = torch.fft.rfftfreq(n, 1 / n, device=device)
    return full.view(n, 1, 1), full.view(1, n, 1), half.view(1, 1, -1)


def inverse_laplacian(modes: torch.Tensor, box_size: float) -> torch.Tensor:
    """Turn δ_k (n, n, n//2 + 1) into φ_k = -δ_k/k² in place, its mean zero, and return it."""
    kx, ky, kz = wavenumbers(modes.shape[0], modes.device)
    k_squared = kx**2 + ky**2 + kz**2
    k_squared[0, 0, 0] = torch.inf
    return modes.mul_(-((box_size / (2 * np.pi)) ** 2) / k_squared)


def divide_by_windows(modes: torch.Tensor) -> None:
    """Divide modes (n, n, n//2 + 1) by the CIC windows of painting and reading, Π sinc⁴(k_i/n), in place."""
    n = modes.shape[0]
    for k in wavenumbers(n, modes.device):
        modes /= torch.sinc(k / n) ** 4


# On a CPU ----------------------------------------------------------------------------------------------------


def paint_cpu(positions: torch.Tensor, box_size: float, n_mesh: int) -> torch.Tensor:
    """Return the CIC particle counts (n_mesh, n_mesh, n_mesh)."""
    return torch.from_numpy(gravity_cpu.Field(len(positions), n_mesh, box_size).paint(positions.numpy()))


def read_slope_cpu(positions: torch.Tensor, potential: torch.Tensor, box_size: float) -> torch.Tensor:
    """Return ∇φ (n, 3) at the positions."""
    return torch.from_numpy(gravity_cpu.slope(positions.numpy(), potential.numpy(), box_size))


# On a GPU ----------------------------------------------------------------------------------------------------


def paint_torch(positions: torch.Tensor, box_size: float, n_mesh: int) -> torch.Tensor:
    """Return the CIC particle counts (n_mesh, n_mesh, n_mesh), added up in fixed point."""
    mesh = torch.zeros(n_mesh**3, dtype=torch.int64, device=positions.device)
    for piece in positions.split(GPU_PIECE):
        for cell, weight in _corners(piece, n_mesh / box_size, n_mesh):
            mesh.index_add_(0, cell, (weight * FIXED_POINT).long())
    return mesh.float().div_(FIXED_POINT).view((n_mesh,) * 3)


def read_slope_torch(positions: torch.Tensor, potential: torch.Tensor, box_size: float) -> torch.Tensor:
    """Return ∇φ (n, 3) at the positions."""
    n_mesh = potential.shape[0]
    values = torch.empty_like(positions)
    for axis in range(3):
        slope = NEAR * (potential.roll(-1, axis) - potential.roll(1, axis))
        slope += FAR * (potential.roll(-2, axis) - potential.roll(2, axis))
        slope = slope.mul_(n_mesh / box_size).view(-1)
        for piece, out in zip(positions.split(GPU_PIECE), values.split(GPU_PIECE), strict=True):
            out[:, axis] = sum(weight * slope[cell] for cell, weight in _corners(piece, n_mesh / box_size, n_mesh))
    return values


def _corners(positions: torch.Tensor, per_length: float, n: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the eight cells that a particle's cloud touches, as (m,) places in the flat mesh, and its weights there."""
    place = positions.T.contiguous().double().mul_(per_length)  # (3, m): the numbers of an axis lie together
    low = place.floor()
    far, low = place.sub_(low).float(), low.long()
    weights, cells = (1 - far, far), (low.remainder(n), low.add_(1).remainder_(n))
    for cell in cells:
        cell[0] *= n * n
        cell[1] *= n
    for corner in itertools.product((0, 1), repeat=3):
        a, b, c = (cells[side][axis] for axis, side in enumerate(corner))
        x, y, z = (weights[side][axis] for axis, side in enumerate(corner))
        yield (a + b).add_(c), (x * y).mul_(z)
