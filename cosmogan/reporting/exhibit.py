"""Define a figure of the report: a drawing, its numbers and its caption."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from cosmogan.reporting.criteria import BELOW_NYQUIST
from cosmogan.reporting.runs import Missing, Run
from cosmogan.shards.statistics_file import Tree

BAND = "Lines are medians, bands hold 16 to 84 % of the samples."
FLOOR = "Grey: the noise floor, rms of one half of the N-body volumes against the other."

Table = dict[str, np.ndarray]  # a column's name with its unit → its values


@dataclass(frozen=True)
class Drawn:
    """A figure with what goes with it."""

    figure: Figure
    caption: str
    table: Table = field(default_factory=dict)  # its numbers, columns of one length; empty: they are volumes
    narrow: Figure | None = None  # the same for a phone; None: it is narrow
    moving: bytes = b""  # a GIF file to go with it


def need_bins(run: Run, name: str, fraction: float = 1.0) -> Tree:
    """Return a run's group of spectra, or raise Missing when no bin's k is within this fraction of Nyquist."""
    group = run.need(name)
    if not (group["k"] <= fraction * group["k_nyquist"]).any():
        raise Missing(f"no bin of k lies below {fraction:g} Nyquist")
    return group


def mean_ratio(group: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Return generated over N-body of a statistic's mean, less 1, and its error, (d,) each."""
    return group["ratio"]["mean"], group["ratio"]["mean_error"]


def worst(run: Run, group: Tree, name: str) -> str:
    """Say where up to 0.95 Nyquist a run's mean is furthest from N-body's, beside the noise floor there."""
    low = group["k"] <= BELOW_NYQUIST * group["k_nyquist"]
    (value, error), floor = mean_ratio(group), run.floor(name)
    return f"{run.name}: furthest off {at(group['k'][low], value[low], error[low], floor[low])}"


def at(k: np.ndarray, value: np.ndarray, error: np.ndarray, floor: np.ndarray, where: str = "k = {:.2g} h/Mpc") -> str:
    """Say which is the largest of some ratios, less 1, and where, with its error and noise floor."""
    if not np.isfinite(value).any():
        return "nowhere that is known"
    i = int(np.nanargmax(abs(value)))
    numbers = f"{100 * value[i]:+.1f} ± {100 * error[i]:.1f} %, noise floor {100 * floor[i]:.1f} %"
    return f"at {where.format(k[i])} ({numbers})"


def listed(parts: Sequence[str]) -> str:
    """Return what is said of each run as one sentence; the name of a run keeps its letters."""
    return f"{'; '.join(parts)}."


def sets(runs: Sequence[Run], name: str, unit: str = "") -> Table:
    """Return mean, its error and percentiles of N-body and of every run, as columns.

    Parameters
    ----------
    runs : N-body is the first one's
    name : of a statistic with a group for each set
    unit : of its values
    """
    first = runs[0].tree[name]
    columns = _columns("N-body", first["nbody"], unit)
    for run in runs:
        columns |= _columns(run.name, run.tree[name]["generated"], unit)
    if "training" in first:
        columns[f"training mean{unit}"] = first["training"]["mean"]
    return columns


def _columns(label: str, group: Tree, unit: str) -> Table:
    columns = {f"{label} mean{unit}": group["mean"], f"{label} error of mean{unit}": group["error"]}
    return columns | {f"{label} {p} %{unit}": group["percentiles"][i] for i, p in enumerate((16, 50, 84))}


def ratios(runs: Sequence[Run], name: str) -> Table:
    """Return every run's ratio to N-body, less 1, its error, and the noise floor, as columns."""
    columns: Table = {}
    for run in runs:
        value, error = mean_ratio(run.tree[name])
        columns |= {f"{run.name} / N-body - 1": value, f"{run.name} / N-body error": error}
    return {**columns, "noise floor (rms)": runs[0].floor(name)}
