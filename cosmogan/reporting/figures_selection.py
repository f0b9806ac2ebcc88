"""The figure of the choice among epochs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import Drawn, Table
from cosmogan.reporting.layout import Margins, new_panels
from cosmogan.reporting.palette import BLACK, BLUE, GREY, ORANGE
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import NARROW, plain_log, styled

Tree = dict[str, Any]


def released(runs: Sequence[Run]) -> Drawn:
    """Draw the scores of all epochs' generators, and say which one was released."""
    scores = runs[0].scores
    if not scores.get("candidates"):
        raise Missing("there is no record of a selection (select/scores.json)")
    candidates, chosen = scores["candidates"], scores["chosen"]
    parts = "mean, median and scatter of P(k), voxel PDF, mean density"
    kind = "averaged weights" if chosen["ema"] else "the generator itself"
    error = chosen["latent_scale_error"]
    if chosen.get("calibration", {}).get("kept"):
        finished = "calibrated to the training boxes"
    else:
        tuned = "" if error is None else f" ± {error:.4f}, so that the mean power has the training boxes' amplitude"
        finished = f"its latents scaled by {chosen['latent_scale']:.4f}{tuned}"
    caption = (
        f"Every epoch's generator, scored on {parts}{', bispectrum' if 'bispectrum' in chosen else ''} against the "
        "training boxes; bars are standard deviations when the samples are drawn again with replacement. "
        f"Released: {kind} of epoch {chosen['epoch']}, {finished}."
    )
    table: Table = {name: np.array([line[name] for line in candidates]) for name in ("epoch", "ema", "score", "error")}
    return Drawn(selection(candidates, chosen), caption, table)


@styled
def selection(candidates: list[Tree], chosen: Tree) -> Figure:
    """Draw every candidate's score against its epoch, and how the chosen one's latent scale was tuned.

    Parameters
    ----------
    candidates : with ``epoch``, ``ema``, ``score`` and its ``error``
    chosen : the one that was released, with ``latent_scale``, its error, and ``trials``: latent scale, ln of the mean
        power's amplitude, and the error of that; empty: it was not tuned
    """
    rows = 2 if chosen["trials"] else 1
    fig, grid = new_panels((NARROW, 1.4 + 2.2 * rows), Margins(down=0.6), rows, height_ratios=(3, 2)[:rows])
    axes = grid[:, 0]
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
    axes[0].legend()
    if chosen["trials"]:
        _tuning(axes[1], chosen)
    return fig


def _tuning(ax: Axes, chosen: Tree) -> None:
    """Draw the amplitude of the mean power against the latent scale, and the scale that was taken."""
    scale, amplitude, error = np.array(sorted(chosen["trials"])).T
    ratio = np.exp(amplitude)
    ax.axhline(1, color=BLACK, lw=0.8)
    ax.errorbar(scale, ratio, ratio * error, fmt="o-", color=BLUE, lw=1)
    taken, spread = chosen["latent_scale"], chosen["latent_scale_error"]
    ax.axvline(taken, color=ORANGE, lw=1.2)
    if spread is not None:
        ax.axvspan(taken - spread, taken + spread, color=ORANGE, alpha=0.25, lw=0)
    ax.set(yscale="log", xlabel="latent scale", ylabel="mean power over training's")
    plain_log(ax.yaxis)
