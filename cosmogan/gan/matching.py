"""Match a generator to the training set: its weights, so that summary statistics come out in the same distribution.

Adversarial training leaves rare volumes that are far off, which a discriminator hardly punishes. Here the generator
descends the energy distance (Székely & Rizzo 2013) between the distributions of statistics of what it draws and of the
training set's subvolumes, as it is used: with its running statistics, in large batches.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cosmogan.gan import latent, scaling
from cosmogan.gan.learner import Learner
from cosmogan.gan.released import Released
from cosmogan.gan.spectra import SMOOTH, band_power
from hpc import mpi

BATCH = 128  # samples a step
RATE, BETAS = 1e-4, (0.9, 0.99)  # the rate falls to 0
SEED = 0  # of the latents
WIDTHS = (1, 2, 4)  # sides of the cubes whose densities are ranked, in cells
# Fractions of the cubes, densest first, between which mean densities are taken.
RANKS = (0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1)
CONES = (0.8, 0.95)  # cosines of the angle to the nearest axis that part the bins of P(k)
EMPTY = 1e-3  # added to densities before a logarithm is taken
# Of the statistics. Where a cell lies must make no difference at all, which the few samples of a step hardly show.
WEIGHTS = (1, 1, 1, 1, 1, 1, 10)
RECIPE = (BATCH, RATE, BETAS, SEED, WIDTHS, RANKS, CONES, EMPTY, SMOOTH, WEIGHTS)


def statistics(density: Tensor) -> list[Tensor]:
    """Return the statistics that are matched, (n, numbers) each; gradients flow through them.

    P(k) and ln P(k) to the corner of Fourier space, along the axes and away from them; ln P(k) of 2 rho / (rho + 1), to
    which all densities contribute; logarithms of the ranked densities in cubes of 1, 2 and 4 cells a side; the mean
    densities of cells that lie alike in the cube, which are the same wherever that is.

    Parameters
    ----------
    density : (n, m, m, m) in units of the mean
    """
    power = band_power(density, CONES)
    counts = [_ranked(F.avg_pool3d(density[:, None], width)).add(EMPTY).log() for width in WIDTHS]
    return [power, power.log(), band_power(scaling.scale(density, 1.0), CONES).log(), *counts, _places(density)]


def _ranked(density: Tensor) -> Tensor:
    """Return the densest cell, and mean densities between the `RANKS`, (n, numbers)."""
    cells = density.flatten(1).sort(dim=1, descending=True).values
    edges = np.unique([1, *(round(rank * cells.shape[1]) for rank in RANKS)])
    return torch.stack([part.mean(1) for part in cells.split(np.diff(edges).tolist(), dim=1)], dim=1)


def _places(density: Tensor) -> Tensor:
    """Return mean densities of cells that lie alike in the cube, (n, numbers): in planes, and in corners, edges, …

    Planes go by their depth under the nearest face; the rest by their three depths, sorted, each to a factor of 2.
    """
    half = density.shape[1] // 2
    for axis in (1, 2, 3):
        density = (density.narrow(axis, 0, half) + density.narrow(axis, half, half).flip(axis)) / 2
    planes = sum(density.mean(axes) for axes in ((2, 3), (1, 3), (1, 2))) / 3
    index, weight = _classes(half, str(density.device))
    classes = density.new_zeros(len(density), int(index.max()) + 1)
    return torch.cat((planes, classes.index_add(1, index, density.flatten(1) * weight.to(density.dtype))), dim=1)


@lru_cache(maxsize=4)
def _classes(half: int, device: str) -> tuple[Tensor, Tensor]:
    """Return each cell's class in an eighth of the cube, and its weight in the class's mean."""
    octave = np.frexp(np.arange(half))[1]  # 0, 1, 2 and 3, 4 to 7, …
    depths = np.sort(np.stack(np.meshgrid(octave, octave, octave)).reshape(3, -1), axis=0)
    _, index, counts = np.unique(depths, axis=1, return_inverse=True, return_counts=True)
    index = index.ravel()
    return torch.from_numpy(index).to(device), torch.from_numpy(1 / counts[index]).to(device)


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'|, estimated without bias: over pairs of different samples.

    It is 0 where both have one distribution, and only there (Székely & Rizzo 2013, proposition 1).

    Parameters
    ----------
    x, y : (n, d), (m, d) samples
    """
    return 2 * _apart(x, y).mean() - _among(x) - _among(y)


