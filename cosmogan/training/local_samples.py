"""Draw subvolumes of simulated boxes from a local generator, by number."""

from typing import Any

import numpy as np
import torch

from cosmogan.gan import latent, local
from cosmogan.gan.local_generator import LocalGenerator
from cosmogan.training.pairs import Boxes

DRAWS = 1 << 32  # numbers of boxes between two draws of all subvolumes


class LocalSamples:
    """Samples of a local generator, as `Released` gives those of the paper's.

    Sample i is subvolume i of the given rows, under random numbers of their own; beyond the last row they come again,
    under others.

    Parameters
    ----------
    generator : released, or a candidate
    boxes : the quick simulations
    rows : (n,) of their subvolumes
    """

    conditions, latent_scale = None, 1.0

    def __init__(self, generator: LocalGenerator, boxes: Boxes, rows: np.ndarray) -> None:
        self.generator, self._boxes = generator, boxes
        folder = boxes.folder
        self._simulations, self._corners = folder.simulations[rows], folder.corners[rows]
        self.settings, self.geometry, self.model = generator.settings, generator.geometry, generator.model
        self.network, self.calibration = generator.network, generator.calibration

    def latents(self, seed: int, index: np.ndarray, stream: int = latent.SAMPLE) -> torch.Tensor:
        """Return what the network takes for numbered samples, (n, 1 + noise, m + 2 halo, …)."""
        halo, n_mesh = self.generator.halo, self._boxes.n_mesh
        side = self.geometry["subvolume"] + 2 * halo
        draws, rows = np.divmod(index, len(self._simulations))
        simulations, corners = self._simulations[rows], self._corners[rows] - halo
        field = self._boxes.crops(simulations, corners, side).to(self.generator.device)
        numbers = (draws * DRAWS + simulations).tolist()
        noise = self.generator.noise(seed, numbers, local.cell_numbers(corners, side, n_mesh), stream)
        return torch.cat((field[:, None], noise), dim=1)

    def __call__(self, latents: torch.Tensor, values: Any = None) -> torch.Tensor:
        """Return the densities (n, m, m, m) of what `latents` returned, on the device."""
        return self.generator.refine(latents[:, 0], latents[:, 1:])

    def draw(self, seed: int, first: int, n: int, values: Any = None) -> torch.Tensor:
        """Draw samples number ``first`` to ``first + n - 1`` of a seed, (n, m, m, m) on the device."""
        return self(self.latents(seed, np.arange(first, first + n)))
