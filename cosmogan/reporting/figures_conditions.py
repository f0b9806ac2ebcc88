"""Figures of a conditional generator: P(k) at every condition, along the redshift beside linear theory."""

import json
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cosmogan.nbody.cosmology import growth
from cosmogan.reporting.conditions import KINDS
from cosmogan.reporting.criteria import BELOW_NYQUIST
from cosmogan.reporting.exhibit import Drawn, Table, listed
from cosmogan.reporting.layout import Margins, new_panels, room
from cosmogan.reporting.palette import DARK_GREY, GREY
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import K_LABEL, NARROW, WIDE, k_axis, name_ends, plain_log
from cosmogan.shards.statistics_file import Tree

FEW = 8  # conditions that are named beside a panel


def of_conditions(run: Run, name: str = "conditions") -> Tree:
    """Return what was measured at every condition, or of the ``sequence`` of redshifts."""
    if "conditions" not in run.tree:
        raise Missing("the generator has no condition")
    return run.need(name)


def named(group: Tree) -> list[dict[str, float]]:
    """Return the conditions by the names of their numbers."""
    names = json.loads(group["names"])
    return [dict(zip(names, map(float, values), strict=True)) for values in group["values"]]


def label(condition: dict[str, float]) -> str:
    """Return a condition in words, as ``z = 0.5, omega_m = 0.3``."""
    symbols = {"redshift": "z", "omega_m": "Ω_m", "omega_b": "Ω_b", "sigma_8": "σ₈", "n_s": "n_s"}
    return ", ".join(f"{symbols.get(name, name)} = {value:.3g}" for name, value in condition.items())


