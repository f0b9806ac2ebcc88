"""Read a released local generator, and refine input fields with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosmogan.config import Input
from cosmogan.gan import latent, local, released, scaling
from cosmogan.gan.calibration import Calibration
from hpc.settings import build


class LocalGenerator:
    """A local generator in eval mode, its calibration, and the geometry of what it draws.

    Attributes
    ----------
    settings : the JSON beside the weights
    geometry : of the subvolumes that it was trained on: redshift, box_size [Mpc/h], n_mesh, subvolume, …
    model, input : scaling and networks, and the quick simulation that it starts from
    halo : cells that it sees beyond each cell
    calibration : the one-point map after the network; None: there is none
    network, device : the generator itself, and where it is
    """

    def __init__(
        self,
        settings: dict[str, Any],
        network: local.Generator,
        device: torch.device,
        calibration: Calibration | None = None,
    ) -> None:
        self.settings, self.geometry = settings, settings["geometry"]
        self.model = released.model_of(settings)
        self.input = input_of(settings)
        self.halo = local.halo(self.input)
        self.network, self.device = network.eval(), device
        self.calibration = None if calibration is None else calibration.to(device)

    def refine(self, density: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the densities (n, m, m, m) that belong to input densities, on the device.

        Parameters
        ----------
        density : (n, m + 2 halo, …) of the quick simulation, in units of the mean
        noise : (n, noise, m + 2 halo, …), as `noise` draws it
        """
        with torch.inference_mode(), released.in_float32():
            output = self.network(local.network_input(density.to(self.device), noise.to(self.device)))
            refined = scaling.unscale(output[:, 0], self.model.kappa)
            return refined if self.calibration is None else self.calibration.mapped(refined)

    def noise(self, seed: int, numbers: Sequence[int], cells: np.ndarray, stream: int = latent.SAMPLE) -> torch.Tensor:
        """Return the random numbers of cells, (n, noise, m, m, m): a function of seed, box and cell alone.

        Parameters
        ----------
        seed : names the sequence, with ``stream``
        numbers : (n,) of the boxes
        cells : (n, m, m, m) int64, as `local.cell_numbers` gives them
        """
        where = torch.tensor(numbers, dtype=torch.int64).to(self.device), torch.from_numpy(cells).to(self.device)
        return local.cell_noise(seed, stream, *where, self.model, self.input.noise)


def input_of(settings: dict[str, Any]) -> Input:
    """Return the settings of the quick simulation and of the network that a released local generator holds."""
    return build(Input, {k: v for k, v in settings["input"].items() if k in vars(Input())}, "settings", "input.")


def is_local(path: Path | str) -> bool:
    """Say whether a released generator is a local one.

    Raises
    ------
    ValueError
        when it is missing or damaged.
    """
    return "input" in released.read_settings(path)


def load(path: Path | str, device: torch.device | str = "cpu", sha256: str | None = None) -> LocalGenerator:
    """Read a released local generator.

    Raises
    ------
    ValueError
        when a file is missing, damaged, or not a local generator's; the message names it.
    """
    settings = released.read_settings(path, sha256=sha256)
    if "input" not in settings:
        raise ValueError(f"{path}: expected a local generator, which draws boxes; found one that draws subvolumes")
    network = local.Generator(released.model_of(settings), input_of(settings))
    generator = LocalGenerator(settings, network.to(device), torch.device(device))
    tensors = released.load_weights(network, path)
    if tensors:
        generator.calibration = released.read_calibration(tensors, torch.empty(1, 0), path).to(device)
    return generator
