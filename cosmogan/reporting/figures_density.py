"""Figures of one-point statistics: voxel PDFs, mean densities, peaks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from cosmogan.reporting.exhibit import FLOOR, Drawn, Table, listed, mean_ratio, ratios, sets
from cosmogan.reporting.histograms import Shown, histograms, median_in_words
from cosmogan.reporting.layout import Margins, new_pairs, new_panels, room
from cosmogan.reporting.palette import BLACK, DARK_GREY, GREY, LABELS
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import NARROW, WIDE, name_ends, powers_of_ten
from cosmogan.shards.statistics_file import Tree

PAPER_KAPPAS = (4.0, 20.0, 30.0, 45.0)
TITLES = {"pdf_scaled": "scaled density, per unit of c", "pdf_unscaled": "density, per decade"}
X_LABELS = {"pdf_scaled": "scaled density c, eq. (5)", "pdf_unscaled": "density ρ/ρ̄", "peaks": "height of a peak, ρ/ρ̄"}
SCATTER = (
    "Lines and points are means over subvolumes; band and bars are the standard deviation of single subvolumes. Below: "
    f"ratios of the means with their errors. {FLOOR}"
)


def scaling(runs: Sequence[Run]) -> Drawn:
    """Draw the scaling of eq. (5) for the paper's values of κ and for the runs'."""
    density = np.logspace(-2, np.log10(200), 121)
    table: Table = {"density": density}
    lines = []
    kappas: set[float] = {*PAPER_KAPPAS, *(run.need("kappa") for run in runs)}
    for kappa in sorted(kappas):
        scaled = [run for run in runs if run.tree["kappa"] == kappa]
        name = f"κ = {kappa:g}" + (f": {', '.join(run.name for run in scaled)}" if len(runs) > 1 and scaled else "")
        table[f"c for kappa = {kappa:g}"] = c = 2 * density / (density + kappa) - 1
        color = scaled[0].color if scaled else GREY
        lines.append((name, color, c, 2 if scaled else 1))
    fig, ((ax,),) = new_panels((NARROW, 3.6), Margins(right=room(name for name, *_ in lines)))
    for _, color, c, width in lines:
        ax.plot(density, c, color=color, lw=width)
    ax.set(xscale="log", xlim=(0.01, 200), xlabel="density ρ/ρ̄", ylabel="scaled density c")
    powers_of_ten(ax.xaxis)
    name_ends(ax, [line[:3] for line in lines])
    caption = (
        "What the networks see, eq. (5): c = 0 at the density κ, and a given error in c is the larger an error in "
        "density the denser a cell is beyond it. Grey: other values that the paper tried."
    )
    return Drawn(fig, caption, table)


def voxel_pdf(runs: Sequence[Run]) -> Drawn:
    """Draw the voxel PDFs of scaled and of physical densities, and their ratios to N-body's below."""
    kappas = {run.need("pdf_scaled") and run.tree["kappa"] for run in runs}
    names = ("pdf_scaled", "pdf_unscaled") if len(kappas) == 1 else ("pdf_unscaled",)
    table: Table = {}
    for name in names:
        columns = {**sets(runs, name), **ratios(runs, name)}
        table |= {f"{name} {column}": values for column, values in {**_edges(runs[0].tree[name]), **columns}.items()}
    shown = f"scaled by eq. (5) with κ = {kappas.pop():g}, and unscaled" if len(names) == 2 else "unscaled"
    empty = [("N-body", runs[0].tree["pdf_unscaled"]["nbody"])]
    empty += [(run.name, run.tree["pdf_unscaled"]["generated"]) for run in runs]
    outside = ", ".join(f"{100 * max(round(1 - group['mean'].sum(), 9), 0):.2g} % of {label}" for label, group in empty)
    caption = (
        f"The fraction of voxels, {shown}. {SCATTER} Voxels outside 10⁻⁴ to 10⁴, empty ones among them: {outside}."
    )
    narrow = _distributions(runs, names, 1)
    if len(names) == 1:
        return Drawn(narrow, caption, table)
    return Drawn(_distributions(runs, names, 2), caption, table, narrow=narrow)


def peaks(runs: Sequence[Run]) -> Drawn:
    """Draw how many local maxima a subvolume has, against their height."""
    for run in runs:
        run.need("peaks")
    table = {**_edges(runs[0].tree["peaks"]), **sets(runs, "peaks"), **ratios(runs, "peaks")}
    counts = [("N-body", runs[0].tree["peaks"]["nbody"])]
    counts += [(run.name, run.tree["peaks"]["generated"]) for run in runs]
    averages = ", ".join(f"{tree['mean'].sum():.4g} in {label}" for label, tree in counts)
    caption = f"Cells denser than all their 26 neighbours. {SCATTER} Peaks of a subvolume on average: {averages}."
    return Drawn(_distributions(runs, ("peaks",), 1), caption, table)


def _edges(group: Tree) -> Table:
    return {"lower edge": group["edges"][:-1], "upper edge": group["edges"][1:]}


