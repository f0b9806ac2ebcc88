"""Set the figures' common style, axes and marks.

The noise floor is a grey band; curves are named at their ends.
"""

import io
from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter
from PIL import Image  # comes with matplotlib

from cosmogan.reporting.palette import BLACK, DARK_GREY, GREY

STYLE: dict[Any, Any] = {  # keys: settings of matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titley": 1.02,  # a place of its own, for which no text is measured
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 3,
    "savefig.facecolor": "white",
    "pdf.fonttype": 3,  # letters stay letters; type 42 takes longer than drawing the figure
}
DPI = 144
NEARLY_WHITE = 252  # of 255: the palette's white is not quite
K_LABEL = "k  [h/Mpc]"
NARROW, WIDE = 5.6, 11.0  # widths of figures [inches]: a column of the page, the page
LINEAR = 80  # [%]: larger ratios are drawn on a logarithmic axis
BACKING = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.6}  # behind words among curves
NAMES = 8.5  # size of the names at curves' ends


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Draw with this project's style, whatever matplotlib's settings are."""

    @wraps(draw)
    def drawn(*arguments: Any) -> Any:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments)

    return drawn


def new(width: float, height: float) -> Figure:
    """Return an empty figure [inches] that lays itself out and that no window ever sees."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def pixels(figure: Figure) -> np.ndarray:
    """Return a figure as an image (height, width, 4) uint8, drawn once."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


@styled
def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file's bytes; ticks are made only now, so the style must hold here too.

    It has 256 colours of its own, which take a quarter of the bytes of all colours.
    """
    image = Image.fromarray(pixels(figure)).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    palette = np.array(image.getpalette())
    image.putpalette(np.where(palette >= NEARLY_WHITE, 255, palette).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@styled
def pdf(figure: Figure) -> bytes:
    """Return a figure that was drawn before as a PDF file's bytes, the same ones for the same figure."""
    buffer = io.BytesIO()
    figure.set_layout_engine("none")  # it is laid out, which takes as long as drawing it
    FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis, whose data are drawn, 0.1, 0.2, 0.5, 1 … instead of with powers of ten."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def power_of_ten(value: float, position: int = 0) -> str:
    """Return 10ⁿ as a tick's label; matplotlib's own is a formula, which takes long to parse."""
    return "10" + f"{round(np.log10(value))}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def powers_of_ten(axis: Axis) -> None:
    """Label a logarithmic axis 10⁻², 10⁻¹, 10⁰, 10¹ …."""
    axis.set_major_formatter(FuncFormatter(power_of_ten))
    axis.set_minor_locator(NullLocator())


def k_axis(ax: Axes, k_nyquist: float, label: bool = True) -> None:
    """Make x a logarithmic wavenumber, and mark Nyquist: beyond it only corners of Fourier space are left."""
    ax.set_xscale("log")
    plain_log(ax.xaxis)
    ax.axvline(k_nyquist, color=GREY, lw=1, ls="--")
    if label:
        options: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "top", "fontsize": 8, "color": DARK_GREY}
        place = ("data", "axes fraction")
        ax.annotate("Nyquist", (k_nyquist, 0.98), (-4, 0), xycoords=place, textcoords="offset points", **options)


def mpc_axis(ax: Axes, h: float) -> None:
    """Show the paper's unit of k above a panel."""
    above = ax.secondary_xaxis("top", functions=(partial(np.multiply, h), partial(np.multiply, 1 / h)))
    above.set_xlabel("k  [1/Mpc]")
    plain_log(above.xaxis)


def level_line(ax: Axes, y: float, label: str = "") -> None:
    """Draw a dotted line at a level that is aimed at, named at its left end."""
    ax.axhline(y, color=GREY, lw=0.8, ls=":")
    options: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "color": DARK_GREY}
    ax.annotate(label, (0, y), (2, 1), fontsize=7, va="bottom", zorder=5, bbox=BACKING, **options)


def ratio_panel(ax: Axes, levels: tuple[float, ...], seen: Iterable[np.ndarray]) -> None:
    """Make y a ratio less 1 in per cent, with lines at the levels that are aimed at.

    Parameters
    ----------
    levels : [%], rising; drawn on both sides of zero
    seen : sizes [%] that the panel is to show: where they are large, it is logarithmic beyond 20 %
    """
    ax.axhline(0, color=BLACK, lw=0.8)
    for level in levels:
        level_line(ax, -level)
        level_line(ax, level, "±" + ", ".join(f"{each:g}" for each in levels) + " %" if level == levels[-1] else "")
    reach = 1.1 * max((np.nanmax(values, initial=0) for values in seen), default=0)
    if reach > LINEAR:
        ax.set_yscale("symlog", linthresh=20, linscale=1, subs=(2, 5))
        ticks = [10.0**power for power in range(1, 1 + int(np.log10(reach)))]
        ax.set_yticks([-100, *(-tick for tick in ticks if tick < 100), 0, *ticks])
        ax.yaxis.set_major_formatter("{x:g}")
    reach = max(reach, 2.5 * levels[-1])
    ax.set_ylim(-min(reach, 110), reach)


def noise_band(ax: Axes, x: np.ndarray, floor: np.ndarray, zero: float = 0) -> None:
    """Fill the noise floor (nx,) on both sides of what agreement is."""
    finite = np.isfinite(floor)
    ax.fill_between(x[finite], zero - floor[finite], zero + floor[finite], color=GREY, alpha=0.35, lw=0)


def show_band(ax: Axes, x: np.ndarray, percentiles: np.ndarray, color: str, dash: Any = "-") -> None:
    """Draw a set's median and fill what lies between its 16th and 84th percentiles (3, nx)."""
    low, median, high = percentiles
    ax.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
    ax.plot(x, median, color=color, ls=dash)


def show_slab(ax: Axes, slab: np.ndarray, norm: LogNorm, size: float, interpolation: str | None = None) -> AxesImage:
    """Draw a slab of density (n, n), its sides ``size`` long [Mpc/h]; empty cells have the lowest colour."""
    lowest = cast(float, norm.vmin)
    ax.spines[:].set_visible(False)
    options: dict[str, Any] = {"norm": norm, "cmap": "magma", "interpolation": interpolation}
    return ax.imshow(np.maximum(slab, lowest).T, origin="lower", extent=(0, size, 0, size), **options)


def name_ends(ax: Axes, ends: Iterable[tuple[str, str, Any]]) -> None:
    """Name curves at the panel's right side, each at its last value and apart from the others.

    Parameters
    ----------
    ax : its limits are set already
    ends : for each curve its name, its colour, and its values (nx,) or the last of them
    """
    ax.get_xlim(), ax.get_ylim()  # settles limits that follow the data
    lines = []
    for name, color, values in ends:
        finite = np.ravel(values)[np.isfinite(np.ravel(values))]
        if len(finite):
            height = ax.transAxes.inverted().transform(ax.transData.transform((1, finite[-1])))[1]
            lines.append((float(np.clip(height, 0, 1)), name, color))
    points = 72 * ax.get_window_extent().height / ax.figure.dpi
    lines.sort(key=lambda line: line[0])
    for y, (_, name, color) in zip(spread([line[0] for line in lines], 1.25 * NAMES / points), lines, strict=True):
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(name, (1, y), (5, 0), color=color, fontsize=NAMES, va="center", **place)


def spread(heights: list[float], gap: float) -> list[float]:
    """Return rising heights moved as little as needed to lie a gap apart, and below 1 where there is room."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    ceiling = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved
