"""Figures of training: its curves, and previews of what the generator draws."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cosmogan.reporting.style import BLACK, BLUE, GREEN, K_LABEL, LABELS, ORANGE, k_axis, new, show_band, styled

Tree = dict[str, Any]


@styled
def training(records: list[Tree]) -> Figure:
    """Draw the losses, the discriminator's scores, and how often it took a step, against samples seen."""
    fig = new(7, 5.4)
    axes = fig.subplots(3, 1, sharex=True, height_ratios=(2, 1.4, 1))
    seen = np.array([record["n_seen"] for record in records]) / 1e3
    curves = (
        (axes[0], (("loss_generator", "generator", BLUE), ("loss_discriminator", "discriminator", ORANGE)), "loss"),
        (axes[1], (("score_real", "of N-body", BLACK), ("score_fake", "of fakes", BLUE)), "score"),
        (axes[2], (("gate_rate", "", GREEN),), "discriminator\nsteps taken"),
    )
    for ax, lines, ylabel in curves:
        for name, label, color in lines:
            _curve(ax, seen, np.array([record.get(name, np.nan) for record in records], float), label, color)
        ax.set(ylabel=ylabel)
    for ax in axes[1:]:
        ax.set_ylim(-0.03, 1.03)
    axes[2].set_xlabel("samples seen  [thousands]")
    return fig


def _curve(ax: Axes, x: np.ndarray, values: np.ndarray, label: str, color: str) -> None:
    """Draw a noisy curve faintly, its running mean clearly, and its name at its end."""
    width = max(len(values) // 50, 1)
    smooth = np.convolve(values, np.ones(width) / width, "valid")
    middle = np.convolve(x, np.ones(width) / width, "valid")
    ax.plot(x, values, color=color, lw=0.6, alpha=0.35)
    ax.plot(middle, smooth, color=color, lw=1.4)
    ax.annotate(label, (middle[-1], smooth[-1]), (6, 0), textcoords="offset points", color=color, va="center")


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
    upper, lower = fig.subfigures(2, 1)
    curves, images = upper.subplots(1, 2), lower.subplots(1, 4)
    for tree, name in ((training, "training"), (generated, "generated")):
        show_band(curves[0], tree["k"], tree["power"], name)
        label, color = LABELS[name]
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
