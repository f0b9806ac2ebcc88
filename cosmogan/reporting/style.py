"""What the figures have in common: style, colours, and the marks that stand for the same thing everywhere.

Colours are those of Okabe & Ito, told apart by all. N-body is black, generated blue, the training boxes orange and the
noise floor grey. Bands hold 16 to 84 % of the samples.
"""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

BLACK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#8a8a8a"
LABELS = {"nbody": ("N-body", BLACK), "generated": ("generated", BLUE), "training": ("training boxes", ORANGE)}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 3,
    "savefig.facecolor": "white",
}
K_LABEL = "k  [h/Mpc]"
NOISE_LABEL = "half of N-body over the other half"


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw with this project's style, whatever matplotlib's settings are."""

    @wraps(draw)
    def drawn(*arguments: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments)

    return drawn


def new(width: float, height: float) -> Figure:
    """Return an empty figure [inches] that lays itself out and that no window ever sees."""
    return Figure(figsize=(width, height), dpi=144, layout="constrained")


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis, whose data are drawn, 0.1, 0.2, 0.5, 1 … instead of with powers of ten."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file's bytes; ticks are made only now, so the style must hold here too."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def k_axis(ax: Axes, k_nyquist: float, label: bool = True) -> None:
    """Make x a logarithmic wavenumber, and mark Nyquist: beyond it only corners of Fourier space are left."""
    ax.set_xscale("log")
    plain_log(ax.xaxis)
    ax.axvline(k_nyquist, color=GREY, lw=1, ls="--")
    if label:
        options = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "color": "#606060"}
        ax.annotate("Nyquist", (k_nyquist, 0.98), (-4, 0), rotation=90, ha="right", va="top", fontsize=8, **options)


def level_line(ax: Axes, y: float, label: str) -> None:
    """Draw a dotted line at a level that is aimed at, named at its right end."""
    ax.axhline(y, color=GREY, lw=0.8, ls=":")
    ax.annotate(label, (1.005, y), xycoords=("axes fraction", "data"), fontsize=7, va="center", color="#606060")


def show_ratio(
    ax: Axes, k: np.ndarray, ratio: tuple[np.ndarray, np.ndarray], levels: tuple[float, ...], until: float
) -> None:
    """Draw generated over N-body, less 1, in per cent, with lines at the levels that are aimed at.

    Parameters
    ----------
    k : (nk,)
    ratio : (nk,) less 1, and its standard error
    levels : [%]; drawn on both sides of zero
    until : the panel is as high as the values up to here want; what leaves it beyond is cut off
    """
    value, error = ratio
    for level in levels:
        level_line(ax, level, "")
        level_line(ax, -level, f"±{level:g} %")
    ax.axhline(0, color=BLACK, lw=0.8)
    ax.errorbar(k, 100 * value, 100 * error, color=BLUE, fmt="o-", lw=1.3, label="generated")
    reach = 1.1 * np.nanmax(100 * (abs(value) + np.nan_to_num(error))[k <= until])
    reach = min(max(reach, 4 * max(levels)), 300)
    ax.set_ylim(-min(reach, 100), reach)


def legend_above(ax: Axes) -> None:
    """Put the legend in one row between this panel and the one above, where no data are."""
    ax.legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.98), borderaxespad=0)


def noise_band(ax: Axes, x: np.ndarray, noise_floor: np.ndarray) -> None:
    """Fill what lies between the 16th and 84th percentiles of N-body against N-body (n_splits, nx), in per cent."""
    low, high = np.nanpercentile(100 * noise_floor, (16, 84), axis=0)
    ax.fill_between(x, low, high, color=GREY, alpha=0.35, lw=0, label=NOISE_LABEL)


def show_band(ax: Axes, x: np.ndarray, percentiles: np.ndarray, name: str) -> None:
    """Draw one set's median and fill what lies between its 16th and 84th percentiles (3, nx)."""
    label, color = LABELS[name]
    low, median, high = percentiles
    ax.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
    ax.plot(x, median, color=color, label=label, ls="-" if name == "nbody" else "--")
