"""Figures of a conditional generator: P(k) along the redshift beside linear theory, and volumes that form."""

import io
import json
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.nbody.cosmology import growth
from cosmogan.reporting.style import GREY, K_LABEL, k_axis, new, plain_log, styled
from cosmogan.results import Tree

N_SHOWN = 7  # of the sequence's redshifts in a row
FRAME = 120  # [ms] of the animation; the first and the last stay longer
FIRST, LAST = 5, 12  # frames for which they stay
DECADES = 2.5  # of density that the colours span


def named(group: Tree) -> list[dict[str, float]]:
    """Return the conditions by the names of their numbers."""
    names = json.loads(group["names"])
    return [dict(zip(names, map(float, values), strict=True)) for values in group["values"]]


def label(condition: dict[str, float]) -> str:
    """Return a condition in words, as ``z = 0.5, omega_m = 0.3``."""
    symbols = {"redshift": "z", "omega_m": "Ω_m", "omega_b": "Ω_b", "sigma_8": "σ₈", "n_s": "n_s"}
    return ", ".join(f"{symbols.get(name, name)} = {value:.3g}" for name, value in condition.items())


def linear_theory(group: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Return which conditions are one cosmology's, earliest first, and their P(k) by linear theory, eq. (11).

    The median generated P(k) of the earliest redshift is multiplied by the square of the growth since then.
    """
    redshifts = np.array([one["redshift"] for one in named(group)])
    others = np.array([[x for name, x in one.items() if name != "redshift"] for one in named(group)])
    first = others[int(np.argmax(redshifts))]
    mine = np.flatnonzero(np.isclose(others, first, rtol=1e-3).all(axis=1))  # all, where there is nothing else
    mine = mine[np.argsort(-redshifts[mine])]
    factor = growth(1 / (1 + redshifts[mine]), float(group["omega_m"][mine[0]]))
    start = group["generated_percentiles"][mine[0], 1]
    return mine, start * (factor / factor[0])[:, None] ** 2


@styled
def growth_of_power(group: Tree) -> Figure:
    """Draw median P(k) at every redshift: linear theory from the earliest on (left), the generator (right)."""
    mine, linear = linear_theory(group)
    fig = new(9, 4.2)
    axes = fig.subplots(1, 2, sharex=True, sharey=True)
    redshifts = np.array([one["redshift"] for one in named(group)])[mine]
    k, nbody = group["k"], group["nbody_percentiles"][mine, 1]
    drawn = (linear, group["generated_percentiles"][mine, 1])
    titles = "the earliest generated P(k), grown linearly", "generated"
    for ax, title, spectra in zip(axes, titles, drawn, strict=True):
        for i, spectrum in enumerate(spectra):
            dash = "-" if group["trained"][mine[i]] else "--"
            ax.plot(k, nbody[i], color=GREY, lw=3, alpha=0.5, label="N-body" if i == 0 else None)
            ax.plot(k, spectrum, dash, color=_ramp(redshifts)[i], label=_name(redshifts[i], dash))
        ax.set(yscale="log", title=title, xlabel=K_LABEL)
        k_axis(ax, group["k_nyquist"])
    plain_log(axes[0].yaxis)
    axes[0].set_ylabel("median P(k)  [(Mpc/h)³]")
    axes[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def _name(redshift: float, dash: str) -> str:
    return f"z = {redshift:.3g}" + ("" if dash == "-" else ", not trained on")


def _ramp(values: np.ndarray) -> list[Any]:
    """Return a colour for each of some values, the last darkest."""
    return [matplotlib.colormaps["plasma"](x) for x in np.linspace(0.85, 0.05, len(values))]


@styled
def ratios(group: Tree) -> Figure:
    """Draw generated over N-body's mean P(k) at every condition, those trained on beside the others."""
    kinds = [(kind, rows) for kind in (1, 0) if len(rows := np.flatnonzero(group["trained"] == kind))]
    fig = new(9 if len(kinds) == 2 else 5.5, 4.0)
    axes = fig.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    colors = _ramp(group["trained"])[::-1]  # conditions rise, and the latest redshift is the darkest
    for ax, (kind, rows) in zip(axes, kinds, strict=True):
        ratio = group["generated_mean"][rows] / group["nbody_mean"][rows]
        floor = np.sqrt(np.nanmean(group["floor"][rows] ** 2, axis=0))
        ax.fill_between(group["k"], 1 - floor, 1 + floor, color=GREY, alpha=0.35, lw=0, label="noise floor (rms)")
        for line, row in zip(ratio, rows, strict=True):
            ax.plot(group["k"], line, color=colors[row], label=label(named(group)[row]) if len(rows) <= 8 else None)
        ax.axhline(1, color="black", lw=0.8)
        ax.set(yscale="log", xlabel=K_LABEL, title="trained on" if kind else "not trained on")
        ax.set_ylim(0.4, 2.5)
        k_axis(ax, group["k_nyquist"])
        plain_log(ax.yaxis)
        ax.legend(fontsize=8, ncols=2, loc="lower left")
    axes[0].set_ylabel("mean P(k) over N-body's")
    return fig


@styled
def sequence(tree: Tree) -> Figure:
    """Draw slabs of one volume whose latent is kept while the redshift falls."""
    chosen = np.linspace(0, len(tree["redshifts"]) - 1, N_SHOWN).round().astype(int)
    fig = new(9, 1.75)
    axes = fig.subplots(1, len(chosen))
    for ax, i in zip(axes, chosen, strict=True):
        image = _slab(ax, tree["slabs"][i], _norm(tree["slabs"]), tree["size"])
        ax.set_title(f"z = {tree['redshifts'][i]:.2f}")
        ax.set(xticks=[], yticks=[])
    bar = fig.colorbar(image, ax=axes, pad=0.01, aspect=12, extend="both")
    bar.set_label("ρ/ρ̄", fontsize=9)
    plain_log(bar.ax.yaxis)
    return fig


def _norm(slabs: np.ndarray) -> LogNorm:
    high = float(np.percentile(slabs, 99.8))
    return LogNorm(high / 10**DECADES, max(high, 1e-3))


def _slab(ax: Axes, slab: np.ndarray, norm: LogNorm, size: float) -> Any:
    shown = np.maximum(slab, norm.vmin).T
    ax.spines[:].set_visible(False)
    return ax.imshow(shown, norm=norm, cmap="magma", origin="lower", extent=(0, size, 0, size), interpolation="bicubic")


def animation(tree: Tree) -> bytes:
    """Return the sequence as a GIF file: a volume forming, from the earliest redshift to the latest and again."""
    from PIL import Image  # comes with matplotlib

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
    _slab(ax, tree["slabs"][i], _norm(tree["slabs"]), tree["size"])
    ax.set(xticks=[], yticks=[])
    fig.text(0.5, 0.94, f"z = {tree['redshifts'][i]:.2f}", ha="center", va="center", fontsize=13)
    return fig


def _frame(tree: Tree, i: int) -> bytes:
    buffer = io.BytesIO()
    _drawn(tree, i).savefig(buffer, format="png")
    return buffer.getvalue()


@styled
def steps(tree: Tree) -> Figure:
    """Draw how far the field and its power move from one redshift of the sequence to the next, over their means."""
    fig = new(5.5, 3.0)
    ax = fig.subplots()
    middle = (tree["redshifts"][1:] + tree["redshifts"][:-1]) / 2
    for name, found, color in (("field, rms of c", "field_step", "#0072B2"), ("ln P(k), rms", "power_step", "#D55E00")):
        ax.plot(middle, tree[found] / tree[found].mean(), "o-", color=color, label=name)
    ax.set(xlabel="redshift", ylabel="step over the mean step", ylim=(0, None))
    ax.invert_xaxis()
    ax.legend()
    return fig


def worst(ratio: np.ndarray, k: np.ndarray, conditions: Sequence[dict[str, float]]) -> str:
    """Say where a ratio (conditions, nk) is furthest from 1."""
    i, j = np.unravel_index(int(np.nanargmax(abs(np.log(ratio)))), ratio.shape)
    return f"× {ratio[i, j]:.2f} at {label(conditions[i])}, k = {k[j]:.2g} h/Mpc"
