"""Compare draws of one box with the simulation that has the same initial modes, and with the quick one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cosmogan.statistics import fourier, power
from cosmogan.statistics.fields import Density
from cosmogan.statistics.result import Result, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 24  # about, from the fundamental to Nyquist


@dataclass(frozen=True)
class Refinement(Result):
    """How draws of one box follow its simulation, against k.

    Of draws that are as likely as the simulation given the quick one, a draw's correlation is the square of the mean's,
    and the scatter ratio is 1.
    """

    k: np.ndarray  #: (nk,) mean |k| of a bin's modes [h/Mpc]
    k_nyquist: float  #: [h/Mpc]
    n_modes: np.ndarray  #: (nk,)
    power: np.ndarray  #: (nk,) P(k) of the simulation [(Mpc/h)³]
    power_ratio: np.ndarray  #: (nk,) mean P(k) of the draws over it
    quick_ratio: np.ndarray  #: (nk,) P(k) of the quick simulation over it
    correlation: np.ndarray  #: (nk,) of a draw with the simulation, mean over the draws
    mean_correlation: np.ndarray  #: (nk,) of the mean of the draws with the simulation
    quick_correlation: np.ndarray  #: (nk,) of the quick simulation with the simulation
    scatter_ratio: np.ndarray  #: (nk,) power of draws about their mean over that of the simulation about it

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the correlations; return the axes."""
        ax = axes(ax)
        for name in ("quick_correlation", "correlation", "mean_correlation"):
            ax.plot(self.k, getattr(self, name), label=name.replace("_", " "))
        ax.set(xscale="log", xlabel="k  [h/Mpc]", ylabel="correlation r(k)")
        ax.legend()
        return ax


def refinement(simulation: Density, quick: Density, draws: Density, box_size: float) -> Refinement:
    """Compare draws of a box with its simulation.

    Parameters
    ----------
    simulation, quick : (n, n, n) density in units of the mean
    draws : (d, n, n, n), two or more
    box_size : side of the box [Mpc/h]

    Returns
    -------
    Refinement
        The power of the simulation about the mean of d draws is 1 + 1/d times that of draws about the expectation, and
        that of draws about their mean 1 - 1/d times; `scatter_ratio` is corrected for both.
    """
    n = draws.shape[-1]
    edges = _edges(box_size, n)
    d, mean = len(draws), draws.mean(0)

    def spectrum(field: Density) -> np.ndarray:
        return power.power_spectrum(field, box_size, edges).power

    def cross(first: Density, second: Density) -> np.ndarray:
        return power.cross_power(first, second, box_size, edges).power[0]

    of_simulation = power.power_spectrum(simulation, box_size, edges)
    truth, of_quick, of_mean = of_simulation.power[0], spectrum(quick)[0], spectrum(mean)[0]
    of_draws = np.stack([spectrum(draw)[0] for draw in draws])
    crossed = np.stack([cross(draw, simulation) for draw in draws])
    with_mean = crossed.mean(0)
    about_mean = of_draws.mean(0) - of_mean  # of the draws about their mean
    missed = truth - 2 * with_mean + of_mean  # of the simulation about it
    scatter = np.divide(about_mean, missed, out=np.full_like(missed, np.nan), where=missed > 0)
    return Refinement(
        k=of_simulation.k,
        k_nyquist=of_simulation.k_nyquist,
        n_modes=of_simulation.n_modes,
        power=truth,
        power_ratio=of_draws.mean(0) / truth,
        quick_ratio=of_quick / truth,
        correlation=(crossed / np.sqrt(of_draws * truth)).mean(0),
        mean_correlation=with_mean / np.sqrt(of_mean * truth),
        quick_correlation=cross(quick, simulation) / np.sqrt(of_quick * truth),
        scatter_ratio=scatter * (1 + 1 / d) / (1 - 1 / d),
    )


def _edges(box_size: float, n: int) -> np.ndarray:
    """Return edges from half a fundamental to Nyquist, even in ln k where that is no less than a fundamental."""
    fundamental, nyquist = fourier.k_fundamental(box_size), fourier.k_nyquist(box_size, n)
    wanted = np.geomspace(fundamental, nyquist, N_BINS)
    edges = [0.5 * fundamental]
    for edge in wanted:
        if edge - edges[-1] >= 0.999 * fundamental:
            edges.append(float(edge))
    return np.array(edges)
