"""Mass assignment: the compiled kernels that put particles on a mesh cut into subvolumes.

Node i lies at x = i L/n. A particle at u = x n/L gives weight to ``order`` nodes on each axis, the first of them
floor(u - order/2 + 1): NGP 1, CIC 2, TSC 3 (Hockney & Eastwood 1988, section 5-3), PCS 4 (Chaniotis & Poulikakos 2004).

The kernels take particles in blocks that stay in the L1 cache. What every particle needs is computed for a whole block
in loops that the compiler turns into vector instructions; only then are the cells added to, one particle after the
other in the order given, so that a cell's sum never depends on how particles were cut into blocks or calls.
"""

import numba
import numpy as np

WINDOWS = {"ngp": 1, "cic": 2, "tsc": 3, "pcs": 4}  # nodes a side that a particle's cloud covers
BLOCK = 512  # particles; what is kept of each takes some 20 kB
SPLIT = -2  # marks a particle whose cloud lies in several subvolumes
MAX_MESH = 1 << 20  # cells a side: below it single precision finds a cell's subvolume exactly

f32, i32, i64, u32, u64 = np.float32, np.int32, np.int64, np.uint32, np.uint64


@numba.njit(cache=True, nogil=True, error_model="numpy")
def locate(positions, start, count, mesh, order, sub, first, fraction):
    """Find where the clouds of a block of particles begin.

    Sets, for each particle and axis in turn, ``sub``, the subvolume of the cloud's first node; ``first``, its cell
    therein; and ``fraction``, how far the particle's place is behind it, in [0, 1). Returns the row of the first
    particle that cannot be in the box, or -1.
    """
    cells_per_length, n_mesh, side = mesh
    shift = 2.0 - 0.5 * order  # one more than the formula's, so that truncation is the floor just below 0, too
    per_side, x = f32(1.0 / side), positions.reshape(-1)[3 * start : 3 * (start + count)]
    for p in range(3 * count):
        u = x[p] * cells_per_length + shift
        above = i32(u)
        first[p] = i32(above - i32(1))
        fraction[p] = f32(u - float(above))
    signs = i32(0)
    for p in range(3 * count):
        cell = first[p]
        s = i32((f32(cell) + f32(0.5)) * per_side)
        first[p] = i32(cell - i32(s * i32(side))) if u32(cell) < u32(n_mesh) else i32(-1)
        sub[p] = s
        signs = i32(signs | first[p])
    if signs < 0:
        for p in range(3 * count):
            if first[p] < 0 and not _wrap(x[p], mesh, order, p, sub, first, fraction):
                return start + p // 3
    return -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _wrap(x, mesh, order, p, sub, first, fraction):
    """Do what ``locate`` does for a coordinate whose cloud begins outside; False when it is too far or not a number."""
    cells_per_length, n_mesh, side = mesh
    u = x * cells_per_length
    if not (-n_mesh <= u <= 2 * n_mesh):
        return False
    u += 1.0 - 0.5 * order
    low = np.floor(u)
    cell = int(low) % n_mesh
    sub[p], first[p], fraction[p] = cell // side, cell % side, f32(u - low)
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def axis_weights(order, d, out):
    """Set the weights of the ``order`` nodes from the first on, ``d`` behind it: B-splines of that order."""
    one, e = f32(1), f32(1) - d
    if order == 1:
        out[0] = one
    elif order == 2:
        out[0], out[1] = e, d
    elif order == 3:
        middle = d - f32(0.5)
        out[0], out[1], out[2] = f32(0.5) * e * e, f32(0.75) - middle * middle, f32(0.5) * d * d
    else:
        sixth = f32(1.0 / 6.0)
        out[0], out[3] = sixth * e * e * e, sixth * d * d * d
        out[1] = sixth * (f32(4) - f32(6) * d * d + f32(3) * d * d * d)
        out[2] = sixth * (f32(4) - f32(6) * e * e + f32(3) * e * e * e)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def next_cell(sub, cell, side, n_side):
    """Return the subvolume and the cell that follow on an axis."""
    cell = i32(cell + 1)
    if cell < side:
        return sub, cell
    return i32(sub + 1 if sub + 1 < n_side else 0), i32(0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_split(p, weight, mesh, order, slots, sub, first, spline, out):
    """Add one cloud cell by cell, each to the subvolume that it lies in."""
    side, n_side = i32(mesh[2]), i32(mesh[1] // mesh[2])
    sa, a = sub[3 * p], first[3 * p]
    for i in range(order):
        sb, b = sub[3 * p + 1], first[3 * p + 1]
        for j in range(order):
            sc, c = sub[3 * p + 2], first[3 * p + 2]
            w = spline[0, i] * weight * spline[1, j]
            for k in range(order):
                slot = slots[u64(i32(i32(sa * n_side + sb) * n_side + sc))]
                if slot >= 0:
                    row = (u64(slot) * u64(side) + u64(a)) * u64(side) + u64(b)
                    out[row * u64(side) + u64(c)] += w * spline[2, k]
                sc, c = next_cell(sc, c, side, n_side)
            sb, b = next_cell(sb, b, side, n_side)
        sa, a = next_cell(sa, a, side, n_side)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def in_one_subvolume(count, mesh, order, sub, first):
    """Say whether a block of particles lies in one subvolume, clouds and all, as neighbours in a snapshot often do."""
    last, differ, beyond = i32(mesh[2] - order), i32(0), i32(0)
    for p in range(3 * count - 3):
        differ = i32(differ | (sub[p] ^ sub[p + 3]))
    for p in range(3 * count):
        beyond = i32(beyond | i32(last - first[p]))
    return (differ == 0) & (beyond >= 0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place_block(count, mesh, order, slots, sub, first, place):
    """Set where in the output each cloud begins: the index of its first cell, -1 when unwanted, or SPLIT.

    Returns whether any of them is wanted.
    """
    side, n_side, last = u64(mesh[2]), u64(mesh[1] // mesh[2]), i32(mesh[2] - order)
    if in_one_subvolume(count, mesh, order, sub, first):
        slot = slots[(u64(sub[0]) * n_side + u64(sub[1])) * n_side + u64(sub[2])]
        if slot < 0:
            return False
        for p in range(count):
            row = (u64(slot) * side + u64(first[3 * p])) * side + u64(first[3 * p + 1])
            place[p] = i64(row * side + u64(first[3 * p + 2]))
        return True
    for p in range(count):
        a, b, c = first[3 * p], first[3 * p + 1], first[3 * p + 2]
        slot = slots[(u64(sub[3 * p]) * n_side + u64(sub[3 * p + 1])) * n_side + u64(sub[3 * p + 2])]
        begin = i64(((u64(slot) * side + u64(a)) * side + u64(b)) * side + u64(c)) if slot >= 0 else i64(-1)
        place[p] = begin if (a <= last) & (b <= last) & (c <= last) else i64(SPLIT)
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_cic(weights, mesh, slots, located, out, spline):
    """Add a block of CIC clouds."""
    sub, first, fraction, place = located
    one, m = u64(1), u64(mesh[2])
    plane, weighted, weight = m * m, len(weights) > 0, f32(1)
    for p in range(len(place)):
        if weighted:
            weight = weights[p]
        da, db, dc = fraction[3 * p], fraction[3 * p + 1], fraction[3 * p + 2]
        if place[p] >= 0:
            i = u64(place[p])
            ea, eb, ec = (f32(1) - da) * weight, f32(1) - db, f32(1) - dc
            da = da * weight
            w = ea * eb
            out[i] += w * ec
            out[i + one] += w * dc
            w, j = ea * db, i + m
            out[j] += w * ec
            out[j + one] += w * dc
            w, j = da * eb, i + plane
            out[j] += w * ec
            out[j + one] += w * dc
            w, j = da * db, j + m
            out[j] += w * ec
            out[j + one] += w * dc
        elif place[p] == SPLIT:
            for axis in range(3):
                axis_weights(2, fraction[3 * p + axis], spline[axis])
            _add_split(p, weight, mesh, 2, slots, sub, first, spline, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_any(weights, mesh, order, slots, located, out, spline):
    """Add a block of clouds of any order."""
    sub, first, fraction, place = located
    side, weight = mesh[2], f32(1)
    for p in range(len(place)):
        if len(weights) > 0:
            weight = weights[p]
        for axis in range(3):
            axis_weights(order, fraction[3 * p + axis], spline[axis])
        if place[p] >= 0:
            for a in range(order):
                for b in range(order):
                    w = spline[0, a] * weight * spline[1, b]
                    row = u64(place[p] + (a * side + b) * side)
                    for c in range(order):
                        out[row + u64(c)] += w * spline[2, c]
        elif place[p] == SPLIT:
            _add_split(p, weight, mesh, order, slots, sub, first, spline, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _paint(positions, weights, mesh, order, slots, out):
    """Add all clouds; return the row of the first particle that cannot be in the box, or -1."""
    sub, first, fraction = np.empty(3 * BLOCK, i32), np.empty(3 * BLOCK, i32), np.empty(3 * BLOCK, f32)
    place, spline = np.empty(BLOCK, i64), np.empty((3, 4), f32)
    for start in range(0, len(positions), BLOCK):
        count = min(BLOCK, len(positions) - start)
        bad = locate(positions, start, count, mesh, order, sub, first, fraction)
        if bad >= 0:
            return bad
        if not _place_block(count, mesh, order, slots, sub, first, place):
            continue
        located, part = (sub, first, fraction, place[:count]), weights[start : start + count]
        if order == 2:
            _add_cic(part, mesh, slots, located, out, spline)
        else:
            _add_any(part, mesh, order, slots, located, out, spline)
    return -1


def paint(
    positions: np.ndarray,
    mesh: tuple[float, int, int],
    slots: np.ndarray,
    density: np.ndarray,
    weights: np.ndarray | None = None,
    order: int = 2,
) -> None:
    """Add particles' clouds to some of a periodic mesh's subvolumes, in place and in the order given.

    Parameters
    ----------
    positions : (n, 3) float32 or float64, C-contiguous, within one box length of the box
    mesh : cells per length n_mesh/L (in the inverse of the positions' unit), cells a side of the mesh, cells a side
        of a subvolume (a divisor; ``n_mesh`` itself for the mesh in one piece)
    slots : (n_side³,) int32, where in ``density`` each subvolume is (numbered with the last axis fastest); -1: not
        wanted, what falls there is passed over
    density : (number of slots, m, m, m) float32, C-contiguous, added to
    weights : (n,) float32, 1 when not given
    order : of the window: NGP 1, CIC 2, TSC 3, PCS 4

    Raises
    ------
    BadPosition
        for a position that is not a number, or more than a box length outside the box. Particles before it are added.
    """
    given = np.empty(0, f32) if weights is None else weights
    bad = _paint(positions, given, (float(mesh[0]), int(mesh[1]), int(mesh[2])), order, slots, density.reshape(-1))
    if bad >= 0:
        raise BadPosition(bad, positions[bad], mesh[1] / mesh[0])


class BadPosition(ValueError):
    """A particle that cannot be in the box; ``row`` says which of those given."""

    def __init__(self, row: int, position: np.ndarray, box_size: float) -> None:
        found = ", ".join(f"{x:g}" for x in position)
        super().__init__(f"position ({found}): expected numbers within one box length of 0 to {box_size:g}")
        self.row = int(row)