def _among(x: Tensor) -> Tensor:
    return _apart(x, x).sum() / (len(x) * (len(x) - 1))


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


class Target:
    """The training set's statistics, each in units of its standard deviation.

    Parameters
    ----------
    real : (n, numbers) each, what `statistics` gives
    """

    def __init__(self, real: list[Tensor]) -> None:
        self.sizes = [one.shape[1] for one in real]
        self._mean = [one.mean(0) for one in real]
        self._unit = [one.std(0).clamp(min=1e-6) * math.sqrt(one.shape[1]) for one in real]
        self._real = self._standardised(real)

    def distance(self, found: Tensor) -> Tensor:
        """Return the sum over all statistics, weighted, of the energy distance to the training set.

        Parameters
        ----------
        found : (n, all numbers), what `statistics` gives, side by side
        """
        pairs = zip(self._standardised(found.split(self.sizes, dim=1)), self._real, strict=True)
        distances = torch.stack([energy_distance(x, y) for x, y in pairs])
        return distances @ distances.new_tensor(WEIGHTS)

    def _standardised(self, statistics: Any) -> list[Tensor]:
        return [(x - mean) / unit for x, mean, unit in zip(statistics, self._mean, self._unit, strict=True)]


class Matching:
    """A generator whose weights change, in place, until its statistics have the target's distribution.

    Parameters
    ----------
    generator : unconditional
    target : what its statistics shall be like
    steps : of `BATCH` samples each, which all ranks draw together
    autocast : the precision of convolutions, where that is another

    Attributes
    ----------
    generator : as given
    distances : of each step that was taken
    """

    def __init__(
        self, generator: Released, target: Target, steps: int, autocast: torch.dtype | None, comm: mpi.Comm
    ) -> None:
        self.generator, self._target, self._steps, self._comm = generator, target, steps, comm
        self._learner = Learner(generator.network, RATE, BETAS, autocast)
        self.distances: list[float] = []

    def advance(self) -> None:
        """Take a step.

        Raises
        ------
        ValueError
            on all ranks, when the distance is not a finite number.
        """
        step, learner, comm = len(self.distances), self._learner, self._comm
        learner.set_rate(1 - step / self._steps)
        mine = mpi.share(BATCH, comm)
        numbers = np.arange(mine.start, max(mine.stop, mine.start + 1))  # of no samples there is no Fourier transform
        latents = self.generator.latents(SEED, step * BATCH + numbers, latent.MATCH).to(self.generator.device)
        scaled = learner(latents[:, :, None, None, None])[:, 0]
        own = torch.cat(statistics(scaling.unscale(scaled, self.generator.model.kappa)), dim=1)[: len(mine)]
        # All ranks' samples count in a pair, but through a rank's own alone do gradients flow.
        drawn = torch.from_numpy(np.concatenate(comm.allgather(own.detach().cpu().numpy())))
        drawn = drawn.to(own.device).requires_grad_()
        distance = self._target.distance(drawn)
        if not distance.isfinite():
            raise ValueError(
                f"select.match_steps: the distance is {distance:g} at step {step + 1}; set fewer steps, or 0, or "
                "another select.first_epoch"
            )
        (slope,) = torch.autograd.grad(distance, drawn)
        learner.differentiate((own * slope[mine.start : mine.stop]).sum())
        learner.gradients.copy_(torch.from_numpy(comm.allreduce(learner.gradients.cpu().numpy())))
        learner.descend()
        self.distances.append(float(distance.detach()))

    def state(self) -> dict[str, Any]:
        """Return all that matching needs to go on from here."""
        return {"step": len(self.distances), "distances": list(self.distances), "learner": self._learner.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.distances = list(state["distances"])
        self._learner.restore(state["learner"])
