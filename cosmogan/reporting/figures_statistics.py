"""The figures of spectra: one function a figure, arrays in, a matplotlib Figure out.

A ``Tree`` is a group of the file of statistics (`cosmogan.results`) as plain data.
"""

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.reporting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    K_LABEL,
    LABELS,
    NOISE_LABEL,
    ORANGE,
    k_axis,
    legend_above,
    level_line,
    new,
    noise_band,
    plain_log,
    show_band,
    show_ratio,
    styled,
)

Tree = dict[str, Any]


@styled
def power(spectrum: Tree, noise_floor: np.ndarray) -> Figure:
    """Draw P(k) of both sets, and the ratio of their means beside what N-body against N-body gives.

    Parameters
    ----------
    spectrum : the group ``power``
    noise_floor : (n_splits, nk) ratio of the means of two halves of the N-body set, less 1
    """
    fig = new(7, 6)
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    k = spectrum["k"]
    for name in ("nbody", "generated"):
        show_band(upper, k, spectrum[name]["percentiles"], name)
    upper.set(yscale="log", ylabel="P(k)  [(Mpc/h)³]")
    upper.legend(loc="lower left")
    noise_band(lower, k, noise_floor)
    nbody, generated = spectrum["nbody"], spectrum["generated"]
    if "training" in spectrum:
        ratio = 100 * (spectrum["training"]["mean"] / nbody["mean"] - 1)
        lower.plot(k, ratio, color=ORANGE, lw=1.2, label="training boxes")
    show_ratio(lower, k, _mean_ratio(generated, nbody), (5, 10), spectrum["k_nyquist"])
    legend_above(lower)
    for ax in (upper, lower):
        k_axis(ax, spectrum["k_nyquist"], label=ax is upper)
    lower.set(xlabel=K_LABEL, ylabel="ratio of mean P(k)\nto N-body's, less 1  [%]")
    return fig


def _mean_ratio(generated: Tree, nbody: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratio of two sets' means, less 1, and its standard error."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = generated["mean"] / nbody["mean"]
        return ratio - 1, abs(ratio) * np.hypot(generated["error"] / generated["mean"], nbody["error"] / nbody["mean"])


@styled
def cross_power(cross: Tree, spectrum: Tree) -> Figure:
    """Draw the cross power of random pairs, over the geometric mean of the two sets' mean power.

    Parameters
    ----------
    cross, spectrum : the groups ``cross_power`` and ``power``
    """
    fig = new(9, 3.6)
    kinds = (("nbody", "nbody", BLACK), ("generated", "generated", BLUE), ("nbody", "generated", GREEN))
    k, inside = cross["k"], cross["k"] <= cross["k_nyquist"]
    axes = fig.subplots(1, 3, sharey=True)
    reach = 0.0
    for ax, (first, second, color) in zip(axes, kinds, strict=True):
        found = cross[f"{first}_{second}"]
        unit = np.sqrt(spectrum[first]["mean"] * spectrum[second]["mean"]) / 100
        low, _, high = found["percentiles"] / unit
        ax.fill_between(k, low, high, color=color, alpha=0.15, lw=0)
        ax.errorbar(k, found["mean"] / unit, 2 * found["error"] / unit, color=color, fmt="o-", lw=1)
        ax.axhline(0, color=GREY, lw=0.8)
        k_axis(ax, cross["k_nyquist"], label=ax is axes[0])
        ax.set(xlabel=K_LABEL, title=f"{LABELS[first][0]} × {LABELS[second][0]}")
        reach = max(reach, 1.2 * abs(np.array([low, high]))[:, inside].max())
    axes[0].set(ylabel="cross power over power  [%]", ylim=(-reach, reach))
    return fig


@styled
def variance(spectrum: Tree, noise_floor: np.ndarray) -> Figure:
    """Draw the variance of P(k), generated over N-body, beside N-body against itself (n_splits, nk)."""
    fig = new(7, 3.4)
    ax = fig.subplots()
    generated, nbody = (np.diag(spectrum[name]["covariance"]) for name in ("generated", "nbody"))
    low, high = np.nanpercentile(1 + noise_floor, (16, 84), axis=0)
    ax.fill_between(spectrum["k"], low, high, color=GREY, alpha=0.35, lw=0, label=NOISE_LABEL)
    level_line(ax, 1.25, "±25 %")
    level_line(ax, 0.75, "")
    ax.axhline(1, color=BLACK, lw=0.8)
    ax.plot(spectrum["k"], generated / nbody, "o-", color=BLUE, label="generated")
    k_axis(ax, spectrum["k_nyquist"])
    ax.set(yscale="log", xlabel=K_LABEL, ylabel="variance of P(k)\nover N-body's")
    plain_log(ax.yaxis)
    ax.margins(y=0.15)
    legend_above(ax)
    return fig


@styled
def covariance(spectrum: Tree) -> Figure:
    """Draw covariance (above) and correlation matrices (below) of P(k): N-body, generated, and how they differ."""
    fig = new(9, 5.2)
    axes = fig.subplots(2, 3, sharex=True, sharey=True)
    edges, (nbody, generated) = spectrum["k_edges"], (spectrum[name] for name in ("nbody", "generated"))
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = generated["covariance"] / nbody["covariance"] - 1
    size = np.diag(nbody["covariance"])
    log = {"cmap": "viridis", "norm": LogNorm(max(size.min(), 1e-8 * size.max()), size.max())}
    signed = {"cmap": "PuOr_r", "vmin": -1, "vmax": 1}
    reach = max(0.25, np.nanpercentile(abs(fraction), 95))
    panels = (
        ("N-body", "|covariance|", abs(nbody["covariance"]), log),
        ("generated", "|covariance|", abs(generated["covariance"]), log),
        ("generated / N-body − 1", "fraction", fraction, {**signed, "vmin": -reach, "vmax": reach}),
        ("", "correlation", nbody["correlation"], signed),
        ("", "correlation", generated["correlation"], signed),
        ("generated − N-body", "difference", generated["correlation"] - nbody["correlation"], signed),
    )
    for ax, (title, label, values, options) in zip(axes.flat, panels, strict=True):
        image = ax.pcolormesh(edges, edges, values, rasterized=True, **options)
        fig.colorbar(image, ax=ax, label=label, pad=0.02)
        ax.set_title(title)
    for ax in axes[1]:
        ax.set_xlabel(K_LABEL)
    for ax in axes[:, 0]:
        ax.set_ylabel(K_LABEL)
    return fig


@styled
def bispectrum(groups: list[Tree]) -> Figure:
    """Draw the bispectrum of both sets against the angle, one pair of panels for each (k1, k2)."""
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    fig = new(9, 3.2 * rows)
    axes = fig.subplots(2 * rows, columns, squeeze=False, height_ratios=(3, 1.4) * rows)
    for i in range(rows * columns):
        panels = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        if i < len(groups):
            _angles(panels, groups[i])
        else:
            for ax in panels:
                ax.set_axis_off()
    axes[0, 0].legend()
    axes[1, 0].set_ylabel("ratio − 1 [%]")
    return fig


def _angles(axes: np.ndarray, group: Tree) -> None:
    """Draw one pair of sides: B in powers of ten above, the ratio of the means below."""
    upper, lower = axes
    theta = group["theta"]
    power_of_ten = int(np.floor(np.log10(np.median(abs(group["nbody"]["percentiles"])))))
    shown = {name: group[name]["percentiles"] / 10.0**power_of_ten for name in ("nbody", "generated")}
    for name, percentiles in shown.items():
        show_band(upper, theta, percentiles, name)
    title = f"k₁ = {group['k1']:.2f}, k₂ = {group['k2']:.2f} h/Mpc"
    upper.set(title=title, xticklabels=[], ylabel=rf"B  [$10^{{{power_of_ten}}}$ (Mpc/h)$^6$]")
    if min(percentiles.min() for percentiles in shown.values()) > 0:
        upper.set_yscale("log")
        plain_log(upper.yaxis)
    show_ratio(lower, theta, _mean_ratio(group["generated"], group["nbody"]), (10,), np.inf)
    lower.set_xlabel("θ  [rad]")
    for ax in axes:
        ax.set_xlim(-0.1, 2.6)
