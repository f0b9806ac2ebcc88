"""Place panels in a figure by fixed margins in inches: a layout that measures every text takes as long as drawing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage

from cosmogan.reporting.style import DPI, NAMES

LETTER = 0.62 * NAMES / 72  # mean width of a letter [inches]
LABEL = 0.29  # from a panel down to its x label [inches]
BAR = 0.15  # width of a colour bar [inches]


@dataclass(frozen=True)
class Margins:
    """The space around and between panels [inches], for their ticks, labels and names."""

    left: float = 0.85
    right: float = 0.15
    bottom: float = 0.5
    top: float = 0.15
    across: float = 0.2
    down: float = 0.2

    def grid(self, width: float, height: float, rows: int, columns: int, **options: Any) -> dict[str, Any]:
        """Return them as settings of matplotlib's grid, in fractions of the figure and of a panel."""
        panel = (width - self.left - self.right - self.across * (columns - 1)) / columns
        tall = (height - self.top - self.bottom - self.down * (rows - 1)) / rows
        sides = {"left": self.left / width, "right": 1 - self.right / width}
        ends = {"bottom": self.bottom / height, "top": 1 - self.top / height}
        return {**sides, **ends, "wspace": self.across / panel, "hspace": self.down / tall, **options}


def room(names: Iterable[str]) -> float:
    """Return the space that names beside a panel take [inches]."""
    return 0.2 + LETTER * max(map(len, names))


def new_panels(
    size: tuple[float, float], margins: Margins, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure with panels, an array of axes (rows, columns).

    Parameters
    ----------
    size : width and height of the figure [inches]
    margins : around and between the panels
    options : of `Figure.subplots`, as shared axes and ratios of heights
    """
    fig = Figure(figsize=size, dpi=DPI)
    axes = fig.subplots(rows, columns, squeeze=False, gridspec_kw=margins.grid(*size, rows, columns), **options)
    for ax in axes.flat:
        _fix(ax)
    return fig, axes


def new_pairs(
    size: tuple[float, float], margins: Margins, rows: int, columns: int, lower: float
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Return a figure with pairs of panels that share x, row by row: a large one and one of ratios close below.

    Parameters
    ----------
    size : width and height of the figure [inches]
    margins : around and between the pairs
    rows, columns : of pairs
    lower : height of the lower panel over that of the upper one
    """
    fig = Figure(figsize=size, dpi=DPI)
    grid = GridSpec(rows, columns, fig, **margins.grid(*size, rows, columns))
    axes = []
    for i in range(rows * columns):
        pair = grid[i].subgridspec(2, 1, height_ratios=(1, lower), hspace=0.12)
        large = fig.add_subplot(pair[0])
        axes.append((large, fig.add_subplot(pair[1], sharex=large)))
        large.tick_params(labelbottom=False)
        for ax in axes[-1]:
            _fix(ax)
    return fig, axes


def _fix(ax: Axes) -> None:
    """Give title and x label places of their own, or each drawing measures all tick labels to keep clear of them."""
    ax.set_title("")
    height = ax.get_window_extent().height / DPI
    ax.xaxis.set_label_coords(0.5, -LABEL / height)


def color_bar(fig: Figure, image: AxesImage, margins: Margins, label: str) -> Colorbar:
    """Draw the colours' bar in the margin on the right of all panels."""
    width, height = fig.get_size_inches()
    side, bottom = 1 - (margins.right - 0.1) / width, margins.bottom / height
    axes = fig.add_axes((side, bottom, BAR / width, 1 - margins.top / height - bottom))
    return fig.colorbar(image, cax=axes, label=label, extend="both")
