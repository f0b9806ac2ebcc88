"""Figures of power and cross power."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import BAND, FLOOR, Drawn, Table, listed, mean_ratio, need_bins, ratios, sets, worst
from cosmogan.reporting.layout import Margins, new_pairs, new_panels, room
from cosmogan.reporting.palette import BLACK, DARK_GREY, GREY, LABELS, RUNS
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import (
    K_LABEL,
    NARROW,
    k_axis,
    mpc_axis,
    name_ends,
    noise_band,
    powers_of_ten,
    ratio_panel,
    show_band,
)
from cosmogan.shards.statistics_file import Tree
from cosmogan.statistics import ensemble, regions


def power(runs: Sequence[Run]) -> Drawn:
    """Draw P(k) of N-body and of every run, and the ratios of the means beside what N-body against N-body gives."""
    spectrum, training = runs[0].need("power"), all(run.label != "generated" for run in runs[1:])
    right = room(["training boxes", *(run.name for run in runs)])
    fig, ((upper, lower),) = new_pairs((NARROW, 6.2), Margins(left=1.05, right=right, top=0.6), 1, 1, 0.8)
    k, k_nyquist = spectrum["k"], spectrum["k_nyquist"]
    show_band(upper, k, spectrum["nbody"]["percentiles"], BLACK)
    for run in runs:
        show_band(upper, k, run.tree["power"]["generated"]["percentiles"], run.color, run.dash)
    upper.set(yscale="log", ylabel="P(k)  [(Mpc/h)³]")
    powers_of_ten(upper.yaxis)
    _ratios(lower, runs, spectrum.get("training") if training else None)
    for ax in (upper, lower):
        k_axis(ax, k_nyquist, label=ax is upper)
    if "h" in runs[0].tree:
        mpc_axis(upper, runs[0].tree["h"])
    ends = [(LABELS["nbody"][0], BLACK, spectrum["nbody"]["percentiles"][1])]
    name_ends(upper, ends + [(run.name, run.color, run.tree["power"]["generated"]["percentiles"][1]) for run in runs])
    lower.set(xlabel=K_LABEL, ylabel="mean P(k) over\nN-body's, less 1  [%]")
    among = " Training boxes: what the generator could at best learn." if training and "training" in spectrum else ""
    caption = (
        f"{BAND} Below: ratios of the means with their errors. {FLOOR}{among} Beyond Nyquist only corners of Fourier "
        f"space are left. {listed([worst(run, run.tree['power'], 'power') for run in runs])}"
    )
    return Drawn(fig, caption, {**bins(spectrum), **sets(runs, "power", " [(Mpc/h)^3]"), **ratios(runs, "power")})


def rejection(runs: Sequence[Run]) -> Drawn:
    """Draw P(k) of all samples, and of those that the discriminator accepted, as `power` does."""
    run = runs[0]
    if "proposals" not in run.tree:
        raise Missing("no sample was rejected")
    proposals, nbody = run.tree["proposals"], run.tree["power"]["nbody"]["samples"]
    labels = regions.of_one_kind(len(proposals["samples"])), regions.groups(run.tree["boxes"], run.tree.get("along"))
    parts = map(ensemble.moments_of, (proposals["samples"], nbody), labels)
    spectrum = {**run.tree["power"], "generated": proposals, "ratio": ensemble.compared(*parts)}
    color, dash, marker = RUNS[1]
    return power(
        [
            replace(run, name="all samples", tree={**run.tree, "power": spectrum}),
            replace(run, name="accepted", color=color, dash=dash, marker=marker),
        ]
    )


def bins(spectrum: Tree) -> Table:
    """Return the wavenumbers of a spectrum as columns."""
    edges = spectrum["k_edges"]
    columns = {"k [h/Mpc]": spectrum["k"], "k lower [h/Mpc]": edges[:-1], "k upper [h/Mpc]": edges[1:]}
    return {**columns, "modes": spectrum["n_modes"]}


def _ratios(ax: Axes, runs: Sequence[Run], training: Tree | None) -> None:
    """Draw every run's mean power over N-body's, the training boxes', and the noise floor."""
    spectrum = runs[0].tree["power"]
    k = spectrum["k"]
    inside = k <= spectrum["k_nyquist"]
    noise_band(ax, k, 100 * runs[0].floor("power"))
    seen: list[np.ndarray] = []
    ends: list[tuple[str, str, Any]] = [("noise floor", DARK_GREY, 0)]
    if training is not None:
        ratio = 100 * (training["mean"] / spectrum["nbody"]["mean"] - 1)
        label, color = LABELS["training"]
        ax.plot(k, ratio, color=color, lw=1.2)
        ends.append((label, color, ratio))
    for run in runs:
        value, error = (100 * part for part in mean_ratio(run.tree["power"]))
        ax.errorbar(k, value, error, color=run.color, marker=run.marker, ls=run.dash, lw=1.3, elinewidth=0.8)
        seen.append((abs(value) + np.nan_to_num(error))[inside])
        ends.append((run.name, run.color, value))
    ratio_panel(ax, (5, 10), seen)
    name_ends(ax, ends)


