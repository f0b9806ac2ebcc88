"""Figures of the choice among epochs, and of what the discriminator accepts."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.style import BLACK, BLUE, GREY, ORANGE, legend_above, new, plain_log, styled

Tree = dict[str, Any]


@styled
def selection(candidates: list[Tree], chosen: Tree) -> Figure:
    """Draw every candidate's score against its epoch, and how the latent scale of the chosen one was tuned.

    Parameters
    ----------
    candidates : with ``epoch``, ``ema``, ``score`` and its ``error``
    chosen : the one that was released, with ``latent_scale``, its error, and ``trials``: latent scale, ln of the mean
        power's amplitude, and the error of that; empty: it was not tuned
    """
    trials = chosen["trials"]
    fig = new(9 if trials else 6, 3.4)
    axes = fig.subplots(1, 2 if trials else 1, width_ratios=(2, 1) if trials else (1,), squeeze=False)[0]
    for average, label, color in ((False, "generator", GREY), (True, "averaged weights", BLUE)):
        picked = sorted((c for c in candidates if bool(c["ema"]) is average), key=lambda c: c["epoch"])
        if picked:
            epochs, scores, errors = (np.array([c[name] for c in picked]) for name in ("epoch", "score", "error"))
            below = np.minimum(errors, 0.9 * scores)  # so that a bar does not leave a logarithmic axis
            axes[0].errorbar(epochs, scores, (below, errors), fmt="o-", color=color, lw=1, elinewidth=0.8, label=label)
    best = next(c for c in candidates if all(c[name] == chosen[name] for name in ("epoch", "ema")))
    axes[0].plot(best["epoch"], best["score"], "*", color=ORANGE, ms=14, label="released", zorder=3)
    axes[0].set(yscale="log", xlabel="epoch", ylabel="score (lower is better)")
    plain_log(axes[0].yaxis)
    legend_above(axes[0])
    if trials:
        _tuning(axes[1], np.array(sorted(trials)), chosen)
    return fig


def _tuning(ax: Axes, trials: np.ndarray, chosen: Tree) -> None:
    """Draw the amplitude of the mean power against the latent scale, and the scale that was taken."""
    scale, amplitude, error = trials.T
    ratio = np.exp(amplitude)
    ax.axhline(1, color=BLACK, lw=0.8)
    ax.errorbar(scale, ratio, ratio * error, fmt="o-", color=BLUE, lw=1)
    taken, spread = chosen["latent_scale"], chosen["latent_scale_error"]
    ax.axvline(taken, color=ORANGE, lw=1.2)
    if spread is not None:
        ax.axvspan(taken - spread, taken + spread, color=ORANGE, alpha=0.25, lw=0)
    ax.set(yscale="log", xlabel="latent scale", ylabel="mean power over the training set's")
    plain_log(ax.yaxis)


@styled
def rejection(norm: np.ndarray, accepted: np.ndarray) -> Figure:
    """Draw the distributions of the latents' norms, of all samples that were judged and of those accepted.

    Parameters
    ----------
    norm : (n,) Euclidean norms
    accepted : (n,) bool
    """
    fig = new(7, 3.4)
    ax = fig.subplots()
    bins = np.linspace(*np.percentile(norm, (0.1, 99.5)), 31)
    for values, name, color, dash in ((norm, "drawn", BLUE, "-"), (norm[accepted], "accepted", ORANGE, "--")):
        median = np.median(values)
        ax.hist(values, bins, density=True, color=color, alpha=0.18, histtype="stepfilled")
        ax.hist(values, bins, density=True, color=color, histtype="step", ls=dash, lw=1.3)
        ax.axvline(median, color=color, lw=1.6, ls=dash, label=f"{name}, median {median:.2f}")
    ax.set(xlabel="norm of the latent vector, ‖z‖", ylabel="probability density")
    ax.legend()
    return fig
