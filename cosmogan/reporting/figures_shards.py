"""Thin slabs of a few subvolumes, and the voxel PDF of all: what a folder of shards looks like."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke

from cosmogan.reporting.palette import BLACK, BLUE
from cosmogan.reporting.style import new, plain_log, show_slab, styled
from cosmogan.shards.folder import Folder
from cosmogan.shards.tally import Tally, edges
from hpc.files import whole_file
from hpc.log import say

N_SLABS = 4  # of each redshift
MAX_REDSHIFTS = 3  # of which slabs are drawn
DEPTH = 8  # a slab is a side over this
DECADES = 3  # of density that the colours span at most
MIN_CELLS = 10  # a bin with fewer is noise, and not drawn
LEAST_DRAWN = 1e-4  # density; the power law of nearly empty cells goes on below


@styled
def draw(folder: Folder, tallies: dict[float, Tally]) -> Figure:
    """Draw slabs of up to three redshifts on one logarithmic scale, and below them all redshifts' voxel PDFs."""
    shown = folder.redshift_values
    if len(shown) > MAX_REDSHIFTS:
        shown = tuple(shown[i] for i in np.linspace(0, len(shown) - 1, MAX_REDSHIFTS).round().astype(int))
    height = 1.55 * len(shown) + 0.75
    fig = new(7.2, height + 2.9)
    upper, lower = fig.subfigures(2, 1, squeeze=False, height_ratios=(height, 2.9)).flat
    _slabs(upper, folder, shown)
    _voxel_pdf(lower.subplots(), folder, tallies)
    return fig


@styled
def save(figure: Figure, path: Path, suffix: str) -> None:
    """Write a figure in the format that a suffix names; ticks are made only now, so the style must hold here too."""
    figure.savefig(path, format=suffix.lstrip("."), dpi=200)


def _slabs(fig: SubFigure, folder: Folder, redshifts: tuple[float, ...]) -> None:
    """Draw a row of slabs for each redshift, at the same places."""
    geometry = folder.geometry
    size, depth = geometry.subvolume_size, max(geometry.subvolume // DEPTH, 1)
    rows = [_spread(np.flatnonzero(folder.redshifts == redshift)) for redshift in redshifts]
    slabs = [[folder[int(row)][:depth].mean(axis=0) for row in line] for line in rows]
    names = [[_name(folder, int(row)) for row in line] for line in rows]
    norm = _norm(np.concatenate([slab.ravel() for line in slabs for slab in line]))
    axes = fig.subplots(len(rows), max(map(len, rows)), squeeze=False, sharex=True, sharey=True)
    for i, line in enumerate(slabs):
        for ax, slab, name in zip(axes[i], line, names[i], strict=False):
            image = show_slab(ax, slab, norm, size)
            if i == 0 or names[i] != names[0]:
                ax.set_title(name, fontsize=8)
        axes[i, 0].set_ylabel(f"z = {redshifts[i]:g}")
        for ax in axes[i]:
            ax.set_visible(bool(ax.images))
    fig.supxlabel("[Mpc/h]", fontsize=10)
    fig.supylabel("[Mpc/h]", fontsize=10)
    bar = fig.colorbar(image, ax=axes, fraction=0.03, pad=0.01, aspect=15 * len(rows), extend="both")
    bar.set_label(f"ρ/ρ̄ in slabs of {depth * geometry.cell_size:.3g} Mpc/h", fontsize=9)
    plain_log(bar.ax.yaxis)


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return a few rows: at every redshift the same places."""
    n = min(N_SLABS, len(rows))
    return rows[(np.arange(n) * len(rows) // max(n, 1) + len(rows) // (2 * max(n, 1)))]


def _norm(densities: np.ndarray) -> LogNorm:
    filled = densities[np.isfinite(densities) & (densities > 0)]
    low, high = np.percentile(filled, (1, 99.8)) if len(filled) else (0.5, 2.0)
    return LogNorm(max(low, high / 10**DECADES), max(high, 1.01 * low), clip=True)


def _name(folder: Folder, row: int) -> str:
    if folder.kind != "simulated":
        return f"subvolume {row}"
    return f"simulation {folder.simulations[row]}\ncorner {tuple(folder.corners[row].tolist())}"


def _voxel_pdf(ax: Axes, folder: Folder, tallies: dict[float, Tally]) -> None:
    """Draw each redshift's PDF and name it on its dense side; say how many cells have no place on a log axis."""
    middle = np.sqrt(edges()[1:] * edges()[:-1])
    curves = []
    for (redshift, tally), color in zip(tallies.items(), _colors(folder), strict=True):
        used = np.flatnonzero((tally.counts >= MIN_CELLS) & (middle >= LEAST_DRAWN))
        if len(used):
            ax.plot(middle[used], tally.pdf[used], color=color)
            curves.append((f"z = {redshift:g}", middle[used], tally.pdf[used], color))
    ax.set(xscale="log", yscale="log", xlabel="density of a cell, ρ/ρ̄", ylabel="fraction of cells per decade")
    ax.margins(x=0.02, y=0.08)
    _label(ax, sorted(curves, key=lambda curve: curve[1][-1]))
    empty = [f"{tally.n_empty / tally.n_voxels:.2g} (z = {z:g})" for z, tally in tallies.items() if tally.n_empty]
    if empty:
        ax.set_title("fraction of empty cells, not shown: " + ", ".join(empty), fontsize=8, loc="left")


def _label(ax: Axes, curves: list[tuple[str, np.ndarray, np.ndarray, Any]]) -> None:
    """Name curves, those that end first to the left: inside the first, outside the last, on the others between."""
    for i, (text, x, y, color) in enumerate(curves):
        peak = int(y.argmax())
        low, high = np.log(y[-1]), np.log(y[peak])
        at = peak + int(np.argmin(abs(np.log(y[peak:]) - (low + (high - low) * (0.15 + 0.5 * i / len(curves))))))
        side = 1 if i == len(curves) - 1 else (-1 if i == 0 else 0)
        align = {1: "left", 0: "center", -1: "right"}[side]
        annotation = ax.annotate(text, (x[at], y[at]), (7 * side, 0), textcoords="offset points", ha=align, va="center")
        annotation.set(color=color, path_effects=[withStroke(linewidth=3, foreground="white")])


def _colors(folder: Folder) -> list[Any]:
    """Return a colour a redshift: the style's own for one, a ramp that all can tell apart for several."""
    if len(folder.redshift_values) == 1:
        return [BLACK if folder.kind == "simulated" else BLUE]
    ramp = matplotlib.colormaps["plasma"]
    return [ramp(x) for x in np.linspace(0, 0.75, len(folder.redshift_values))]


def write(path: Path, folder: Folder, tallies: dict[float, Tally]) -> None:
    """Draw a folder into a file, and say its name."""
    with whole_file(path) as temporary:
        save(draw(folder, tallies), temporary, path.suffix)
    say(f"\nfigure: {path}")