def cross_power(runs: Sequence[Run]) -> Drawn:
    """Draw the cross power of random pairs, over the geometric mean of the two sets' mean power."""
    for run in runs:
        need_bins(run, "cross_power")
    caption = (
        "In the paper times k³, here over the power itself: what fraction of the power two samples share. Points are "
        "means with two errors, bands hold 16 to 84 % of the pairs. Independent samples give zero, and N-body pairs "
        f"(black) are the noise floor. {listed([_shared(run) for run in runs])}"
    )
    return Drawn(_cross_power(runs), caption, _cross_table(runs))


def _cross_power(runs: Sequence[Run]) -> Figure:
    """Draw pairs within a set and pairs of a generated and an N-body sample in two panels."""
    right = room(f"N-body × {run.name}" for run in runs)
    size, margins = (NARROW, 6.2), Margins(right=right, top=0.3, down=0.4)
    fig, ((upper,), (lower,)) = new_panels(size, margins, 2, sharex=True, sharey=True)
    axes = upper, lower
    cross = runs[0].tree["cross_power"]
    k, inside = cross["k"], cross["k"] <= cross["k_nyquist"]
    reach = 0.0
    panels = (
        (axes[0], "generated_generated", "{0} × {0}", "pairs within a set"),
        (axes[1], "nbody_generated", "N-body × {0}", "pairs of an N-body and a generated sample"),
    )
    for ax, kind, name, title in panels:
        ends = []
        shown = [(runs[0], "nbody_nbody", "N-body × N-body", BLACK, "-", "o")]
        shown += [(run, kind, name.format(run.name), run.color, run.dash, run.marker) for run in runs]
        for run, pairs, label, color, dash, marker in shown:
            mean, error, low, high = _fractions(run, pairs)
            ax.fill_between(k, low, high, color=color, alpha=0.13, lw=0)
            ax.errorbar(k, mean, 2 * error, color=color, marker=marker, ls=dash, lw=1)
            ends.append((label, color, mean))
            reach = max(reach, 1.1 * abs(np.array([low, high]))[:, inside].max())
        ax.set_ylim(-reach, reach)
        ax.axhline(0, color=GREY, lw=0.8)
        k_axis(ax, cross["k_nyquist"], label=ax is axes[0])
        name_ends(ax, ends)
        ax.set(title=title, ylabel="cross power over power  [%]")
    axes[1].set_xlabel(K_LABEL)
    return fig


def _fractions(run: Run, pairs: str) -> tuple[np.ndarray, ...]:
    """Return mean, error, 16th and 84th percentiles of pairs' cross power over the power [%], (nk,) each."""
    first, second = pairs.split("_")
    cross, spectrum = run.tree["cross_power"][pairs], run.tree["power"]
    unit = np.sqrt(spectrum[first]["mean"] * spectrum[second]["mean"]) / 100
    return cross["mean"] / unit, cross["error"] / unit, cross["percentiles"][0] / unit, cross["percentiles"][2] / unit


def _shared(run: Run) -> str:
    """Say how far from zero a run's pairs are."""
    cross = run.tree["cross_power"]
    low = cross["k"] <= cross["k_nyquist"]
    mean, error, *_ = _fractions(run, "generated_generated")
    i = int(np.argmax(abs(mean[low])))
    floor = np.sqrt(np.mean(_fractions(run, "nbody_nbody")[0][low] ** 2))
    return (
        f"{run.name}: two samples share at most {mean[low][i]:+.2f} ± {error[low][i]:.2f} % of their power up to "
        f"Nyquist, at k = {cross['k'][low][i]:.2g} h/Mpc (N-body, rms over k: {floor:.2f} %)"
    )


def _cross_table(runs: Sequence[Run]) -> Table:
    columns: Table = {"k [h/Mpc]": runs[0].tree["cross_power"]["k"]}
    for i, run in enumerate(runs):
        kinds = {"generated_generated": f"{run.name} x {run.name}", "nbody_generated": f"N-body x {run.name}"}
        for kind, label in (({"nbody_nbody": "N-body x N-body"} if i == 0 else {}) | kinds).items():
            names = ("mean", "error of mean", "16 %", "84 %")
            parts = zip(names, _fractions(run, kind), strict=True)
            columns |= {f"{label} {name} [% of power]": values for name, values in parts}
    return columns
