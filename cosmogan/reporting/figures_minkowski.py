"""The figure of the Minkowski functionals against the threshold."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import Drawn, listed, ratios, sets
from cosmogan.reporting.layout import Margins, new_pairs, room
from cosmogan.reporting.palette import BLACK, GREY
from cosmogan.reporting.runs import Run
from cosmogan.reporting.style import NARROW, WIDE, level_line, name_ends
from cosmogan.shards.statistics_file import Tree

TITLES = {1: "v₁: surface", 2: "v₂: mean curvature", 3: "v₃: Euler number"}


def functionals(runs: Sequence[Run]) -> Drawn:
    """Draw v1, v2 and v3 of the densest cells, and how far every run is from N-body."""
    for run in runs:
        run.need("minkowski")
    group = runs[0].tree["minkowski"]
    table = {"order": group["order"], "nu": group["nu"], **sets(runs, "minkowski"), **ratios(runs, "minkowski")}
    caption = (
        "Surface, mean curvature and Euler number (clumps less tunnels plus cavities) of the densest cells, a volume "
        "each, against the fraction of cells that they are: above ν of a Gaussian field. No monotone map of the "
        "density changes them, and nothing was fitted to them. Lines are means, bands the standard deviation of "
        "single subvolumes. Below: differences from N-body over N-body's largest, with errors. Grey: the noise "
        f"floor, rms of one half of the N-body volumes against the other. {listed([_worst(run) for run in runs])}"
    )
    return Drawn(_panels(runs, 3), caption, table, narrow=_panels(runs, 1))


def _panels(runs: Sequence[Run], columns: int) -> Figure:
    """Draw a large and a small panel for each functional."""
    right = room(["N-body", *(run.name for run in runs)])
    margins = Margins(left=0.9, right=right, top=0.3, across=0.75, down=0.6)
    fig, axes = new_pairs((WIDE if columns == 3 else NARROW, 4.3 * 3 / columns), margins, 3 // columns, columns, 0.6)
    for i, order in enumerate(TITLES):
        upper, lower = axes[i]
        chosen = runs[0].tree["minkowski"]["order"] == order
        last = i % columns == columns - 1
        _values(upper, runs, chosen, last)
        _differences(lower, runs, chosen, last)
        upper.set_title(f"{TITLES[order]}  [(h/Mpc){'¹²³'[order - 1]}]".replace("¹", ""))
        if i % columns == 0:
            lower.set_ylabel("difference\nover largest  [%]")
        lower.set_xlabel("threshold ν" if i // columns == 3 // columns - 1 else "")
    return fig


def _values(ax: Axes, runs: Sequence[Run], chosen: np.ndarray, named: bool) -> None:
    group = runs[0].tree["minkowski"]
    nu, ends = group["nu"][chosen], []
    shown = [(group["nbody"], "N-body", BLACK, "-"), *((_own(run), run.name, run.color, run.dash) for run in runs)]
    for moments, name, color, dash in shown:
        value, scatter = moments["mean"][chosen], np.sqrt(np.diag(moments["covariance"]))[chosen]
        ax.plot(nu, value, color=color, ls=dash)
        ax.fill_between(nu, value - scatter, value + scatter, color=color, alpha=0.12, lw=0)
        ends.append((name, color, value))
    ax.axhline(0, color=GREY, lw=0.6)
    if named:
        name_ends(ax, ends)


def _differences(ax: Axes, runs: Sequence[Run], chosen: np.ndarray, named: bool) -> None:
    nu = runs[0].tree["minkowski"]["nu"][chosen]
    noise = 100 * (runs[0].floor("minkowski") * abs(_scaled(runs[0])[2]))[chosen]
    ax.fill_between(nu, -noise, noise, color=GREY, alpha=0.35, lw=0)
    ax.axhline(0, color=BLACK, lw=0.8)
    ends = []
    for run in runs:
        value, error = (100 * part[chosen] for part in _scaled(run)[:2])
        ax.errorbar(nu, value, error, color=run.color, marker=run.marker, ls=run.dash, lw=1.2)
        ends.append((run.name, run.color, value))
    level_line(ax, 10, "±10 %")
    level_line(ax, -10)
    if named:
        name_ends(ax, ends)


def _own(run: Run) -> Tree:
    return run.tree["minkowski"]["generated"]


def _scaled(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a run's difference from N-body over N-body's largest of the same order, its error, and N-body's mean."""
    group = run.tree["minkowski"]
    real = group["nbody"]
    size = np.array([abs(real["mean"])[group["order"] == order].max() for order in group["order"]])
    error = np.hypot(_own(run)["error"], real["error"])
    return (_own(run)["mean"] - real["mean"]) / size, error / size, real["mean"] / size


def _worst(run: Run) -> str:
    group, (value, error, _) = run.tree["minkowski"], _scaled(run)
    i = int(np.argmax(abs(value)))
    where = f"v{'₁₂₃'[int(group['order'][i]) - 1]} at ν = {group['nu'][i]:g}"
    return f"{run.name}: furthest off in {where} ({100 * value[i]:+.1f} ± {100 * error[i]:.1f} %)"
