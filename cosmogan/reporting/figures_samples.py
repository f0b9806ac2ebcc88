"""Figures of the samples as a set: the norms of their latents, copies among them, and their diversity."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import Drawn, Table, listed
from cosmogan.reporting.histograms import Shown, histograms, median_in_words
from cosmogan.reporting.layout import Margins, new_panels, room
from cosmogan.reporting.palette import BLACK, GREY, LABELS, ORANGE
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import NARROW, WIDE

ASIDE = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8, "rotation": 90}


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
    fig, ((ax,),) = new_panels((NARROW, 3.6), Margins())
    table = histograms(ax, shown, "norm of the latent vector, ‖z‖")
    dotted = ""
    dimension = runs[0].settings.get("model", {}).get("latent_dimension")
    if dimension:
        low, high = ax.get_xlim()
        norm = np.linspace(low, high, 200)
        ax.plot(norm, _chi(norm, dimension), color=GREY, lw=1.2, ls=":")
        dotted = f" Dotted: of {dimension} independent Gaussians of width 1."
    seen = [f"{name}: {median_in_words(values)}" for name, _, _, values in shown]
    rates = [_accepted(run) for run in runs if run.judged]
    caption = " ".join([f"Vertical lines are medians.{dotted}", listed(seen), *rates])
    return Drawn(fig, caption, table)


def _accepted(run: Run) -> str:
    """Say how many samples the discriminator accepted."""
    norm, accepted = run.judged["norm"], run.judged["accepted"]
    rate, n = accepted.mean(), len(accepted)
    return (
        f"{run.name}: the discriminator accepted {accepted.sum()} of {n} samples, {100 * rate:.2f} ± "
        f"{100 * np.sqrt(rate * (1 - rate) / n):.2f} % (the paper: about 3 %), and their median norm is "
        f"{100 * (np.median(norm[accepted]) / np.median(norm) - 1):+.1f} % off that of all."
    )


def neighbours(runs: Sequence[Run]) -> Drawn:
    """Draw the similarity of each sample to its nearest neighbour, in the training set and in its own set."""
    trees = [run.need("neighbours") for run in runs]
    limit, whose = trees[0]["threshold"], {"training": "training", "nbody": "reference"}[trees[0]["compared_with"]]
    kinds = [kind for kind in ("training", "peers") if all(kind in tree["generated"] for tree in trees)]
    labels = {"training": f"nearest {whose} subvolume", "peers": "nearest in its own set"}
    table: Table = {}
    wide = _neighbours(runs, {kind: labels[kind] for kind in kinds}, len(kinds), table)
    narrow = _neighbours(runs, {kind: labels[kind] for kind in kinds}, 1, {})
    seen = []
    for run, tree in zip(runs, trees, strict=True):
        copied = {"training": f"of a {whose} subvolume", "peers": "of another sample"}
        copies = [f"{int(np.sum(tree['generated'][kind] > limit))} {copied[kind]}" for kind in kinds]
        seen.append(f"{run.name}: copies among {run.tree['n_generated']} samples: {', '.join(copies)}")
    caption = (
        "Similarity is the correlation coefficient of two coarse volumes, the largest of the cube's 48 symmetries; "
        f"above {limit:.3g} (dashed) a sample is called a copy. N-body (black) is the noise floor. {listed(seen)}"
    )
    return Drawn(wide, caption, table, narrow=narrow)


def _neighbours(runs: Sequence[Run], labels: dict[str, str], columns: int, table: Table) -> Figure:
    """Draw a panel for each kind of neighbour, and put the numbers into the table."""
    rows = len(labels) // columns
    size = (WIDE if columns > 1 else NARROW, 3.4 * rows)
    fig, axes = new_panels(size, Margins(across=0.8, down=0.6), rows, columns)
    nbody = runs[0].tree["neighbours"]["nbody"]
    limit = runs[0].tree["neighbours"]["threshold"]
    for ax, kind in zip(axes.ravel(), labels, strict=True):
        shown: list[Shown] = [(*LABELS["nbody"], "-", nbody[kind])] if kind in nbody else []
        shown += [(run.name, run.color, run.dash, run.tree["neighbours"]["generated"][kind]) for run in runs]
        drawn = histograms(ax, shown, f"similarity to the {labels[kind]}")
        table |= {f"{kind} {name}": values for name, values in drawn.items()}
        ax.axvline(limit, color=BLACK, lw=1, ls="--")
        ax.set_xlim(right=max(ax.get_xlim()[1], 1.04 * limit))
        ax.annotate("copy", (limit, 0.5), (4, 0), **ASIDE)
    return fig


def diversity(runs: Sequence[Run]) -> Drawn:
    """Draw the effective number of different volumes in each set."""
    trees = [run.need("diversity") for run in runs]
    names = ["N-body", *(run.name for run in runs)]
    fig, ((ax,),) = new_panels((NARROW, 1.2 + 0.35 * len(runs)), Margins(left=1.2 * room(names)))
    colors = [BLACK, *(run.color for run in runs)]
    values = [trees[0]["nbody"], *(tree["generated"] for tree in trees)]
    errors = [trees[0]["nbody_error"], *(tree["generated_error"] for tree in trees)]
    low, high = (values[0] * (1 + sign * trees[0]["floor"]) for sign in (-1, 1))
    ax.axvspan(low, high, color=GREY, alpha=0.35, lw=0)
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
        f"themselves. Sets of {trees[0]['n']} volumes. Grey: the noise floor, halves of N-body. {listed(seen)}"
    )
    table = {"set": np.array(names), "Vendi score": np.array(values), "error": np.array(errors)}
    return Drawn(fig, caption, table)


def _chi(norm: np.ndarray, dimension: int) -> np.ndarray:
    """Return the probability density of the norm of a Gaussian vector."""
    constant = (1 - dimension / 2) * math.log(2) - math.lgamma(dimension / 2)
    return np.exp(constant + (dimension - 1) * np.log(norm) - norm**2 / 2)
