"""Figures to look at: volumes in three dimensions, and slabs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import Drawn
from cosmogan.reporting.layout import Margins, color_bar, new_panels
from cosmogan.reporting.palette import GREY, LABELS
from cosmogan.reporting.runs import Run
from cosmogan.reporting.style import DPI, NARROW, WIDE, pixels, plain_log, show_slab

AZIMUTH, ELEVATION = np.radians(-60), np.radians(24)  # from where volumes are looked at
CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
EDGES = [(a, b) for a in range(8) for b in range(a) if abs(CORNERS[a] - CORNERS[b]).sum() == 1]
LARGEST = 1.3  # side of the largest points, in cells
SMALLEST = 0.15  # [points]: what is smaller is not seen
SIDE = WIDE / 4  # of a volume's picture [inches]


def volumes(runs: Sequence[Run]) -> Drawn:
    """Draw volumes of N-body and of every run in the style of the paper's figure 4."""
    for run in runs:
        run.need("volumes")
    size = runs[0].tree["subvolume_size"]
    caption = (
        f"Random subvolumes, {size:.3g} Mpc/h a side, drawn as in the paper: a point in every cell, its area as "
        "(c + 1)⁵, c the scaled density of eq. (5); the colour is the position along the x axis. The "
        "densities are “volumes” of statistics.h5."
    )
    cubes = _cubes(runs)
    return Drawn(_volumes(cubes, 4), caption, narrow=_volumes(cubes, 2))


def _cubes(runs: Sequence[Run]) -> list[tuple[str, str, np.ndarray]]:
    """Return name, colour and picture of each volume, those of one set after those of the other."""
    shown = [(*LABELS["nbody"], volume) for volume in runs[0].tree["volumes"]["nbody"]]
    for run in runs:
        shown += [(run.name, run.color, volume) for volume in run.tree["volumes"]["generated"]]
    kappa = runs[0].tree["kappa"]
    largest = np.percentile(_radius(shown[0][2], kappa), 99.9)
    return [(name, color, _cube(_radius(volume, kappa) / largest)) for name, color, volume in shown]


def _cube(radius: np.ndarray) -> np.ndarray:
    """Return a picture (n, n, 4) of points of these sizes (m, m, m): drawn once, for all figures and files."""
    fig = Figure(figsize=(SIDE, SIDE), dpi=DPI)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    cell = 72 * SIDE / (1.7 * len(radius))  # [points]
    _points(ax, np.minimum(radius, 1.5) * (LARGEST * cell) ** 2)
    return pixels(fig)


def _volumes(cubes: Sequence[tuple[str, str, np.ndarray]], columns: int) -> Figure:
    """Draw the pictures of volumes in so many columns."""
    rows, width = -(-len(cubes) // columns), WIDE if columns > 2 else NARROW
    margins = Margins(left=0.05, right=0.05, bottom=0.05, top=0.3, across=0.05, down=0.3)
    fig, axes = new_panels((width, rows * (width / columns + 0.25)), margins, rows, columns)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, color, picture) in zip(axes.flat, cubes, strict=False):
        ax.imshow(picture)
        ax.set_title(name, color=color)
    return fig


def _radius(density: np.ndarray, kappa: float) -> np.ndarray:
    """Return the paper's size of a point, (c + 1)⁵."""
    return (2 * density / (density + kappa)) ** 5


def _points(ax: Axes, area: np.ndarray) -> None:
    """Draw a volume's cells as points [points²] inside the edges of a cube, the far ones first."""
    visible = area > SMALLEST**2
    cells = (np.argwhere(visible) + 0.5) / len(area)
    across, up, depth = _projected(cells)
    order = np.argsort(depth)
    edges = np.stack(_projected(CORNERS), axis=1)
    middle = np.median(edges[:, 2])
    for a, b in EDGES:
        front = min(edges[a, 2], edges[b, 2]) > middle
        ax.plot(edges[[a, b], 0], edges[[a, b], 1], color=GREY, lw=0.6, alpha=0.7, zorder=3 if front else 1)
    options = {"c": cells[order, 0], "cmap": "viridis", "vmin": 0, "vmax": 1, "alpha": 0.7, "lw": 0}
    ax.scatter(across[order], up[order], area[visible][order], zorder=2, **options)
    ax.set_aspect("equal")


def _projected(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places (n, 3) of a cube of side 1 as seen: across, up, and towards the eye."""
    x, y, z = (places - 0.5).T
    across = -x * np.sin(AZIMUTH) + y * np.cos(AZIMUTH)
    ahead = x * np.cos(AZIMUTH) + y * np.sin(AZIMUTH)
    up = z * np.cos(ELEVATION) - ahead * np.sin(ELEVATION)
    return across, up, ahead * np.cos(ELEVATION) + z * np.sin(ELEVATION)


def slices(runs: Sequence[Run]) -> Drawn:
    """Draw slabs of both sets on one logarithmic scale."""
    run = runs[0]
    run.need("examples")
    size = run.tree["subvolume_size"]
    caption = (
        f"Slabs {size / 8:.3g} Mpc/h thick, an eighth of the depth, of random subvolumes, on one logarithmic scale. "
        "The densities are “examples” of statistics.h5."
    )
    return Drawn(_slices(run, 4), caption, narrow=_slices(run, 2))


def _slices(run: Run, columns: int) -> Figure:
    """Draw so many slabs of N-body, and below as many generated ones."""
    size, slabs = run.tree["subvolume_size"], run.tree["examples"]
    width = WIDE if columns > 2 else NARROW
    margins = Margins(right=0.95, bottom=0.35, across=0.1, down=0.1)
    side = (width - margins.left - margins.right) / columns
    fig, axes = new_panels((width, 2 * side + 0.6), margins, 2, columns, sharex=True, sharey=True)
    nbody = slabs["nbody"]
    low, high = np.percentile(nbody[nbody > 0], (1, 99.8))
    norm = LogNorm(low, high, clip=True)
    for row, name in zip(axes, ("nbody", "generated"), strict=True):
        for ax, slab in zip(row, slabs[name], strict=False):
            image = show_slab(ax, slab, norm, size)
        row[0].set_ylabel(f"{LABELS[name][0]}  [Mpc/h]", color=LABELS[name][1])
    bar = color_bar(fig, image, margins, "density in a slab, ρ/ρ̄")
    plain_log(bar.ax.yaxis)
    return fig
