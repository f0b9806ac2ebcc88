"""Figures of a volume that forms: its latent is kept while the redshift falls."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image  # comes with matplotlib

from cosmogan.reporting.exhibit import Drawn
from cosmogan.reporting.figures_conditions import of_conditions
from cosmogan.reporting.layout import Margins, color_bar, new_panels, room
from cosmogan.reporting.palette import BLUE, ORANGE
from cosmogan.reporting.runs import Run
from cosmogan.reporting.style import NARROW, WIDE, name_ends, plain_log, show_slab, styled
from cosmogan.shards.statistics_file import Tree

N_SHOWN = 7  # of the sequence's redshifts in a row
FRAME = 120  # [ms] of the animation; the first and the last stay longer
FIRST, LAST = 5, 12  # frames for which they stay
DECADES = 2.5  # of density that the colours span


def sequence(runs: Sequence[Run]) -> Drawn:
    """Draw slabs of one volume whose latent is kept while the redshift falls."""
    tree = of_conditions(runs[0], "sequence")
    caption = (
        f"A slab of one volume whose latent is kept while the redshift falls, {tree['size']:.3g} Mpc/h a side. Nothing "
        "forces mass to be kept or to move as gravity has it. The densities are “sequence” of statistics.h5."
    )
    return Drawn(_sequence(tree, N_SHOWN), caption, narrow=_sequence(tree, 3), moving=animation(tree))


def _sequence(tree: Tree, columns: int) -> Figure:
    """Draw so many slabs in a row; two rows where they are few."""
    rows = 1 if columns == N_SHOWN else 2
    chosen = np.linspace(0, len(tree["redshifts"]) - 1, rows * columns).round().astype(int)
    width = WIDE if rows == 1 else NARROW
    margins = Margins(left=0.05, right=0.95, bottom=0.1, top=0.3, across=0.1, down=0.3)
    fig, axes = new_panels((width, rows * (0.93 * width / columns + 0.3)), margins, rows, columns)
    for ax, i in zip(axes.flat, chosen, strict=True):
        image = show_slab(ax, tree["slabs"][i], _norm(tree["slabs"]), tree["size"], "bicubic")
        ax.set_title(f"z = {tree['redshifts'][i]:.2f}")
        ax.set(xticks=[], yticks=[])
    bar = color_bar(fig, image, margins, "ρ/ρ̄")
    plain_log(bar.ax.yaxis)
    return fig


def _norm(slabs: np.ndarray) -> LogNorm:
    high = float(np.percentile(slabs, 99.8))
    return LogNorm(high / 10**DECADES, max(high, 1e-3))


def animation(tree: Tree) -> bytes:
    """Return the sequence as a GIF file: a volume forming, from the earliest redshift to the latest and again."""
    frames = [_frame(tree, i) for i in range(len(tree["redshifts"]))]
    images = [Image.open(io.BytesIO(png)).convert("P", palette=Image.Palette.ADAPTIVE) for png in frames]
    durations = [FRAME] * len(images)
    durations[0], durations[-1] = FIRST * FRAME, LAST * FRAME
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return buffer.getvalue()


@styled
def _drawn(tree: Tree, i: int) -> Figure:
    fig = Figure(figsize=(3.2, 3.5), dpi=110)
    ax = fig.add_axes((0.02, 0.02, 0.96, 0.87))
    show_slab(ax, tree["slabs"][i], _norm(tree["slabs"]), tree["size"], "bicubic")
    ax.set(xticks=[], yticks=[])
    fig.text(0.5, 0.94, f"z = {tree['redshifts'][i]:.2f}", ha="center", va="center", fontsize=13)
    return fig


def _frame(tree: Tree, i: int) -> bytes:
    buffer = io.BytesIO()
    _drawn(tree, i).savefig(buffer, format="png")
    return buffer.getvalue()


def steps(runs: Sequence[Run]) -> Drawn:
    """Draw how far the field and its power move from one redshift of the sequence to the next, over their means."""
    tree = of_conditions(runs[0], "sequence")
    fig, ((ax,),) = new_panels((NARROW, 3.4), Margins(right=room(["ln P(k)"])))
    middle = (tree["redshifts"][1:] + tree["redshifts"][:-1]) / 2
    table, ends = {"redshift": middle}, []
    for name, key, color in (("field", "field_step", BLUE), ("ln P(k)", "power_step", ORANGE)):
        table[f"step of {name} over the mean step"] = tree[key] / tree[key].mean()
        ax.plot(middle, tree[key] / tree[key].mean(), "o-", color=color)
        ends.append((name, color, tree[key] / tree[key].mean()))
    ax.set(xlabel="redshift", ylabel="rms step over the mean step", ylim=(0, None))
    ax.invert_xaxis()
    name_ends(ax, ends)
    caption = (
        "How far one redshift of the sequence is from the next, over the mean step: a jump would stand out. The "
        f"largest is {max(map(np.max, list(table.values())[1:])):.2f} times the mean."
    )
    return Drawn(fig, caption, table)
