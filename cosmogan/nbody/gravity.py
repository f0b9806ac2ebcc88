"""Gravity from a mesh: CIC counts, the Poisson equation in Fourier space, the force at each particle by CIC again.

The slope of the potential is its four-point difference, which is odd, so that painting and reading with one
window conserves momentum. What depends on the device is painting and reading: compiled kernels in threads for
the CPU, torch for a GPU; each gives the same bytes on every run, whatever the number of threads.
"""

import itertools
from collections.abc import Iterator

import numba
import numpy as np
import torch

from cosmogan.nbody.transforms import in_threads, pieces, transform, transform_back

SLAB = 4  # mesh planes that one thread paints; the slabs of even number touch no plane in common, nor do the odd
PIECE = 1 << 18  # particles that a thread takes at once
GPU_PIECE = 1 << 24
FIXED_POINT = 1 << 32  # integers add up to the same sum in any order, floating-point numbers do not
NEAR, FAR = 2 / 3, -1 / 12  # weights of the four-point difference


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
    assign = paint_cpu if positions.device.type == "cpu" else paint_torch
    delta_k = transform(assign(positions, box_size, n_mesh))
    delta_k *= n_mesh**3 / len(positions)
    # Particles that start on a lattice leave its harmonics in the counts. A mesh as coarse as the lattice sees none
    # of them and can be freed of both windows, which brings its power at a third of its Nyquist frequency from 0.83 to
    # 1.00 of that of a mesh four times finer; a finer one would amplify them (its correlation there falls to 0.97).
    if n_mesh**3 <= len(positions):
        divide_by_windows(delta_k)
    return transform_back(inverse_laplacian(delta_k, box_size))


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
    per_length = n_mesh / box_size
    x, ends = _sorted_by_slab(positions.numpy(), per_length, n_mesh)
    mesh = np.zeros((n_mesh,) * 3, np.float32)
    n_slabs = len(ends) - 1

    def work(slab: int) -> None:
        _paint(x[ends[slab] : ends[slab + 1]], per_length, mesh)

    # The last slab reaches into the first: where both are even it comes alone.
    turns = [2 if slab == n_slabs - 1 and slab % 2 == 0 else slab % 2 for slab in range(n_slabs)]
    for turn in range(3):
        in_threads(work, [(slab,) for slab in range(n_slabs) if turns[slab] == turn])
    return torch.from_numpy(mesh)


def read_slope_cpu(positions: torch.Tensor, potential: torch.Tensor, box_size: float) -> torch.Tensor:
    """Return ∇φ (n, 3) at the positions."""
    n_mesh = potential.shape[0]
    per_length = n_mesh / box_size
    phi, slope = np.ascontiguousarray(potential.numpy()), np.empty((n_mesh, n_mesh, n_mesh, 3), np.float32)
    in_threads(_difference, [(phi, start, stop, per_length, slope) for start, stop in pieces(n_mesh, SLAB)])
    values = torch.empty_like(positions)
    x, out = positions.numpy(), values.numpy()
    in_threads(_read, [(x[start:stop], per_length, slope, out[start:stop]) for start, stop in pieces(len(x), PIECE)])
    return values


