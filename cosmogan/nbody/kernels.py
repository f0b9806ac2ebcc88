"""Call the compiled kernels: mass assignment and routing (`_kernels.c`), the simulator's mesh (`_gravity.c`)."""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 8  # planes and rows of a pencil, as in _gravity.c
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


@lru_cache(1)
def _library() -> ctypes.CDLL:
    """Return the library that was compiled when the package was installed."""
    return load(Path(__file__).with_name("_kernels.so"))


def load(path: Path) -> ctypes.CDLL:
    """Load a library of the kernels.

    Raises
    ------
    ValueError
        when it was not compiled, or for another machine or version: says how to compile it.
    """
    try:
        library = ctypes.CDLL(str(path))
        library.cosmogan_paint.restype = library.cosmogan_address.restype = ctypes.c_int64
        library.cosmogan_density.restype = ctypes.c_uint64
        for name in ("sort", "count", "number", "paint_pencils", "push_pencils", "drift", "solve"):
            getattr(library, f"cosmogan_{name}").restype = None
    except (OSError, AttributeError) as error:
        reason = str(error).removeprefix(f"{path}: ") if path.exists() else "not found"
        raise ValueError(
            f"{path}: {reason}; it is compiled when cosmogan is installed: run `make install` or `pip install -e .` "
            "again, with a C compiler at hand"
        ) from None
    return library


def paint(particles: Particles, mesh: Mesh, slots: np.ndarray, sums: Sums) -> int:
    """Add clouds to ``sums``, while there is room for carries; return how many, as `cosmogan_paint` does.

    The arguments of `cosmogan.nbody.paint.Painter`.
    """
    given = (ctypes.byref(mesh), _checked(slots, np.int32), ctypes.byref(sums))
    return int(_library().cosmogan_paint(_particles(particles), *given))


def density(cells: np.ndarray, unit: float) -> int:
    """Turn sums (n,) uint32, in place, into float32 numbers of ``unit`` each; return their total in units."""
    given = (_checked(cells, np.uint32), ctypes.c_int64(len(cells)), ctypes.c_double(unit))
    return int(_library().cosmogan_density(*given))


def address(particles: Particles, mesh: Mesh, owner: np.ndarray, destination: np.ndarray, counts: np.ndarray) -> int:
    """Set where particles go, and count; return the row of the first that cannot be in the box, or -1.

    The arguments of `cosmogan.nbody.decompose.Router.address`.
    """
    given = (_checked(owner, np.int32), _checked(destination, np.int32), _checked(counts, np.int64))
    return int(_library().cosmogan_address(_particles(particles), ctypes.byref(mesh), *given))


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
    _library().cosmogan_sort(_particles(particles), ctypes.byref(mesh), *given, _particles(out))


