"""The figures of densities themselves: slabs to look at, voxel PDFs, mean densities."""

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.reporting.style import BLACK, BLUE, LABELS, new, plain_log, styled

Tree = dict[str, Any]


@styled
def slices(nbody: np.ndarray, generated: np.ndarray, size: float) -> Figure:
    """Draw slabs of both sets, N-body above, on one logarithmic scale.

    Parameters
    ----------
    nbody, generated : (m, n, n) densities in units of the mean
    size : side of a subvolume [Mpc/h]
    """
    fig = new(9, 4.2)
    axes = fig.subplots(2, len(nbody), squeeze=False, sharex=True, sharey=True)
    norm = LogNorm(*np.percentile(nbody[nbody > 0], (1, 99.8)), clip=True)
    for row, (name, slabs) in zip(axes, (("nbody", nbody), ("generated", generated)), strict=True):
        for ax, slab in zip(row, slabs, strict=True):
            shown = np.maximum(slab, norm.vmin).T
            image = ax.imshow(shown, norm=norm, cmap="magma", origin="lower", extent=(0, size, 0, size))
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(f"{LABELS[name][0]}  [Mpc/h]", color=LABELS[name][1])
    bar = fig.colorbar(image, ax=axes, label="density in a slab, ρ/ρ̄", fraction=0.03, pad=0.01)
    plain_log(bar.ax.yaxis)
    return fig


@styled
def voxel_pdf(scaled: Tree, unscaled: Tree) -> Figure:
    """Draw the voxel PDFs of scaled (left) and physical densities (right), and generated over N-body below."""
    fig = new(9, 5.4)
    axes = fig.subplots(2, 2, sharex="col", height_ratios=(3, 1.3))
    edges = scaled["edges"]
    _pdf_panels(axes[:, 0], scaled, (edges[1:] + edges[:-1]) / 2, np.diff(edges))
    edges = unscaled["edges"]
    _pdf_panels(axes[:, 1], unscaled, np.sqrt(edges[1:] * edges[:-1]), np.diff(np.log10(edges)))
    axes[0, 0].set(title="scaled density, per unit of c", ylabel="voxel PDF")
    axes[0, 0].legend()
    axes[1, 0].set(ylabel="generated\nover N-body", xlabel="scaled density c, eq. (5)")
    filled = np.flatnonzero((unscaled["nbody"]["mean"] > 0) | (unscaled["generated"]["mean"] > 0))
    axes[0, 1].set(title="density, per decade", xlim=(edges[filled[0]], edges[filled[-1] + 1]))
    axes[1, 1].set(xscale="log", xlabel="density ρ/ρ̄")
    return fig


def _pdf_panels(axes: np.ndarray, group: Tree, middle: np.ndarray, width: np.ndarray) -> None:
    """Draw both sets' mean PDF with the scatter of single samples, and the ratio of the means."""
    upper, lower = axes
    for name in ("nbody", "generated"):
        label, color = LABELS[name]
        used = group[name]["mean"] > 0
        x, mean = middle[used], (group[name]["mean"] / width)[used]
        scatter = (np.sqrt(np.diag(group[name]["covariance"])) / width)[used]
        below = np.minimum(scatter, 0.9 * mean)  # so that a bar does not leave a logarithmic axis
        if name == "nbody":
            upper.fill_between(x, mean - below, mean + scatter, color=color, alpha=0.18, lw=0)
            upper.plot(x, mean, color=color, label=label)
        else:
            upper.errorbar(x, mean, (below, scatter), color=color, fmt="o", lw=0.9, label=label)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = group["generated"]["mean"] / group["nbody"]["mean"]
    lower.axhline(1, color=BLACK, lw=0.8)
    lower.plot(middle, ratio, "o-", color=BLUE, lw=1)
    upper.set_yscale("log")
    lower.set(yscale="log", ylim=(0.2, 5), yticks=(0.25, 0.5, 1, 2, 4), yticklabels=("¼", "½", "1", "2", "4"))
    lower.minorticks_off()


@styled
def mean_density(nbody: np.ndarray, generated: np.ndarray) -> Figure:
    """Draw the distributions of the mean density of a subvolume, (n,) each, with their medians."""
    fig = new(7, 3.4)
    ax = fig.subplots()
    bins = np.linspace(*np.percentile(np.concatenate([nbody, generated]), (0.2, 99.8)), 26)
    for name, values in (("nbody", nbody), ("generated", generated)):
        label, color = LABELS[name]
        median, dash = np.median(values), "-" if name == "nbody" else "--"
        ax.hist(values, bins, density=True, color=color, alpha=0.18, histtype="stepfilled")
        ax.hist(values, bins, density=True, color=color, histtype="step", ls=dash, lw=1.3)
        ax.axvline(median, color=color, lw=1.6, ls=dash, label=f"{label}, median {median:.3f}")
    ax.set(xlabel="mean density of a subvolume, ρ/ρ̄", ylabel="probability density")
    ax.legend()
    return fig
