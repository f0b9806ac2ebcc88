"""Mass assignment: particles on a mesh cut into subvolumes.

Node i lies at x = i L/n. A particle at u = x n/L gives weight to ``order`` nodes on each axis, the first of them
floor(u - order/2 + 1): NGP 1, CIC 2, TSC 3 (Hockney & Eastwood 1988, section 5-3), PCS 4 (Chaniotis & Poulikakos 2004).
"""

import numpy as np

from cosmogan.nbody import kernels

WINDOWS = {"ngp": 1, "cic": 2, "tsc": 3, "pcs": 4}  # nodes a side that a particle's cloud covers


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
    bad = kernels.paint((positions, weights), kernels.Mesh(*mesh, order), slots, density)
    if bad >= 0:
        raise BadPosition(bad, positions[bad], mesh[1] / mesh[0])


class BadPosition(ValueError):
    """A particle that cannot be in the box; ``row`` says which of those given."""

    def __init__(self, row: int, position: np.ndarray, box_size: float) -> None:
        found = ", ".join(f"{x:g}" for x in position)
        super().__init__(f"position ({found}): expected numbers within one box length of 0 to {box_size:g}")
        self.row = int(row)
