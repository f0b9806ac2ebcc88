"""Figures of the bispectrum and the reduced bispectrum against the angle between two sides."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import BAND, FLOOR, Drawn, Table, at, listed, mean_ratio, ratios, sets
from cosmogan.reporting.layout import Margins, new_pairs, room
from cosmogan.reporting.palette import BLACK
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import (
    NARROW,
    WIDE,
    name_ends,
    noise_band,
    plain_log,
    power_of_ten,
    ratio_panel,
    show_band,
)

LOG_FROM = 4  # ratio of largest to smallest from which on an axis is logarithmic
SIDES = (
    "k₁ and k₂ are the paper's in units of the subvolume's fundamental wavenumber, or the same fraction of Nyquist "
    "where that passes it; angles whose third side passes Nyquist are left out."
)


def bispectrum(runs: Sequence[Run]) -> Drawn:
    """Draw B, a pair of panels for each (k1, k2)."""
    return _all_sides(runs, "bispectrum", "B  [{} (Mpc/h)⁶]", " [(Mpc/h)^6]")


def reduced(runs: Sequence[Run]) -> Drawn:
    """Draw Q = B / (P1 P2 + P2 P3 + P3 P1), which leaves the amplitude of the power out."""
    return _all_sides(runs, "reduced", "Q", "")


def _all_sides(runs: Sequence[Run], name: str, label: str, unit: str) -> Drawn:
    """Draw one of the two against the angle, for all sides."""
    names = sorted(group for group in runs[0].tree if group.startswith(f"{name}_"))
    if not names:
        raise Missing("no triangle of the paper fits a subvolume of so few cells")
    table: Table = {}
    for group in names:
        tree = runs[0].tree[group]
        columns = {"theta [rad]": tree["theta"], "k3 [h/Mpc]": tree["k3"]}
        columns |= {**sets(runs, group, unit), **ratios(runs, group)}
        sides = {f"{side} [h/Mpc]": np.full(len(tree["theta"]), tree[side]) for side in ("k1", "k2")}
        for column, values in (sides | columns).items():
            table[column] = np.concatenate([table.get(column, np.empty(0)), values])
    caption = (
        f"{BAND} Small panels: the ratio of the means with its error. {FLOOR} {SIDES} "
        f"{listed([_furthest(run, names) for run in runs])}"
    )
    return Drawn(_grid(runs, names, label, 3), caption, table, narrow=_grid(runs, names, label, 1))


def _furthest(run: Run, names: Sequence[str]) -> str:
    """Say for which sides and angle a run's mean is furthest from N-body's."""
    columns, words = [], []
    for name in names:
        group = run.tree[name]
        columns.append((*mean_ratio(group), run.floor(name)))
        sides = f"k₁ = {group['k1']:.2f}, k₂ = {group['k2']:.2f} h/Mpc, θ = "
        words += [f"{sides}{theta:.2f}" for theta in group["theta"]]
    value, error, floor = map(np.concatenate, zip(*columns, strict=True))
    return f"{run.name}: furthest off {at(np.array(words), value, error, floor, '{}')}"


def _grid(runs: Sequence[Run], names: Sequence[str], label: str, columns: int) -> Figure:
    """Draw a large and a small panel for each pair of sides, in so many columns."""
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    right = room(["N-body", *(run.name for run in runs)])
    margins = Margins(right=right, top=0.3, across=0.75, down=0.8)
    fig, axes = new_pairs((WIDE if columns > 1 else NARROW, 3.3 * rows), margins, rows, columns, 0.53)
    for i, (upper, lower) in enumerate(axes):
        if i < len(names):
            _values(upper, runs, names[i], label, i % columns == columns - 1 or i == len(names) - 1)
            _ratio(lower, runs, names[i])
            lower.set_ylabel("ratio − 1  [%]" if i % columns == 0 else "")
        else:
            upper.set_axis_off()
            lower.set_axis_off()
    return fig


def _values(ax: Axes, runs: Sequence[Run], name: str, label: str, named: bool) -> None:
    """Draw the medians and their bands in powers of ten."""
    group = runs[0].tree[name]
    shown = [(group["nbody"]["percentiles"], BLACK, "-", "N-body")]
    shown += [(run.tree[name]["generated"]["percentiles"], run.color, run.dash, run.name) for run in runs]
    unit = 10.0 ** np.floor(np.log10(np.median(abs(shown[0][0])))) if "{}" in label else 1.0
    scaled = [percentiles / unit for percentiles, *_ in shown]
    for percentiles, (_, color, dash, _) in zip(scaled, shown, strict=True):
        show_band(ax, group["theta"], percentiles, color, dash)
    lowest = min(percentiles.min() for percentiles in scaled)
    if 0 < LOG_FROM * lowest < max(percentiles.max() for percentiles in scaled):
        ax.set_yscale("log")
        plain_log(ax.yaxis)
    ax.set(title=f"k₁ = {group['k1']:.2f}, k₂ = {group['k2']:.2f} h/Mpc", xlim=(-0.1, 2.6))
    ax.set_ylabel(label.format(power_of_ten(unit)))
    if named:
        name_ends(ax, [(word, color, values[1]) for values, (_, color, _, word) in zip(scaled, shown, strict=True)])


def _ratio(ax: Axes, runs: Sequence[Run], name: str) -> None:
    """Draw the ratios of the means and the noise floor."""
    theta, seen = runs[0].tree[name]["theta"], []
    noise_band(ax, theta, 100 * runs[0].floor(name))
    for run in runs:
        value, error = (100 * part for part in mean_ratio(run.tree[name]))
        ax.errorbar(theta, value, error, color=run.color, marker=run.marker, ls=run.dash, lw=1.2)
        seen.append(abs(value) + np.nan_to_num(error))
    ratio_panel(ax, (10,), seen)
    ax.set(xlabel="θ  [rad]", xlim=(-0.1, 2.6))
