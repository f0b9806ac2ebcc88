"""Figures of the covariance of P(k): its matrices, and its diagonal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cosmogan.reporting.criteria import BELOW_NYQUIST
from cosmogan.reporting.exhibit import FLOOR, Drawn, Table, at, listed, need_bins
from cosmogan.reporting.layout import Margins, new_panels, room
from cosmogan.reporting.palette import BLACK, DARK_GREY
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import (
    K_LABEL,
    NARROW,
    WIDE,
    k_axis,
    level_line,
    name_ends,
    noise_band,
    plain_log,
    power_of_ten,
)
from cosmogan.shards.statistics_file import Tree

SIGNED = {"cmap": "PuOr_r", "vmin": -1, "vmax": 1}
Panel = tuple[str, str, np.ndarray, dict[str, Any]]  # title, unit, values (nk, nk), options of the colours


def covariance(runs: Sequence[Run]) -> Drawn:
    """Draw covariance and correlation matrices of P(k): N-body, generated, and how they differ."""
    for run in runs:
        need_bins(run, "power", BELOW_NYQUIST)
    n = runs[0].tree["n_held_out"]
    counted = ", ".join(f"{run.tree['n_generated']} of {run.name}" for run in runs)
    caption = (
        f"Covariance, eq. (8), and correlation, eq. (9), of {n} N-body subvolumes and {counted}. Noise floor: by how "
        "much halves of the N-body boxes differ, rms. Colours of differences end at the largest up to Nyquist. "
        f"Up to {BELOW_NYQUIST:g} Nyquist, medians over the elements: {listed([_difference(run) for run in runs])}"
    )
    upper, lower = _panels(runs)
    pairs = [panel for both in zip(upper, lower, strict=True) for panel in both]  # covariance beside correlation
    wide, narrow = _matrices(runs, upper + lower, len(upper)), _matrices(runs, pairs, 2)
    return Drawn(wide, caption, _table(runs), narrow=narrow)


def _ratio(run: Run, name: str) -> np.ndarray:
    """Return a run's covariance over N-body's, less 1, or how much its correlation is above N-body's."""
    return run.tree["power"]["ratio"][name]


def _panels(runs: Sequence[Run]) -> tuple[list[Panel], list[Panel]]:
    """Return the matrices to draw, those of covariances and those of correlations."""
    power, floor = runs[0].tree["power"], runs[0].need("noise_floor")
    size = np.diag(power["nbody"]["covariance"])
    if not size.max() > 0:
        raise Missing("the N-body volumes do not differ in power")
    log = {"cmap": "viridis", "norm": LogNorm(max(size.min(), 1e-8 * size.max()), size.max())}
    inside = np.ix_(*2 * (power["k"] <= power["k_nyquist"],))
    reach = max(0.25, *(np.nanmax(abs(_ratio(run, "covariance")[inside])) for run in runs))
    part = {**SIGNED, "vmin": -reach, "vmax": reach}
    shown = [("N-body", power["nbody"])]
    if len(runs) == 1:
        shown.append((runs[0].name, power["generated"]))
    shifts = [floor["power_correlation"], *(_ratio(run, "correlation") for run in runs)]
    reach = max(0.1, *(np.nanmax(abs(shift[inside])) for shift in shifts))
    shift = {**SIGNED, "vmin": -reach, "vmax": reach}
    upper: list[Panel] = [(name, "|covariance|", abs(group["covariance"]), log) for name, group in shown]
    lower: list[Panel] = [(name, "correlation", group["correlation"], SIGNED) for name, group in shown]
    for run in runs:
        upper.append((f"{run.name} / N-body − 1", "fractional difference", _ratio(run, "covariance"), part))
        lower.append((f"{run.name} − N-body", "difference of correlation", _ratio(run, "correlation"), shift))
    upper.append(("noise floor", "fractional difference", floor["power_covariance"], part))
    lower.append(("noise floor", "difference of correlation", floor["power_correlation"], shift))
    return upper, lower


def _matrices(runs: Sequence[Run], panels: Sequence[Panel], columns: int) -> Figure:
    """Draw matrices in so many columns."""
    edges, rows = runs[0].tree["power"]["k_edges"], len(panels) // columns
    size = (NARROW, 2.2 * rows + 0.5) if columns == 2 else (WIDE, 2.45 * rows + 0.5)
    margins = Margins(left=0.7, right=0.55, top=0.3, across=0.6, down=0.35)
    fig, axes = new_panels(size, margins, rows, columns, sharex=True, sharey=True)
    for ax, (title, label, values, options) in zip(axes.flat, panels, strict=True):
        image = ax.pcolormesh(edges, edges, values, rasterized=True, **options)
        words = power_of_ten if "norm" in options else None
        bar = fig.colorbar(image, ax=ax, pad=0.02, format=words)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.minorticks_off()
        ax.set_title(title, fontsize=9)
        ax.set(xscale="log", yscale="log")
    for ax in axes.flat:
        ax.minorticks_off()  # a panel is small, and each tick takes time
    for axis in (axes[0, 0].xaxis, axes[0, 0].yaxis):
        plain_log(axis)
    for ax in axes[-1]:
        ax.set_xlabel(K_LABEL)
    for ax in axes[:, 0]:
        ax.set_ylabel(K_LABEL)
    return fig


