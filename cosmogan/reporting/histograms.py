"""Distributions of one number a sample, drawn with their medians and names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cosmogan.reporting.exhibit import Table
from cosmogan.reporting.style import BACKING

N_BINS = 35
Shown = tuple[str, str, Any, np.ndarray]  # name, colour, dash, values (n,)


def histograms(ax: Axes, shown: Sequence[Shown], label: str) -> Table:
    """Draw distributions, named above where none of them reaches, and return them as columns."""
    everything = np.concatenate([values for *_, values in shown])
    edges = np.linspace(everything.min(), everything.max(), N_BINS + 1)
    table: Table = {"lower edge": edges[:-1], "upper edge": edges[1:]}
    for i, (name, color, dash, values) in enumerate(shown):
        density, _, _ = ax.hist(values, edges.tolist(), density=True, color=color, histtype="step", ls=dash, lw=1.3)
        ax.hist(values, edges.tolist(), density=True, color=color, alpha=0.12, histtype="stepfilled")
        ax.axvline(np.median(values), color=color, lw=1.6, ls=dash)
        place: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "top"}
        text = f"{name}, {median_in_words(values)}"
        ax.annotate(text, (0.93, 0.98 - 0.075 * i), color=color, fontsize=9, bbox=BACKING, **place)
        table[f"{name} probability density"] = np.asarray(density)
    ax.set(xlabel=label, ylabel="probability density", ylim=(0, ax.get_ylim()[1] / (1 - 0.08 * len(shown))))
    return table


def median_in_words(values: np.ndarray) -> str:
    """Return a median with its standard error: half of what lies between the order statistics n/2 ± √n/2."""
    reach = 0.5 / np.sqrt(len(values))
    low, median, high = np.quantile(values, (0.5 - reach, 0.5, 0.5 + reach))
    digits = max(2, 1 - int(np.floor(np.log10(max(high - low, 1e-4)))))
    return f"median {median:.{digits}f} ± {(high - low) / 2:.{digits}f}"
