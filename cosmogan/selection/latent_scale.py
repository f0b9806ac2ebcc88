"""The latent scale at which the mean power of samples has the right amplitude, by bisection."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

BOUNDS = (0.8, 1.25)  # a generator is perturbed at the percent level (the paper, its Training Procedure)
TOLERANCE = 2e-3  # of ln(scale), where the bisection ends; the root is interpolated within
NEAR = 0.06  # of ln(scale): trials that near the root say how steep the amplitude is


def root(scales: Sequence[float], amplitudes: Sequence[float]) -> float:
    """Return the scale between those tried, rising, at which the amplitude is 0; the nearer end where there is none."""
    return float(np.exp(np.interp(0.0, np.maximum.accumulate(amplitudes), np.log(scales))))


class Trial(NamedTuple):
    """A latent scale and the amplitude that it gives."""

    scale: float
    amplitude: float  # ln of the mean power over the target's
    error: float


class Tuned(NamedTuple):
    """The latent scale, and what led to it."""

    scale: float
    error: float | None  # None: no scale within the bounds gives the right amplitude, and the nearer bound is taken
    trials: tuple[Trial, ...]


def bisect(measure: Callable[[float], tuple[float, float]]) -> Tuned:
    """Find the scale at which the amplitude is 0.

    Parameters
    ----------
    measure : scale → amplitude and its error; of the same latents for every scale, so that it is smooth
    """
    low, high = (Trial(scale, *measure(scale)) for scale in BOUNDS)
    trials = [low, high]
    if low.amplitude * high.amplitude > 0:
        return Tuned(min(trials, key=lambda trial: abs(trial.amplitude)).scale, None, tuple(trials))
    while np.log(high.scale / low.scale) > TOLERANCE:
        scale = float(np.sqrt(low.scale * high.scale))
        middle = Trial(scale, *measure(scale))
        trials.append(middle)
        low, high = (middle, high) if middle.amplitude * low.amplitude > 0 else (low, middle)
    step = np.log(high.scale / low.scale)
    risen = high.amplitude - low.amplitude
    scale = low.scale * float(np.exp(-low.amplitude * step / risen if risen else 0.0))
    near = [trial for trial in trials if abs(np.log(trial.scale / scale)) < NEAR]
    slope, _ = np.polyfit(np.log([trial.scale for trial in near]), [trial.amplitude for trial in near], 1)
    return Tuned(scale, float(scale * low.error / abs(slope)), tuple(sorted(trials)))