def _difference(run: Run) -> str:
    """Say by how much a run's matrices differ up to 0.95 Nyquist, beside the noise floor."""
    power, floor = run.tree["power"], run.tree["noise_floor"]
    low = np.ix_(*2 * (power["k"] <= BELOW_NYQUIST * power["k_nyquist"],))
    part, shift = (_ratio(run, name)[low] for name in ("covariance", "correlation"))
    clear = np.mean(abs(part) > 2 * _ratio(run, "covariance_error")[low])
    noise = [np.nanmedian(floor[name][low]) for name in ("power_covariance", "power_correlation")]
    return (
        f"{run.name}: covariances {100 * np.nanmedian(part):+.0f} % off, {100 * clear:.0f} % of the elements by more "
        f"than two errors (noise floor {100 * noise[0]:.0f} %), and correlations {np.nanmedian(shift):+.2f} (noise "
        f"floor {noise[1]:.2f})"
    )


def _table(runs: Sequence[Run]) -> Table:
    """Return all matrices as columns, a line for each pair of wavenumbers."""
    power, floor = runs[0].tree["power"], runs[0].tree["noise_floor"]
    first, second = np.meshgrid(power["k"], power["k"], indexing="ij")
    columns = {"k1 [h/Mpc]": first, "k2 [h/Mpc]": second, **_columns("N-body", power["nbody"])}
    for run in runs:
        columns |= _columns(run.name, run.tree["power"]["generated"])
        columns |= {
            f"{run.name} / N-body covariance - 1": _ratio(run, "covariance"),
            f"{run.name} / N-body covariance error": _ratio(run, "covariance_error"),
            f"{run.name} - N-body correlation": _ratio(run, "correlation"),
            f"{run.name} - N-body correlation error": _ratio(run, "correlation_error"),
        }
    columns["noise floor of covariance (fraction)"] = floor["power_covariance"]
    columns["noise floor of correlation"] = floor["power_correlation"]
    return {name: matrix.ravel() for name, matrix in columns.items()}


def _columns(label: str, group: Tree) -> Table:
    return {
        f"{label} covariance [(Mpc/h)^6]": group["covariance"],
        f"{label} covariance error [(Mpc/h)^6]": group["covariance_error"],
        f"{label} correlation": group["correlation"],
    }


def variance(runs: Sequence[Run]) -> Drawn:
    """Draw the variance of P(k) over N-body's, beside N-body against itself."""
    spectrum = need_bins(runs[0], "power", BELOW_NYQUIST)
    k, noise = spectrum["k"], runs[0].floor("power_variance")
    right = room(["noise floor", *(run.name for run in runs)])
    fig, ((ax,),) = new_panels((NARROW, 3.6), Margins(left=0.85, right=right))
    noise_band(ax, k, noise, zero=1)
    level_line(ax, 1.25, "±25 %")
    level_line(ax, 0.75)
    ax.axhline(1, color=BLACK, lw=0.8)
    ratios = {
        run.name: tuple(run.tree["power"]["ratio"][name] for name in ("variance", "variance_error")) for run in runs
    }
    for run in runs:
        value, error = ratios[run.name]
        below = np.minimum(error, 0.9 * (1 + value))  # so that a bar does not leave a logarithmic axis
        ax.errorbar(k, 1 + value, (below, error), color=run.color, marker=run.marker, ls=run.dash, elinewidth=0.8)
    k_axis(ax, spectrum["k_nyquist"])
    ax.set(yscale="log", xlabel=K_LABEL, ylabel="variance of P(k)\nover N-body's")
    inside = k <= spectrum["k_nyquist"]
    high = max(np.nanmax((1 + value + error)[inside], initial=1) for value, error in ratios.values())
    low = min(np.nanmin((1 + value)[inside], initial=1) for value, _ in ratios.values())
    ax.set_ylim(min(0.5, 0.8 * low), max(2, 1.2 * high))
    plain_log(ax.yaxis)
    ends = [(run.name, run.color, 1 + ratios[run.name][0]) for run in runs]
    name_ends(ax, [*ends, ("noise floor", DARK_GREY, 1)])
    low = k <= BELOW_NYQUIST * spectrum["k_nyquist"]
    seen = [f"{name}: furthest off {at(k[low], v[low], e[low], noise[low])}" for name, (v, e) in ratios.items()]
    caption = (
        f"The diagonal of the covariance over N-body's, with its error. {FLOOR} The paper reached 5 to 25 %. "
        f"Up to {BELOW_NYQUIST:g} Nyquist: {listed(seen)}"
    )
    table: Table = {"k [h/Mpc]": k}
    for name, (value, error) in ratios.items():
        table |= {f"{name} variance / N-body - 1": value, f"{name} error": error}
    return Drawn(fig, caption, {**table, "noise floor (rms)": noise})
