"""Figures of the samples as a set: their latents, whether one is a copy, how different they are from one another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from cosmogan.reporting.exhibit import Drawn, Table, listed
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import BLACK, GREY, LABELS, NARROW, ORANGE, WIDE, new

ASIDE = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8, "rotation": 90}
Shown = tuple[str, str, object, np.ndarray]  # name, colour, dash, values (n,)


def latent_norm(runs: Sequence[Run]) -> Drawn:
    """Draw the distributions of the latents' norms: of all samples, and of those that rejection sampling accepted."""
    shown: list[Shown] = []
    for run in runs:
        if run.judged:
            norm, accepted = run.judged["norm"], run.judged["accepted"]
            shown.append((f"{run.name}: drawn" if len(runs) > 1 else "drawn", run.color, "-", norm))
            shown.append((f"{run.name}: accepted" if len(runs) > 1 else "accepted", ORANGE, "--", norm[accepted]))
        elif "norm" in run.tree.get("latents", {}):
            shown.append((run.name, run.color, run.dash, run.tree["latents"]["norm"]))
    if not shown:
        raise Missing("the samples' latents are not known")
    fig = new(NARROW, 3.6)
    ax = fig.subplots()
    table = histograms(ax, shown, "norm of the latent vector, ‖z‖")
    dimension = runs[0].settings.get("model", {}).get("latent_dimension")
    if dimension:
        norm = np.linspace(*ax.get_xlim(), 200)
        ax.plot(norm, stats.chi(dimension).pdf(norm), color=GREY, lw=1.2, ls=":")
        place = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 9, "color": GREY}
        ax.annotate("Gaussian of width 1", (0.95, 0.98 - 0.075 * len(shown)), **place)
    seen = [f"{name}: median {np.median(values):.2f}" for name, _, _, values in shown]
    rates = [_accepted(run) for run in runs if run.judged]
    caption = " ".join(["Vertical lines are medians:", listed(seen), *rates])
    return Drawn(fig, caption, table)


def _accepted(run: Run) -> str:
    """Say how many samples the discriminator accepted."""
    norm, accepted = run.judged["norm"], run.judged["accepted"]
    rate, n = accepted.mean(), len(accepted)
    return (
        f"The discriminator of {run.name} accepted {accepted.sum()} of {n} samples, {100 * rate:.2f} ± "
        f"{100 * np.sqrt(rate * (1 - rate) / n):.2f} % (the paper: about 3 %), and their median norm is "
        f"{100 * (np.median(norm[accepted]) / np.median(norm) - 1):+.1f} % off that of all."
    )


def histograms(ax: Axes, shown: Sequence[Shown], label: str) -> Table:
    """Draw distributions of numbers with their medians and their names, and return them as columns."""
    bins = np.linspace(*np.percentile(np.concatenate([values for *_, values in shown]), (0.2, 99.6)), 31)
    table: Table = {"lower edge": bins[:-1], "upper edge": bins[1:]}
    place = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 9}
    for i, (name, color, dash, values) in enumerate(shown):
        ax.hist(values, bins, density=True, color=color, alpha=0.12, histtype="stepfilled")
        ax.hist(values, bins, density=True, color=color, histtype="step", ls=dash, lw=1.3)
        ax.axvline(np.median(values), color=color, lw=1.6, ls=dash)
        ax.annotate(f"{name}, median {np.median(values):.3g}", (0.95, 0.98 - 0.075 * i), color=color, **place)
        table[f"{name} probability density"] = np.histogram(values, bins, density=True)[0]
    ax.set(xlabel=label, ylabel="probability density")
    return table


def neighbours(runs: Sequence[Run]) -> Drawn:
    """Draw how like its nearest neighbour a sample is, in the training set and in its own set."""
    found = [run.need("neighbours") for run in runs]
    kinds = [kind for kind in ("training", "peers") if all(kind in tree["generated"] for tree in found)]
    table: Table = {}
    wide, narrow = _neighbours(runs, kinds, len(kinds), table), _neighbours(runs, kinds, 1, {})
    limit = found[0]["threshold"]
    seen = []
    for run, tree in zip(runs, found, strict=True):
        words = {"training": "of a training subvolume", "peers": "of another sample"}
        copies = [f"{int(np.sum(tree['generated'][kind] > limit))} {words[kind]}" for kind in kinds]
        seen.append(f"{run.name}: copies among {run.tree['n_generated']} samples: {', '.join(copies)}")
    caption = (
        "Similarity is the correlation coefficient of two coarse volumes, the largest of the cube's 48 symmetries; "
        f"above {limit:.3g} (dashed) a sample is called a copy. Held-out N-body (black) is the noise floor. "
        f"{listed(seen)}"
    )
    return Drawn(wide, caption, table, narrow=narrow)


def _neighbours(runs: Sequence[Run], kinds: Sequence[str], columns: int, table: Table) -> Figure:
    """Draw a panel for each kind of neighbour, and put the numbers into the table."""
    rows = len(kinds) // columns
    fig = new(WIDE if columns > 1 else NARROW, 3.4 * rows)
    titles = {"training": "nearest training subvolume", "peers": "nearest in its own set"}
    for ax, kind in zip(fig.subplots(rows, columns, squeeze=False).ravel(), kinds, strict=True):
        shown: list[Shown] = [(*LABELS["nbody"], "-", runs[0].tree["neighbours"]["nbody"][kind])]
        shown += [(run.name, run.color, run.dash, run.tree["neighbours"]["generated"][kind]) for run in runs]
        columns_ = histograms(ax, shown, f"similarity to the {titles[kind]}")
        table |= {f"{kind} {name}": values for name, values in columns_.items()}
        limit = runs[0].tree["neighbours"]["threshold"]
        ax.axvline(limit, color=BLACK, lw=1, ls="--")
        ax.set_xlim(right=max(ax.get_xlim()[1], 1.04 * limit))
        ax.annotate("copy", (limit, 0.5), (4, 0), **ASIDE)
    return fig


def diversity(runs: Sequence[Run]) -> Drawn:
    """Draw the effective number of different volumes in each set."""
    found = [run.need("diversity") for run in runs]
    fig = new(NARROW, 1.2 + 0.35 * len(runs))
    ax = fig.subplots()
    names = ["N-body", *(run.name for run in runs)]
    colors = [BLACK, *(run.color for run in runs)]
    values = [found[0]["nbody"], *(tree["generated"] for tree in found)]
    errors = [found[0]["nbody_error"], *(tree["generated_error"] for tree in found)]
    for i, (color, value, error) in enumerate(zip(colors, values, errors, strict=True)):
        ax.errorbar(value, i, xerr=error, color=color, marker="o", ms=6)
        ax.annotate(
            f"{value:.3g} ± {error:.2g}", (value, i), (0, 7), textcoords="offset points", ha="center", color=color
        )
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.5, -0.6), xlabel="effective number of different volumes (Vendi score)")
    ax.margins(x=0.2)
    seen = [f"{name}: {value:.3g} ± {error:.2g}" for name, value, error in zip(names, values, errors, strict=True)]
    caption = (
        "How many different volumes a set amounts to, by the similarity of coarse volumes: low when samples repeat "
        f"themselves. Sets of equal size. {listed(seen)}"
    )
    table = {"set": np.array(names), "Vendi score": np.array(values), "error": np.array(errors)}
    return Drawn(fig, caption, table)
