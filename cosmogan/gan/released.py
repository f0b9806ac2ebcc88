"""A generator to draw from: its weights as safetensors, its settings as JSON beside them."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from cosmogan.gan import latent, networks, scaling
from hpc import rundir

FORMAT = "cosmogan-generator/1"


class Released:
    """A generator in eval mode, its latent prior and the geometry of what it draws.

    Attributes
    ----------
    settings : the JSON beside the weights
    geometry : of the subvolumes: redshift, box_size [Mpc/h], n_mesh, subvolume, mean_cell_mass [1e10 Msun/h], window
    latent_scale : multiplies the latents
    max_density : cells are made no denser, in units of the mean; may be missing
    network : the generator itself
    """

    def __init__(self, settings: dict[str, Any], network: nn.Module, device: torch.device) -> None:
        self.settings, self.geometry = settings, settings["geometry"]
        self.latent_scale = float(settings["latent_scale"])
        self._densest = settings.get("max_density")  # None: unbounded
        self._model = SimpleNamespace(**settings["model"])
        self.network, self._device = network.eval(), device

    def draw(self, seed: int, first: int, n: int) -> torch.Tensor:
        """Return samples number ``first`` to ``first + n - 1`` of a seed, (n, m, m, m) on the device."""
        z = self.latent_scale * latent.draw(self._model, seed, latent.SAMPLE, first, n)
        with torch.inference_mode():
            scaled = self.network(z.to(self._device)[:, :, None, None, None])
        return scaling.unscale(scaled[:, 0], self._model.kappa).clamp(max=self._densest or math.inf)

    def sample(self, n: int, seed: int = 1, first: int = 0, batch_size: int = 64) -> np.ndarray:
        """Draw subvolumes; number i of a seed is the same whatever else is drawn with it.

        Parameters
        ----------
        n : how many
        seed : of the latents
        first : number of the first
        batch_size : drawn at a time

        Returns
        -------
        (n, m, m, m) float32, density in units of the mean
        """
        m = self._model.subvolume
        out = np.empty((n, m, m, m), np.float32)
        for start in range(0, n, batch_size):
            size = min(batch_size, n - start)
            out[start : start + size] = self.draw(seed, first + start, size).cpu().numpy()
        return out


def write_weights(path: Path, network: nn.Module) -> None:
    """Write a generator's weights and running statistics as safetensors, atomically."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with rundir.whole_file(path) as temporary:
        safetensors.torch.save_file(weights, temporary, metadata={"format": FORMAT})


def write(path: Path, network: nn.Module, settings: dict[str, Any]) -> None:
    """Release a generator: its weights at ``path``, ``settings`` and the weights' checksum beside it as ``.json``.

    Parameters
    ----------
    path : ends in ``.safetensors``
    network : the generator
    settings : ``model`` (with ``subvolume``), ``geometry``, ``latent_scale``, and whatever is worth knowing
    """
    settings_path = path.with_suffix(".json")
    settings_path.unlink(missing_ok=True)  # between the two writes there is no released generator
    write_weights(path, network)
    rundir.write_json(settings_path, {"format": FORMAT, **settings, "sha256": rundir.checksum(path)})


def read_settings(path: Path | str) -> dict[str, Any]:
    """Return the settings of a released generator.

    Raises
    ------
    ValueError
        when they are missing or of another format, or the weights are not those that they belong to.
    """
    path = Path(path)
    settings_path = path.with_suffix(".json")
    for wanted in (settings_path, path):
        if not wanted.exists():
            raise ValueError(f"{wanted}: not found; run `select` to release a generator")
    settings = rundir.read_json(settings_path)
    found = settings.get("format") if isinstance(settings, dict) else settings
    if found != FORMAT:
        raise ValueError(f"{settings_path}: expected format {FORMAT}, found {found!r}")
    if rundir.checksum(path) != settings.get("sha256"):
        raise ValueError(
            f"{path}: damaged, or not the weights that {settings_path.name} belongs to (sha256 differs); select again"
        )
    return settings


def load(path: Path | str, device: torch.device | str = "cpu") -> Released:
    """Read a released generator.

    Raises
    ------
    ValueError
        when a file is missing, damaged, or not a generator's; the message names it.
    """
    settings = read_settings(path)
    try:
        network = networks.generator(SimpleNamespace(**settings["model"]), settings["model"]["subvolume"], group=1)
        fill(network, path)
        return Released(settings, network.to(device), torch.device(device))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{Path(path).with_suffix('.json')}: damaged: {error}; run `select` again") from None


def fill(network: nn.Module, path: Path | str) -> None:
    """Read a generator's weights into a network, in place.

    Raises
    ------
    ValueError
        when the file is missing, damaged, or of a network of another shape.
    """
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run `train` to its end") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: weights of a network of another shape: {reason}") from None
