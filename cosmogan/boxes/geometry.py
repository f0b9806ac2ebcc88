"""Decide the size of a box, and cut it into tiles on a fixed grid."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cosmogan.config import Box

TILE = 64  # cells a side; a tile is drawn as a whole, whatever part of it is wanted
WARNED, REFUSED = 0.02, 0.2  # relative, between the side of a cell and that of the training

Range = tuple[int, int]  # first cell, and the first beyond


@dataclass(frozen=True)
class BoxGeometry:
    """A box, its cells, and the part of it that is drawn."""

    box_size: float  #: [Mpc/h]
    n_mesh: int  #: cells a side
    region: tuple[Range, Range, Range]  #: of the cells on each axis

    @property
    def cell_size(self) -> float:
        """Side of a cell [Mpc/h]."""
        return self.box_size / self.n_mesh

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells of the region along each axis."""
        x, y, z = (stop - start for start, stop in self.region)
        return x, y, z

    def columns(self) -> list[tuple[Range, Range]]:
        """Return the cells in x and y of all columns of tiles that the region touches, cut to it."""
        x, y, _ = self.region
        return list(itertools.product(_pieces(x), _pieces(y)))

    def tiles(self, column: tuple[Range, Range]) -> Iterator["Tile"]:
        """Yield the tiles of a column."""
        for z in _pieces(self.region[2]):
            yield Tile((*column, z), self.n_mesh)


@dataclass(frozen=True)
class Tile:
    """The wanted part of a cube of `TILE` cells a side, or of fewer at the far faces of the box."""

    wanted: tuple[Range, Range, Range]
    n_mesh: int

    @property
    def corner(self) -> tuple[int, int, int]:
        """First cells of the whole tile."""
        x, y, z = (start // TILE * TILE for start, _ in self.wanted)
        return x, y, z

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells of the whole tile along each axis."""
        x, y, z = (min(TILE, self.n_mesh - first) for first in self.corner)
        return x, y, z

    @property
    def cut(self) -> tuple[slice, slice, slice]:
        """The wanted part in the whole tile."""
        pairs = zip(self.wanted, self.corner, strict=True)
        x, y, z = (slice(start - first, stop - first) for (start, stop), first in pairs)
        return x, y, z


def _pieces(cells: Range) -> list[Range]:
    """Return a range of cells, cut at the multiples of `TILE`."""
    start, stop = cells
    edges = [start, *range((start // TILE + 1) * TILE, stop, TILE), stop]
    return list(itertools.pairwise(edges))


def geometry(wanted: Box, trained: Mapping[str, Any]) -> BoxGeometry:
    """Return the geometry of a box.

    Parameters
    ----------
    wanted : settings
    trained : the generator's geometry: box_size [Mpc/h] and n_mesh of its training boxes

    Raises
    ------
    ValueError
        when cells are not those that the generator was trained on, or the region is not in the box.
    """
    cell = trained["box_size"] / trained["n_mesh"]
    size, n = wanted.box_size, wanted.n_mesh
    if n is None:
        n = trained["n_mesh"] if size is None else max(2, round(size / cell))
    if size is None:
        size = n * cell
    off = size / n / cell - 1
    if abs(off) > REFUSED:
        raise ValueError(
            f"box.n_mesh: {n} cells a side of {size:g} Mpc/h are {size / n:.4g} Mpc/h wide, the generator was trained "
            f"on {cell:.4g} Mpc/h; expected n_mesh near {round(size / cell)}"
        )
    if not wanted.region:
        return BoxGeometry(size, n, ((0, n),) * 3)
    first, count = wanted.region[:3], wanted.region[3:]
    x, y, z = ((start, start + cells) for start, cells in zip(first, count, strict=True))
    if max(x[1], y[1], z[1]) > n:
        raise ValueError(f"box.region: expected cells from 0 to {n - 1} on each axis, found {list(wanted.region)}")
    return BoxGeometry(size, n, (x, y, z))


def remarks(box: BoxGeometry, trained: Mapping[str, Any]) -> list[str]:
    """Return what to warn of: cells that differ from those of the training."""
    cell = trained["box_size"] / trained["n_mesh"]
    if abs(box.cell_size / cell - 1) <= WARNED:
        return []
    return [f"cells of {box.cell_size:.4g} Mpc/h, but the generator was trained on {cell:.4g} Mpc/h"]
