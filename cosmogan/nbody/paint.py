"""Cloud-in-cell mass assignment: the compiled kernel that all CPU painting goes through."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath=False)
def _paint(positions, weights, cells_per_length, n_mesh, corner, out):
    ma, mb, mc = out.shape
    weight = np.float32(1.0)
    for p in range(positions.shape[0]):
        if weights.shape[0] > 0:
            weight = weights[p]
        ua = positions[p, 0] * cells_per_length
        ub = positions[p, 1] * cells_per_length
        uc = positions[p, 2] * cells_per_length
        fa, fb, fc = np.floor(ua), np.floor(ub), np.floor(uc)
        da, db, dc = np.float32(ua - fa), np.float32(ub - fb), np.float32(uc - fc)
        # the cell's place in the subvolume, in [0, n_mesh): x = L and what lies just outside are wrapped
        a = (int(fa) - corner[0]) % n_mesh
        b = (int(fb) - corner[1]) % n_mesh
        c = (int(fc) - corner[2]) % n_mesh
        if a + 1 < ma and b + 1 < mb and c + 1 < mc:
            wa, wb, wc = (np.float32(1) - da) * weight, np.float32(1) - db, np.float32(1) - dc
            va = da * weight
            out[a, b, c] += wa * wb * wc
            out[a, b, c + 1] += wa * wb * dc
            out[a, b + 1, c] += wa * db * wc
            out[a, b + 1, c + 1] += wa * db * dc
            out[a + 1, b, c] += va * wb * wc
            out[a + 1, b, c + 1] += va * wb * dc
            out[a + 1, b + 1, c] += va * db * wc
            out[a + 1, b + 1, c + 1] += va * db * dc
        else:
            for i in range(2):
                ai = a + i if a + i < n_mesh else 0
                wa = weight * (da if i else np.float32(1) - da)
                for j in range(2):
                    bj = b + j if b + j < n_mesh else 0
                    wb = db if j else np.float32(1) - db
                    for k in range(2):
                        ck = c + k if c + k < n_mesh else 0
                        wc = dc if k else np.float32(1) - dc
                        if ai < ma and bj < mb and ck < mc:
                            out[ai, bj, ck] += wa * wb * wc


def paint(
    positions: np.ndarray,
    cells_per_length: float,
    n_mesh: int,
    corner: tuple[int, int, int],
    out: np.ndarray,
    weights: np.ndarray | None = None,
) -> None:
    """Add particles' clouds to a cuboid of a periodic mesh, in place.

    Node i lies at x = i·L/n_mesh: a particle there puts all its weight on cell i. Cells of the mesh outside the
    cuboid are passed over; a cuboid as large as the mesh takes every cloud whole.

    Parameters
    ----------
    positions : (n, 3) float32 or float64, within one box length of the box
    cells_per_length : n_mesh / L, in the inverse of the positions' unit
    n_mesh : cells a side of the mesh
    corner : first cell of the cuboid
    out : (a, b, c) float32, added to
    weights : (n,) float32, 1 when not given
    """
    if weights is None:
        weights = np.empty(0, np.float32)
    _paint(positions, weights, float(cells_per_length), n_mesh, np.asarray(corner, np.int64), out)
