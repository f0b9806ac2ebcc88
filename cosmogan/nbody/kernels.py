"""The compiled kernels of `_kernels.c`: mass assignment and routing."""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np

CARRIES = 1 << 17  # that are listed at most; the kernels want room for 512 particles of 64 cells


class Mesh(ctypes.Structure):
    """A periodic mesh cut into subvolumes, and the window that particles are given.

    Parameters
    ----------
    cells_per_length : in the inverse of the positions' unit
    n_mesh, side : cells a side of the mesh, and of a subvolume
    order : of the window
    """

    _fields_ = (
        ("cells_per_length", ctypes.c_double),
        ("n_mesh", ctypes.c_int32),
        ("side", ctypes.c_int32),
        ("n_side", ctypes.c_int32),
        ("order", ctypes.c_int32),
    )

    def __init__(self, cells_per_length: float, n_mesh: int, side: int, order: int) -> None:
        super().__init__(cells_per_length, n_mesh, side, n_mesh // side, order)


class _Particles(ctypes.Structure):
    _fields_ = (
        ("positions", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("is_double", ctypes.c_int32),
    )


class Sums(ctypes.Structure):
    """Cells as whole numbers of a unit, and the list of what went beyond their 32 bits.

    Parameters
    ----------
    cells : (n, m, m, m) uint32, C-contiguous
    scale : units in a weight of 1
    """

    _fields_ = (
        ("_cells", ctypes.c_void_p),
        ("_carries", ctypes.c_void_p),
        ("n_carries", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )

    def __init__(self, cells: np.ndarray, scale: float) -> None:
        self.carries = np.empty((CARRIES, 2), np.int64)  # cell, and how often 2³² units
        super().__init__(_checked(cells, np.uint32), _checked(self.carries, np.int64), 0, CARRIES, scale)


Particles = tuple[np.ndarray, np.ndarray | None]  # positions (n, 3) float32 or float64; weights (n,) float32, or 1 each


def _load() -> ctypes.CDLL:
    """Load the library that was built when the package was installed."""
    here = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = here / f"_kernels{suffix}"
        if path.exists():
            library = ctypes.CDLL(str(path))
            library.cosmogan_paint.restype = library.cosmogan_address.restype = ctypes.c_int64
            library.cosmogan_sort.restype = None
            return library
    raise ImportError(
        f"{here}: _kernels{EXTENSION_SUFFIXES[0]} not found: it is compiled when cosmogan is installed; "
        "run `pip install -e .` again, with a C compiler at hand"
    )


_LIBRARY = _load()


def paint(particles: Particles, mesh: Mesh, slots: np.ndarray, sums: Sums) -> int:
    """Add clouds to ``sums``, while there is room for carries; return how many, as `cosmogan_paint` does.

    The arguments of `cosmogan.nbody.paint.Painter`.
    """
    given = (ctypes.byref(mesh), _checked(slots, np.int32), ctypes.byref(sums))
    return int(_LIBRARY.cosmogan_paint(_particles(particles), *given))


def address(particles: Particles, mesh: Mesh, owner: np.ndarray, destination: np.ndarray, counts: np.ndarray) -> int:
    """Set where particles go, and count; return the row of the first that cannot be in the box, or -1.

    The arguments of `cosmogan.nbody.decompose.Router.address`.
    """
    given = (_checked(owner, np.int32), _checked(destination, np.int32), _checked(counts, np.int64))
    return int(_LIBRARY.cosmogan_address(_particles(particles), ctypes.byref(mesh), *given))


def sort(
    particles: Particles,
    mesh: Mesh,
    owner: np.ndarray,
    destination: np.ndarray,
    next_row: np.ndarray,
    out: Particles,
) -> None:
    """Put each particle behind the last one of its destination, at ``next_row`` and on, which is moved along.

    The arguments of `cosmogan.nbody.decompose.Router.sort`.
    """
    given = (_checked(owner, np.int32), _checked(destination, np.int32), _checked(next_row, np.int64))
    _LIBRARY.cosmogan_sort(_particles(particles), ctypes.byref(mesh), *given, _particles(out))


def _particles(particles: Particles) -> object:
    positions, weights = particles
    is_double = positions.dtype == np.float64
    where = _checked(positions, np.float64 if is_double else np.float32)
    masses = None if weights is None else _checked(weights, np.float32)
    return ctypes.byref(_Particles(where, masses, len(positions), is_double))


def _checked(array: np.ndarray, dtype: type) -> ctypes.c_void_p:
    """Return where an array lies, when it is what the kernels take for granted."""
    assert array.dtype == dtype and array.flags.c_contiguous and array.dtype.isnative, (array.dtype, array.flags)
    return ctypes.c_void_p(array.ctypes.data)