def _sorted_by_slab(positions: np.ndarray, per_length: float, n_mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of positions (n, 3) sorted by slab, in their order within, and the slabs' first places and n."""
    parts = [positions[start:stop] for start, stop in pieces(len(positions), PIECE)]
    counts = np.zeros((len(parts), -(-n_mesh // SLAB)), np.int64)
    in_threads(_count, [(piece, per_length, n_mesh, row) for piece, row in zip(parts, counts, strict=True)])
    # a piece's first place in a slab: after all smaller slabs, and after the pieces before it
    places = np.cumsum(counts.T).reshape(counts.T.shape).T - counts
    ends = np.append(places[0], len(positions))
    ordered = np.empty_like(positions)
    rows = np.ascontiguousarray(places)
    in_threads(_scatter, [(piece, per_length, n_mesh, row, ordered) for piece, row in zip(parts, rows, strict=True)])
    return ordered, ends


@numba.njit(cache=True, nogil=True)
def _slab(x, per_length, n_mesh):
    return ((int(x * per_length + 1.0) - 1) % n_mesh) // SLAB  # the plane that `_paint` begins at, to the last bit


@numba.njit(cache=True, nogil=True)
def _paint(positions, per_length, mesh):
    """Add the CIC clouds of positions (m, 3) to a mesh (n, n, n)."""
    n = mesh.shape[0]
    one = np.float32(1)
    for p in range(positions.shape[0]):
        ua, ub, uc = positions[p, 0] * per_length, positions[p, 1] * per_length, positions[p, 2] * per_length
        fa, fb, fc = np.floor(ua), np.floor(ub), np.floor(uc)
        da, db, dc = np.float32(ua - fa), np.float32(ub - fb), np.float32(uc - fc)
        a, b, c = int(fa) % n, int(fb) % n, int(fc) % n
        a1, b1, c1 = a + 1 if a + 1 < n else 0, b + 1 if b + 1 < n else 0, c + 1 if c + 1 < n else 0
        for i, wa in ((a, one - da), (a1, da)):
            for j, wb in ((b, wa * (one - db)), (b1, wa * db)):
                mesh[i, j, c] += wb * (one - dc)
                mesh[i, j, c1] += wb * dc


@numba.njit(cache=True, nogil=True)
def _count(positions, per_length, n_mesh, counts):
    for p in range(positions.shape[0]):
        counts[_slab(positions[p, 0], per_length, n_mesh)] += 1


@numba.njit(cache=True, nogil=True)
def _scatter(positions, per_length, n_mesh, places, out):
    for p in range(positions.shape[0]):
        slab = _slab(positions[p, 0], per_length, n_mesh)
        out[places[slab]] = positions[p]
        places[slab] += 1


@numba.njit(cache=True, nogil=True)
def _difference(phi, first, last, per_length, out):
    """Put the slope of planes ``first`` to ``last`` of a field (n, n, n) into (n, n, n, 3)."""
    n = phi.shape[0]
    near, far = np.float32(NEAR * per_length), np.float32(FAR * per_length)
    for a in range(first, last):
        a1, a2, a_1, a_2 = (a + 1) % n, (a + 2) % n, (a - 1) % n, (a - 2) % n
        for b in range(n):
            b1, b2, b_1, b_2 = (b + 1) % n, (b + 2) % n, (b - 1) % n, (b - 2) % n
            for c in range(n):
                c1, c2 = c + 1 if c + 1 < n else c + 1 - n, c + 2 if c + 2 < n else c + 2 - n
                c_1, c_2 = c - 1 if c >= 1 else c - 1 + n, c - 2 if c >= 2 else c - 2 + n
                out[a, b, c, 0] = near * (phi[a1, b, c] - phi[a_1, b, c]) + far * (phi[a2, b, c] - phi[a_2, b, c])
                out[a, b, c, 1] = near * (phi[a, b1, c] - phi[a, b_1, c]) + far * (phi[a, b2, c] - phi[a, b_2, c])
                out[a, b, c, 2] = near * (phi[a, b, c1] - phi[a, b, c_1]) + far * (phi[a, b, c2] - phi[a, b, c_2])


@numba.njit(cache=True, nogil=True)
def _read(positions, per_length, field, out):
    """Interpolate a field (n, n, n, 3) to positions (m, 3) by CIC, into (m, 3)."""
    n = field.shape[0]
    one = np.float32(1)
    for p in range(positions.shape[0]):
        ua, ub, uc = positions[p, 0] * per_length, positions[p, 1] * per_length, positions[p, 2] * per_length
        fa, fb, fc = np.floor(ua), np.floor(ub), np.floor(uc)
        da, db, dc = np.float32(ua - fa), np.float32(ub - fb), np.float32(uc - fc)
        a, b, c = int(fa) % n, int(fb) % n, int(fc) % n
        x = y = z = np.float32(0)
        for i in range(2):
            ai = a + i if a + i < n else 0
            wa = da if i else one - da
            for j in range(2):
                bj = b + j if b + j < n else 0
                wb = wa * (db if j else one - db)
                for k in range(2):
                    ck = c + k if c + k < n else 0
                    weight = wb * (dc if k else one - dc)
                    x += weight * field[ai, bj, ck, 0]
                    y += weight * field[ai, bj, ck, 1]
                    z += weight * field[ai, bj, ck, 2]
        out[p, 0], out[p, 1], out[p, 2] = x, y, z


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
