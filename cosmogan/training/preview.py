"""Draw samples of the generator beside the training set while training runs."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from cosmogan import shards
from cosmogan.gan import scaling
from cosmogan.reporting import figures_training
from cosmogan.statistics import fourier, pdf, power

N_ROWS = 64  # of the training set that are measured


class Preview:
    """Draws P(k), the voxel PDF and slices of samples beside those of some training subvolumes.

    Parameters
    ----------
    folder, rows : the training set; read when the first preview is drawn
    kappa : of the scaling
    """

    def __init__(self, folder: shards.Folder, rows: np.ndarray, kappa: float) -> None:
        self._folder, self._kappa = folder, kappa
        self._rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), N_ROWS)).astype(int)]
        self._size = folder.geometry.subvolume_size

    def __call__(self, samples: torch.Tensor) -> Figure:
        """Return the figure of samples (n, m, m, m), scaled."""
        statistics = self._measure(scaling.unscale(samples.float(), self._kappa))
        return figures_training.preview(self._training, statistics, fourier.k_nyquist(self._size, samples.shape[-1]))

    @cached_property
    def _training(self) -> dict[str, Any]:
        return self._measure(torch.from_numpy(self._folder.read(self._rows)))

    def _measure(self, density: torch.Tensor) -> dict[str, Any]:
        spectra = power.power_spectrum(density, self._size)
        edges = pdf.scaled_edges()
        scaled = scaling.scale(density, self._kappa)
        return {
            "k": spectra.k,
            "power": np.percentile(spectra.power, (16, 50, 84), axis=0),
            "c": (edges[1:] + edges[:-1]) / 2,
            "pdf": pdf.voxel_pdf(scaled, edges).fraction.mean(axis=0),
            "slices": scaled[:2, 0].cpu().numpy(),
        }