class _Field(ctypes.Structure):
    _fields_ = (
        ("cells", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("per_length", ctypes.c_double),
    )


def count(positions: np.ndarray, per_length: float, mesh: np.ndarray, counts: np.ndarray) -> None:
    """Add the number of positions (n, 3) in each pencil of a mesh (m, m, m) to ``counts``."""
    given = (_checked(positions, np.float32), ctypes.c_int64(len(positions)), _field(per_length, mesh))
    _library().cosmogan_count(*given, _checked(counts, np.int64))


def number(
    positions: np.ndarray, first: int, mesh: tuple[float, np.ndarray], places: np.ndarray, order: np.ndarray
) -> None:
    """Put the numbers of positions (n, 3), from ``first`` on, each to its pencil's next place, which is moved along.

    Parameters
    ----------
    mesh : cells per length, and the mesh (m, m, m)
    """
    given = (_checked(positions, np.float32), ctypes.c_int64(len(positions)), _field(*mesh), ctypes.c_uint32(first))
    _library().cosmogan_number(*given, _checked(places, np.int64), _checked(order, np.uint32))


class Pencils(NamedTuple):
    """Particles by pencils of the mesh (columns along its last axis), those that have their first plane in common.

    Parameters
    ----------
    order : the particles' numbers, uint32, pencil by pencil
    ends : (pencils + 1,) int64, where in it each pencil begins, and the last one ends
    plane : the first of them
    """

    order: np.ndarray
    ends: np.ndarray
    plane: int


class _Pencils(ctypes.Structure):
    _fields_ = (
        ("order", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("plane", ctypes.c_int64),
        ("copy", ctypes.c_void_p),
    )

    def __init__(self, pencils: Pencils, n: int) -> None:
        self.nodes = np.empty((SIDE + 5) ** 2 * (n + 5), np.float32)  # of a pencil and what is read around it
        given = _checked(pencils.order, np.uint32), _checked(pencils.ends, np.int64)
        super().__init__(*given, pencils.plane, _checked(self.nodes, np.float32))


def paint_pencils(positions: np.ndarray, pencils: Pencils, per_length: float, mesh: np.ndarray) -> None:
    """Add the CIC clouds of the positions (n, 3) in some pencils to a mesh (m, m, m)."""
    given = (_checked(positions, np.float32), ctypes.byref(_Pencils(pencils, len(mesh))))
    _library().cosmogan_paint_pencils(*given, _field(per_length, mesh))


def push_pencils(
    particles: tuple[np.ndarray, np.ndarray],
    pencils: Pencils,
    per_length: float,
    potential: np.ndarray,
    factors: np.ndarray,
) -> None:
    """Kick the particles in some pencils by -∇φ and move them, in place.

    The gradient is the four-point difference along each axis, interpolated by CIC.

    Parameters
    ----------
    particles : positions and velocities (n, 3)
    factors : of v, of the kick, of the move, and the box size
    """
    given = (*(_checked(values, np.float32) for values in particles), ctypes.byref(_Pencils(pencils, len(potential))))
    _library().cosmogan_push_pencils(*given, _field(per_length, potential), _checked(factors, np.float32))


def drift(positions: np.ndarray, velocities: np.ndarray, growth: float, box_size: float) -> None:
    """Move positions (n, 3) by velocities (n, 3) times ``growth``, less than a box length, in place."""
    given = _checked(positions, np.float32), _checked(velocities, np.float32), ctypes.c_int64(positions.size)
    _library().cosmogan_drift(*given, ctypes.c_float(growth), ctypes.c_float(box_size))


class _Modes(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("first", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("plane", ctypes.c_int64),
        ("k_squared", ctypes.c_void_p),
        ("inverse", ctypes.c_void_p),
        ("factor", ctypes.c_float),
    )


def solve(modes: np.ndarray, first: int, k_squared: np.ndarray, inverse: np.ndarray, factor: float) -> None:
    """Multiply modes by factor/k² and the inverse windows, in place, and set the mean to zero.

    Parameters
    ----------
    modes : (n, rows, n//2 + 1) complex64, of the second axis those from ``first`` on
    k_squared, inverse : (n,) float32, for each mode along an axis: its share of k², and of the inverse windows
    """
    n, rows, row = modes.shape
    plane, step, number = modes.strides
    assert modes.dtype == np.complex64 and number == 8 and step == 8 * row, (modes.dtype, modes.strides)
    given = (modes.ctypes.data, n, first, rows, row, plane // 8)
    values = np.empty(row, np.float32)
    tables = _checked(k_squared, np.float32), _checked(inverse, np.float32)
    _library().cosmogan_solve(ctypes.byref(_Modes(*given, *tables, factor)), _checked(values, np.float32))


def _field(per_length: float, mesh: np.ndarray) -> object:
    """Return a mesh (n, n, n) float32 whose rows may lie further apart than they are long."""
    n, (plane, row, number) = len(mesh), mesh.strides
    assert mesh.dtype == np.float32 and number == 4 and plane == n * row and row % 4 == 0, (mesh.dtype, mesh.strides)
    return ctypes.byref(_Field(mesh.ctypes.data, n, row // 4, per_length))


def _particles(particles: Particles) -> object:
    positions, weights = particles
    is_double = positions.dtype == np.float64
    where = _checked(positions, np.float64 if is_double else np.float32)
    masses = None if weights is None else _checked(weights, np.float32)
    return ctypes.byref(_Particles(where, masses, len(positions), is_double))


def _checked(array: np.ndarray, dtype: type) -> ctypes.c_void_p:
    """Return the address of an array, once its type and layout are those that the kernels expect."""
    assert array.dtype == dtype and array.flags.c_contiguous and array.dtype.isnative, (array.dtype, array.flags)
    return ctypes.c_void_p(array.ctypes.data)
