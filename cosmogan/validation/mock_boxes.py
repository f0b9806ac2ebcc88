"""Draw boxes of mapped Gaussian mocks with a training set's P(k) and voxel PDF, and cut subvolumes from them."""

from functools import cached_property

import numpy as np
import torch

from cosmogan.statistics import mocks
from cosmogan.statistics.mocks import Recipe
from cosmogan.validation.comparison import Volumes

N_VOLUMES = 64  # of the training set, whose densities are sorted


class MockBoxes:
    """Boxes of mocks by their numbers; the last one that was drawn is kept.

    Parameters
    ----------
    training : the set
    boxes : numbers of whole simulations in it
    seed : of the mocks
    device : ``validate.device``
    """

    def __init__(self, training: Volumes, boxes: list[int], seed: int, device: str) -> None:
        self._training, self._boxes, self._seed = training, boxes, seed
        self._geometry = training.source.geometry
        self._on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
        self._number, self._box = -1, np.empty(0)

    @cached_property
    def recipe(self) -> Recipe:
        """The Gaussian spectrum and the map, solved for on every process alike."""
        torch.set_num_threads(1)  # a transform's rounding depends on the threads it is cut into
        device = torch.device("cuda" if self._on_gpu else "cpu")
        spectra = [mocks.shell_power(torch.from_numpy(self._assembled(box)).to(device)) for box in self._boxes]
        chosen = np.unique(np.linspace(0, len(self._training) - 1, N_VOLUMES).astype(int))
        densities = torch.from_numpy(np.sort(self._training.read(chosen), axis=None)).to(device)
        power = np.mean([spectrum[1] for spectrum in spectra], axis=0)
        return mocks.solve(spectra[0][0], power, densities, self._geometry.n_mesh, self._seed)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Draw mocks, (rows, m, m, m) float32; those of one box should be asked for one after another."""
        torch.set_num_threads(1)
        n, m = self._geometry.n_mesh, self._geometry.subvolume
        out = np.empty((len(rows), m, m, m), np.float32)
        for place, row in enumerate(rows):
            number, part = divmod(int(row), (n // m) ** 3)
            if self._number != number:
                self._number, self._box = number, mocks.draw(self.recipe, n, self._seed, number).cpu().numpy()
            x, y, z = (m * i for i in np.unravel_index(part, (n // m,) * 3))
            out[place] = self._box[x : x + m, y : y + m, z : z + m]
        return out

    def _assembled(self, box: int) -> np.ndarray:
        """Return a whole training box, (n, n, n)."""
        rows = np.flatnonzero(self._training.boxes == box)
        n, m = self._geometry.n_mesh, self._geometry.subvolume
        corners = self._training.corners[rows]
        whole = np.empty((n, n, n), np.float32)
        for start in range(0, len(rows), N_VOLUMES):
            part = slice(start, start + N_VOLUMES)
            for (x, y, z), volume in zip(corners[part], self._training.read(rows[part]), strict=True):
                whole[x : x + m, y : y + m, z : z + m] = volume
        return whole