def linear_theory(group: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of one cosmology's conditions, earliest first, and their P(k) by linear theory, eq. (11).

    The median generated P(k) of the earliest redshift is multiplied by the square of the growth since then.
    """
    redshifts = np.array([condition["redshift"] for condition in named(group)])
    others = np.array([[x for name, x in condition.items() if name != "redshift"] for condition in named(group)])
    first = others[int(np.argmax(redshifts))]
    rows = np.flatnonzero(np.isclose(others, first, rtol=1e-3).all(axis=1))  # all, where there is nothing else
    rows = rows[np.argsort(-redshifts[rows])]
    factor = growth(1 / (1 + redshifts[rows]), float(group["omega_m"][rows[0]]))
    start = group["generated_percentiles"][rows[0], 1]
    return rows, start * (factor / factor[0])[:, None] ** 2


def growth_of_power(runs: Sequence[Run]) -> Drawn:
    """Draw median P(k) at every redshift: linear theory from the earliest on, and the generator."""
    group = of_conditions(runs[0])
    if "redshift" not in named(group)[0]:
        raise Missing("the generator is not conditioned on the redshift")
    rows, linear = linear_theory(group)
    generated, nbody = (group[f"{name}_percentiles"][rows, 1] for name in ("generated", "nbody"))
    redshifts = np.array([condition["redshift"] for condition in named(group)])[rows]
    table: Table = {"k [h/Mpc]": group["k"]}
    for i, z in enumerate(redshifts):
        columns = {"N-body median": nbody[i], "generated median": generated[i], "linear theory": linear[i]}
        table |= {f"z = {z:.4g} {name} [(Mpc/h)^3]": values for name, values in columns.items()}
    caption = (
        "Median P(k) of N-body (grey), of linear theory from the generator's earliest redshift on, eq. (11), and of "
        "the generator itself. Dashed: redshifts that it was not trained on."
    )
    shown = group, redshifts, rows, (linear, generated), nbody
    return Drawn(_growth(*shown, 2), caption, table, narrow=_growth(*shown, 1))


def _growth(
    group: Tree, redshifts: np.ndarray, rows: np.ndarray, drawn: Sequence[np.ndarray], nbody: np.ndarray, columns: int
) -> Figure:
    """Draw linear theory's and the generator's spectra (n, nk) in two panels."""
    right = room(f"z = {z:.3g}" for z in redshifts)
    size = (WIDE, 4.2) if columns == 2 else (NARROW, 7.6)
    margins = Margins(right=right, top=0.3, across=right + 0.3, down=0.8)
    fig, grid = new_panels(size, margins, 2 // columns, columns, sharey=True)
    axes = grid.ravel()
    titles = "the earliest generated P(k), grown linearly", "generated"
    colors = _ramp(redshifts)
    for ax, title, spectra in zip(axes, titles, drawn, strict=True):
        for i, spectrum in enumerate(spectra):
            ax.plot(group["k"], nbody[i], color=GREY, lw=3, alpha=0.5)
            ax.plot(group["k"], spectrum, "-" if group["trained"][rows[i]] else "--", color=colors[i])
        ax.set(yscale="log", title=title, xlabel=K_LABEL, ylabel="median P(k)  [(Mpc/h)³]")
        k_axis(ax, group["k_nyquist"])
    plain_log(axes[0].yaxis)
    for ax, spectra in zip(axes, drawn, strict=True):
        ends = [(f"z = {z:.3g}", color, line) for z, color, line in zip(redshifts, colors, spectra, strict=True)]
        name_ends(ax, ends)
    return fig


def _ramp(values: np.ndarray) -> list[Any]:
    """Return a colour for each of some values, the last darkest."""
    return [matplotlib.colormaps["plasma"](x) for x in np.linspace(0.85, 0.05, len(values))]


def ratios(runs: Sequence[Run]) -> Drawn:
    """Draw generated over N-body's mean P(k) at every condition, those trained on beside the others."""
    group = of_conditions(runs[0])
    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    lines = []
    for kind, words in KINDS.values():
        at = np.flatnonzero((group["trained"] == kind) & np.isfinite(group["nbody_mean"]).all(axis=1))
        if len(at):
            ratio = (group["generated_mean"] / group["nbody_mean"])[at][:, low]
            rms = 100 * np.sqrt(np.nanmean(np.log(ratio) ** 2))
            furthest = worst(ratio, group["k"][low], [named(group)[i] for i in at])
            lines.append(f"conditions {words} are off by {rms:.0f} % (rms), by {furthest} at most")
    caption = (
        "Mean P(k) over N-body's at every condition of the held-out boxes. Grey: the noise floor, rms over halvings. "
        f"Up to {BELOW_NYQUIST:g} Nyquist: {listed(lines)}"
    )
    table: Table = {"k [h/Mpc]": group["k"]}
    for row, condition in enumerate(named(group)):
        table[f"{label(condition)}: generated / N-body"] = group["generated_mean"][row] / group["nbody_mean"][row]
    wide = len(np.unique(group["trained"])) == 2
    table["noise floor (rms)"] = _floor(group, np.arange(len(group["trained"])))
    return Drawn(_ratios(group, 2 if wide else 1), caption, table, narrow=_ratios(group, 1) if wide else None)


def _floor(group: Tree, rows: np.ndarray) -> np.ndarray:
    """Return the noise floor of some conditions together, rms over them and the ways to halve, (nk,)."""
    return np.sqrt(np.nanmean(group["noise_floor"][rows] ** 2, axis=(0, 1)))


def _ratios(group: Tree, columns: int) -> Figure:
    """Draw a panel for conditions trained on, and one for the others."""
    kinds = [(kind, rows) for kind in (1, 0) if len(rows := np.flatnonzero(group["trained"] == kind))]
    few = [rows for _, rows in kinds if len(rows) <= FEW]
    right = room(["noise floor", *(label(named(group)[row]) for rows in few for row in rows)])
    size = (WIDE if columns == 2 else NARROW, 4.0 * (len(kinds) // columns))
    margins = Margins(right=right, top=0.3, across=right + 0.3, down=0.8)
    fig, grid = new_panels(size, margins, len(kinds) // columns, columns, sharey=True)
    axes = grid.ravel()
    colors = _ramp(group["trained"])[::-1]  # conditions rise, and the latest redshift is the darkest
    for ax, (kind, rows) in zip(axes, kinds, strict=True):
        floor = _floor(group, rows)
        ratio = group["generated_mean"][rows] / group["nbody_mean"][rows]
        ax.fill_between(group["k"], 1 - floor, 1 + floor, color=GREY, alpha=0.35, lw=0)
        for line, row in zip(ratio, rows, strict=True):
            ax.plot(group["k"], line, color=colors[row])
        ax.axhline(1, color="black", lw=0.8)
        ax.set(yscale="log", xlabel=K_LABEL, title="trained on" if kind else "not trained on", ylim=(0.4, 2.5))
        k_axis(ax, group["k_nyquist"])
        plain_log(ax.yaxis)
        ax.set_ylabel("mean P(k) over N-body's")
        shown = rows if len(rows) <= FEW else rows[:0]
        ends = [(label(named(group)[row]), colors[row], np.clip(ratio[i], 0.4, 2.5)) for i, row in enumerate(shown)]
        name_ends(ax, [*ends, ("noise floor", DARK_GREY, 1)])
    return fig


def worst(ratio: np.ndarray, k: np.ndarray, conditions: Sequence[dict[str, float]]) -> str:
    """Say where a ratio (conditions, nk) is furthest from 1."""
    i, j = divmod(int(np.nanargmax(abs(np.log(ratio)))), len(k))
    return f"× {ratio[i, j]:.2f} at {label(conditions[i])}, k = {k[j]:.2g} h/Mpc"
