"""Figures of training: its curves, and previews of what the generator draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.exhibit import Drawn
from cosmogan.reporting.layout import Margins, new_panels, room
from cosmogan.reporting.palette import BLACK, BLUE, GREEN, LABELS, ORANGE
from cosmogan.reporting.runs import Missing, Run
from cosmogan.reporting.style import K_LABEL, NARROW, k_axis, name_ends, new, show_band, styled

Tree = dict[str, Any]
LOSSES = (("loss_generator", "generator", BLUE), ("loss_discriminator", "discriminator", ORANGE))
SCORES = (("score_real", "N-body", BLACK), ("score_fake", "generated", BLUE))


def losses(runs: Sequence[Run]) -> Drawn:
    """Draw the losses, the discriminator's scores, and how often it took a step, against samples seen."""
    records = runs[0].records
    if not records:
        raise Missing("there is no record of a training (train/metrics.jsonl)")
    names = ("loss_generator", "loss_discriminator", "score_real", "score_fake", "gate_rate")
    table = {name: np.array([record.get(name, np.nan) for record in records], float) for name in names}
    seen = np.array([record["n_seen"] for record in records])
    margins = Margins(left=0.9, right=room(["discriminator"]))
    fig, grid = new_panels((NARROW, 5.6), margins, 3, sharex=True, height_ratios=(2.2, 1.4, 1))
    axes = grid[:, 0]
    panels = (
        (LOSSES, "loss"),
        (SCORES, "discriminator's\nscore"),
        ((("gate_rate", "", GREEN),), "discriminator\nsteps taken"),
    )
    for ax, (curves, label) in zip(axes, panels, strict=True):
        ends = [(name, color, _curve(ax, seen / 1e3, table[key], color)) for key, name, color in curves]
        if ax is not axes[0]:
            ax.set_ylim(-0.03, 1.03)
        name_ends(ax, ends)
        ax.set_ylabel(label)
    axes[2].set_xlabel("samples seen  [thousands]")
    late = {name: np.nanmean(values[-max(len(values) // 10, 1) :]) for name, values in table.items()}
    caption = (
        "Faint: means over some steps; clear: a running mean of those. Losses say that training is in balance, not "
        f"that it has converged. Over the last tenth: loss of the generator {late['loss_generator']:.2f}, of the "
        f"discriminator {late['loss_discriminator']:.2f}; the discriminator gives N-body {late['score_real']:.2f} and "
        f"generated samples {late['score_fake']:.2f}. It took {100 * np.nanmean(table['gate_rate']):.0f} % of its "
        "steps; the others were skipped because it recognised fakes too well."
    )
    return Drawn(fig, caption, {"samples seen": seen, **table})


def _curve(ax: Axes, x: np.ndarray, values: np.ndarray, color: str) -> np.ndarray:
    """Draw a noisy curve faintly and its running mean, which is returned, clearly."""
    width = max(len(values) // 50, 1)
    smooth = np.convolve(values, np.ones(width) / width, "valid")
    ax.plot(x, values, color=color, lw=0.6, alpha=0.35)
    ax.plot(np.convolve(x, np.ones(width) / width, "valid"), smooth, color=color, lw=1.4)
    return smooth


@styled
def preview(training: Tree, generated: Tree, k_nyquist: float) -> Figure:
    """Draw where a generator in training stands.

    Parameters
    ----------
    training, generated : ``k`` (nk,) [h/Mpc], ``power`` (3, nk) 16, 50 and 84 % [(Mpc/h)³], ``c`` (nbins,), ``pdf``
        (nbins,) fraction of voxels, ``slices`` (2, m, m) scaled density
    k_nyquist : of a subvolume [h/Mpc]
    """
    fig = new(9, 5)
    upper, lower = fig.subfigures(2, 1, squeeze=False).flat
    curves, images = upper.subplots(1, 2), lower.subplots(1, 4)
    for tree, name in ((training, "training"), (generated, "generated")):
        label, color = LABELS[name]
        show_band(curves[0], tree["k"], tree["power"], color)
        curves[1].plot(tree["c"], np.where(tree["pdf"] > 0, tree["pdf"], np.nan), label=label, color=color)
    curves[0].set(yscale="log", ylabel="P(k)  [(Mpc/h)³]", xlabel=K_LABEL)
    k_axis(curves[0], k_nyquist)
    curves[1].set(yscale="log", xlabel="scaled density", ylabel="fraction of voxels")
    curves[1].legend()
    shown = [*generated["slices"], *training["slices"]]
    low, high = np.percentile(training["slices"], (0.5, 99.5))
    for ax, image, title in zip(images, shown, ("generated", "generated", "training", "training"), strict=True):
        ax.imshow(image, vmin=low, vmax=high, cmap="magma")
        ax.set_title(title)
        ax.set_axis_off()
    return fig
