"""Make Gaussian initial conditions by second-order Lagrangian perturbation theory (Scoccimarro 1998, appendix D)."""

from collections.abc import Callable

import numpy as np
import torch

from cosmogan.nbody import cosmology
from cosmogan.nbody.gravity import inverse_laplacian, wavenumbers
from cosmogan.nbody.transforms import transform, transform_back


def unit_modes(n: int, seed: int, number: int) -> torch.Tensor:
    """Return the modes of one simulation's unit normal field: the same for every device, and for every n.

    They are drawn cube by cube, outwards: all modes whose largest |component| is 1, then 2, and so on. So a finer
    lattice has the modes of a coarser one, and more. Those at the Nyquist frequency, whose phase a lattice cannot hold,
    are zero.

    Parameters
    ----------
    n : nodes a side
    seed, number : name the simulation

    Returns
    -------
    (n, n, n//2 + 1) complex64 as ``rfftn`` orders them, with mean square 1 and a mean of zero
    """
    random = np.random.default_rng([seed, number])
    modes = np.zeros((n, n, n // 2 + 1), np.complex64)

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]

    for s in range(1, (n + 1) // 2):
        wide, inner = np.arange(-s, s + 1), np.arange(1 - s, s)
        side, ends = np.array([s]), np.array([-s, s])
        modes[np.ix_(wide, wide, side)] = draw(2 * s + 1, 2 * s + 1, 1)
        modes[np.ix_(ends, wide, np.arange(s))] = draw(2, 2 * s + 1, s)
        modes[np.ix_(inner, ends, np.arange(s))] = draw(2 * s - 1, 2, s)
    plane = modes[:, :, 0]  # of a real field: each mode is the conjugate of the one opposite
    plane[:, n // 2 + 1 :] = plane[-np.arange(n), 1 : (n + 1) // 2][:, ::-1].conj()
    plane[n // 2 + 1 :, 0] = plane[1 : (n + 1) // 2, 0][::-1].conj()
    return torch.from_numpy(modes).mul_(0.5**0.5)


def fix_amplitudes(modes: torch.Tensor) -> torch.Tensor:
    """Give every mode the amplitude 1, in place: power without cosmic variance (Angulo & Pontzen 2016)."""
    # One real operation after the other: a complex one rounds in more than one way, as its place in a thread's share.
    amplitude = (modes.real.square() + modes.imag.square()).sqrt_().clamp_(min=torch.finfo(torch.float32).tiny)
    torch.view_as_real(modes).div_(amplitude[..., None])
    return modes


def linear_modes(unit_modes: torch.Tensor, box_size: float, power: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
    """Return the modes of a Gaussian overdensity with a given power spectrum, in place of unit modes.

    Parameters
    ----------
    unit_modes : (n, n, n//2 + 1) complex, of mean square 1; overwritten
    box_size : [Mpc/h]
    power : takes wavenumbers [h/Mpc] and returns P(k) [(Mpc/h)³]

    Returns
    -------
    (n, n, n//2 + 1) complex: δ_k = unit_modes √P(k) n³/L^(3/2), with δ(x) = irfftn(δ_k); its mean is zero
    """
    n = unit_modes.shape[0]
    kx, ky, kz = wavenumbers(n, unit_modes.device)
    k_squared = kx**2 + ky**2 + kz**2
    # the integers k_squared take few values: the power spectrum is evaluated once for each
    table = 2 * np.pi / box_size * np.sqrt(np.arange(1, 3 * (n // 2) ** 2 + 1))
    amplitude = np.append(0.0, np.sqrt(power(table) / box_size**3) * n**3)
    return unit_modes.mul_(torch.from_numpy(amplitude).to(k_squared)[k_squared.long()])


def _derivative(phi_k: torch.Tensor, box_size: float, *axes: int) -> torch.Tensor:
    """Return the field's derivative along each of the axes in turn, (n, n, n) real.

    A mode at the Nyquist frequency is known at the nodes of its slope's sine only: its derivative is set to zero.
    """
    n = phi_k.shape[0]
    for axis in axes:
        k = wavenumbers(n, phi_k.device)[axis]
        phi_k = phi_k * (2j * np.pi / box_size * torch.where(abs(k) < n / 2, k, 0))
    return transform_back(phi_k)


def second_order_source(phi_k: torch.Tensor, box_size: float) -> torch.Tensor:
    """Return Σ_(i<j) φ_,ii φ_,jj - φ_,ij² (n, n, n)."""
    xx, yy, zz = (_derivative(phi_k, box_size, i, i) for i in range(3))
    source = xx * (yy + zz) + yy * zz
    for i, j in ((0, 1), (1, 2), (2, 0)):
        source -= _derivative(phi_k, box_size, i, j) ** 2
    return source


def _empty(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return float32 memory: on a CPU numpy's, which asks the system for huge pages."""
    return torch.from_numpy(np.empty(shape, np.float32)) if device.type == "cpu" else torch.empty(shape, device=device)


def displace(delta_k: torch.Tensor, box_size: float, a: float, omega_m: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the particles, one a mesh node at the outset, at scale factor a.

    x = q - D ∇φ1 + D2 ∇φ2 with ∇²φ1 = δ and ∇²φ2 = `second_order_source` (φ1).

    Parameters
    ----------
    delta_k : (n, n, n//2 + 1) modes of the linear overdensity today, as `linear_modes` gives them; overwritten
    box_size : [Mpc/h]

    Returns
    -------
    positions : (n³, 3) in [0, L], the node's last coordinate running fastest [Mpc/h]
    velocities : (n³, 3) dx/dD [Mpc/h]
    """
    n, device = delta_k.shape[0], delta_k.device
    first = inverse_laplacian(delta_k, box_size)
    second = inverse_laplacian(transform(second_order_source(first, box_size)), box_size)
    growth, growth_second = float(cosmology.growth(a, omega_m)), float(cosmology.growth_second(a, omega_m))
    slope = float(cosmology.growth_second_slope(a, omega_m))
    nodes = torch.arange(n, device=device) * (box_size / n)
    positions, velocities = (_empty((n, n, n, 3), device) for _ in range(2))
    for axis in range(3):
        psi, psi_second = -_derivative(first, box_size, axis), _derivative(second, box_size, axis)
        of_nodes = nodes.view([-1 if i == axis else 1 for i in range(3)])
        positions[..., axis] = of_nodes + (growth * psi + growth_second * psi_second)
        velocities[..., axis] = psi + slope * psi_second
    return positions.view(-1, 3).remainder_(box_size), velocities.view(-1, 3)
