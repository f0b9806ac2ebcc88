"""Figures of whole boxes of a local generator beside the simulations of the same initial modes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.reporting.criteria import BELOW_NYQUIST
from cosmogan.reporting.exhibit import Drawn
from cosmogan.reporting.layout import Margins, new_panels
from cosmogan.reporting.palette import BLACK, GREY
from cosmogan.reporting.runs import Run
from cosmogan.reporting.style import NARROW, WIDE, k_axis, level_line, name_ends, show_slab
from cosmogan.shards.statistics_file import Tree

SLABS = ("simulation", "quick simulation", "generated")


def refinement(runs: Sequence[Run]) -> Drawn:
    """Draw the power, the correlation with the simulation, and the scatter among draws, against k."""
    run, group = runs[0], runs[0].need("whole_boxes")
    table = {"k [h/Mpc]": group["k"]}
    for name in ("power_ratio", "quick_ratio", "correlation", "mean_correlation", "quick_correlation", "scatter_ratio"):
        table |= {name: group[name]["mean"], f"{name} error": group[name]["error"]}
    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    off = abs(group["power_ratio"]["mean"][low] - 1)
    at = int(np.argmax(off))
    faces = group["faces"].mean(0)
    caption = (
        f"Whole held-out boxes, {group['n_draws']} draws of each, beside the simulation of the same initial modes; "
        "bars are errors over boxes. Left: mean P(k) over the simulation's. Middle: correlation with the simulation. A "
        "draw is as likely as the simulation where its correlation is the square of that of the mean of many draws. "
        "Right: power of the draws about their mean over that of the simulation about it. "
        f"{run.name}: P(k) is furthest off at k = {group['k'][low][at]:.2g} h/Mpc ({100 * off[at]:.1f} %). Steps of "
        f"ln ρ between neighbours are {faces[0]:.3f} rms across faces of subvolumes, and {faces[1]:.3f} elsewhere."
    )
    return Drawn(_panels(run, group, 3), caption, table, narrow=_panels(run, group, 1))


def _panels(run: Run, group: Tree, columns: int) -> Figure:
    margins = Margins(left=0.8, right=1.1, top=0.3, across=1.75, down=0.7)
    fig, axes = new_panels((WIDE if columns == 3 else NARROW, 3.2 * 3 / columns), margins, 3 // columns, columns)
    power, correlation, scatter = np.ravel(axes)
    drawn, mean, quick = (run.color, "-"), (run.color, "--"), (GREY, "-")
    _lines(power, group, {"power_ratio": (run.name, *drawn), "quick_ratio": ("quick", *quick)})
    for level in (0.98, 1.02):
        level_line(power, level)
    power.set(ylabel="P / P of the simulation", ylim=(min(0.6, group["quick_ratio"]["mean"].min()), 1.3))
    names = {"correlation": ("draw", *drawn), "mean_correlation": ("mean", *mean)}
    _lines(correlation, group, names | {"quick_correlation": ("quick", *quick)})
    correlation.set(ylabel="correlation r", ylim=(None, 1.01))
    _lines(scatter, group, {"scatter_ratio": (run.name, *drawn)})
    for level in (0.8, 1.2):
        level_line(scatter, level)
    scatter.set(ylabel="scatter / the simulation's", ylim=(0, 2))
    for ax in (power, correlation, scatter):
        ax.axhline(1, color=BLACK, lw=0.8)
        k_axis(ax, group["k_nyquist"])
        ax.set_xlabel("k  [h/Mpc]")
    return fig


def _lines(ax: Axes, group: Tree, names: dict[str, tuple[str, str, str]]) -> None:
    ends = []
    for key, (name, color, dash) in names.items():
        value = group[key]["mean"]
        ax.errorbar(group["k"], value, group[key]["error"], color=color, ls=dash, lw=1.2)
        ends.append((name, color, value))
    name_ends(ax, ends)


def slabs(runs: Sequence[Run]) -> Drawn:
    """Draw a slab of the first held-out box: the simulation, the quick one, and a draw."""
    group, tree = runs[0].need("whole_boxes"), runs[0].tree
    images = group["slabs"]
    size = tree["cell_size"] * images.shape[1]
    caption = (
        "The same slab of one held-out box: the simulation, the quick simulation that the generator starts from, and "
        "what it draws. Subvolumes are drawn one by one, and no seam is to be seen between them."
    )
    return Drawn(_images(images, size, 3), caption, narrow=_images(images, size, 1))


def _images(images: np.ndarray, size: float, columns: int) -> Figure:
    rows = 3 // columns
    margins = Margins(left=0.6, right=0.15, top=0.3, across=0.25, down=0.6)
    width = WIDE if columns == 3 else NARROW
    fig, axes = new_panels((width, rows * ((width - 0.6) / columns + 0.6)), margins, rows, columns)
    norm = LogNorm(*np.quantile(images[images > 0], (0.01, 0.999)))
    for ax, image, name in zip(np.ravel(axes), images, SLABS, strict=True):
        show_slab(ax, image, norm, size)
        ax.set_title(name)
        ax.tick_params(labelleft=ax.get_subplotspec().is_first_col())
        ax.set_xlabel("Mpc/h")
    return fig