def _distributions(runs: Sequence[Run], names: Sequence[str], columns: int) -> Figure:
    """Draw statistics in bins, each with a panel of ratios below."""
    rows = len(names) // columns
    right = room(["noise floor", *(run.name for run in runs)])
    margins = Margins(right=right, top=0.3, across=right + 0.7, down=0.9)
    fig, axes = new_pairs((WIDE if columns > 1 else NARROW, 4.9 * rows), margins, rows, columns, 0.6)
    for (upper, lower), name in zip(axes, names, strict=True):
        edges = runs[0].tree[name]["edges"]
        if name == "pdf_scaled":
            middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
            lower.xaxis.set_major_locator(MultipleLocator(0.5))
        else:
            width = np.diff(np.log10(edges)) if name == "pdf_unscaled" else np.ones(len(edges) - 1)
            middle = np.sqrt(edges[1:] * edges[:-1])
            lower.set_xscale("log")
            powers_of_ten(lower.xaxis)
        _densities(upper, runs, name, middle, width)
        _ratios(lower, runs, name, middle)
        filled = np.flatnonzero(np.sum([_mean(runs[0], name, "nbody"), *(_mean(r, name) for r in runs)], axis=0))
        if len(filled) == 0:
            raise Missing("no volume has any in the bins")
        lower.set_xlim(edges[filled[0]], edges[filled[-1] + 1])
        upper.set(title=TITLES.get(name, ""), ylabel="voxel PDF" if name in TITLES else "peaks of a subvolume")
        lower.set(xlabel=X_LABELS[name], ylabel="over N-body's")
    return fig


def _mean(run: Run, name: str, label: str = "generated") -> np.ndarray:
    return run.tree[name][label]["mean"]


def _densities(ax: Axes, runs: Sequence[Run], name: str, middle: np.ndarray, width: np.ndarray) -> None:
    """Draw every set's mean with the scatter of single samples."""
    ends = []
    shown = [(runs[0], "nbody", LABELS["nbody"][0], BLACK), *((run, "generated", run.name, run.color) for run in runs)]
    for run, label, word, color in shown:
        group = run.tree[name][label]
        used = group["mean"] > 0
        x, mean = middle[used], (group["mean"] / width)[used]
        scatter = (np.sqrt(np.diag(group["covariance"])) / width)[used]
        below = np.minimum(scatter, 0.9 * mean)  # so that a bar does not leave a logarithmic axis
        if label == "nbody":
            ax.fill_between(x, mean - below, mean + scatter, color=color, alpha=0.18, lw=0)
            ax.plot(x, mean, color=color)
        else:
            ax.errorbar(x, mean, (below, scatter), color=color, fmt=run.marker, lw=0.9)
        ends.append((word, color, mean))
    ax.set_yscale("log")
    powers_of_ten(ax.yaxis)
    name_ends(ax, ends)


def _ratios(ax: Axes, runs: Sequence[Run], name: str, middle: np.ndarray) -> None:
    """Draw the ratios of the means on a logarithmic axis, with the noise floor."""
    floor = runs[0].floor(name)
    finite = np.isfinite(floor)
    low, high = np.maximum(1 - floor, 0.01), 1 + floor
    ax.fill_between(middle[finite], low[finite], high[finite], color=GREY, alpha=0.35, lw=0)
    ax.axhline(1, color=BLACK, lw=0.8)
    ends = [("noise floor", DARK_GREY, 1)]
    for run in runs:
        value, error = mean_ratio(run.tree[name])
        below = np.minimum(error, 0.9 * (1 + value))
        options = {"color": run.color, "marker": run.marker, "ls": run.dash, "lw": 1}
        used = np.isfinite(value) & (value > -1)
        bars = np.nan_to_num([below, error])[:, used]
        ax.errorbar(middle[used], 1 + value[used], bars, **options)
        ends.append((run.name, run.color, np.clip(1 + value[used], 0.2, 5)))
    ax.set(yscale="log", ylim=(0.2, 5), yticks=(0.25, 0.5, 1, 2, 4), yticklabels=("¼", "½", "1", "2", "4"))
    ax.minorticks_off()
    name_ends(ax, ends)


def mean_density(runs: Sequence[Run]) -> Drawn:
    """Draw the distributions of the mean density of a subvolume, with their medians."""
    shown: list[Shown] = [("N-body", BLACK, "-", runs[0].need("mean_density")["nbody"]["samples"][:, 0])]
    shown += [(run.name, run.color, run.dash, run.tree["mean_density"]["generated"]["samples"][:, 0]) for run in runs]
    fig, ((ax,),) = new_panels((NARROW, 3.8), Margins())
    table = histograms(ax, shown, "mean density of a subvolume, ρ/ρ̄")
    real, noise = np.median(shown[0][3]), runs[0].floor("mean_density")[0]
    ax.axvspan(real * (1 - noise), real * (1 + noise), color=GREY, alpha=0.35, lw=0)
    seen = []
    for name, _, _, values in shown:
        against = "" if name == "N-body" else f" ({100 * (np.median(values) / real - 1):+.1f} %)"
        seen.append(f"{name}: {median_in_words(values)}{against}, standard deviation {values.std(ddof=1):.3f}")
    caption = (
        f"Vertical lines are medians. Grey: the noise floor of N-body's mean, ± {100 * noise:.1f} %. {listed(seen)} "
        "The paper found medians +5 % (Student-t) and +12 % (Gaussian)."
    )
    return Drawn(fig, caption, table)
