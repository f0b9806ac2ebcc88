"""Read and write released generators: weights as safetensors, settings as JSON beside them."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from cosmogan.config import Model
from cosmogan.gan import latent, networks, scaling
from cosmogan.gan.calibration import PREFIX, Calibration, Tables
from cosmogan.gan.conditions import Conditions
from cosmogan.gan.symmetry import each_oriented
from hpc.files import checksum, read_json, whole_file, write_json
from hpc.settings import SettingsError, build

GENERATOR, DISCRIMINATOR = "cosmogan-generator/2", "cosmogan-discriminator/1"
READABLE = {GENERATOR: (GENERATOR, "cosmogan-generator/1"), DISCRIMINATOR: (DISCRIMINATOR,)}  # 1: not calibrated
# Settings that no weights could tell: a file without them would draw something else than it was trained to.
NEEDED = ("kappa", "prior", "degrees_of_freedom", "latent_dimension", "subvolume")
LARGEST_SCALE = 10.0  # latents that much wider than in training have nothing to do with it


class Released(nn.Module):
    """A generator, a module from latents to densities, with its latent prior and the geometry of what it draws.

    It stays in eval mode, and its weights take no gradients until ``requires_grad_()`` says so.

    Attributes
    ----------
    settings : the JSON beside the weights
    geometry : of the subvolumes: redshift, box_size [Mpc/h], n_mesh, subvolume, mean_cell_mass [1e10 Msun/h], window
    model : scaling, networks and latent prior
    conditions : what a conditional generator was trained on; None for another
    latent_scale : multiplies the latents
    network : the generator's own layers
    calibration : the layers after the network; None: there are none
    """

    calibration: Calibration | None

    def __init__(
        self, settings: dict[str, Any], network: nn.Sequential, calibration: Calibration | None = None
    ) -> None:
        super().__init__()
        self.settings, self.geometry = settings, settings["geometry"]
        self.latent_scale = float(settings["latent_scale"])
        self._densest = settings.get("max_density")  # only older files have it
        self._oriented = settings.get("oriented", False)
        self.model = model_of(settings)
        self.conditions = Conditions.read(settings.get("conditions")) if self.model.condition else None
        self.network, self.calibration = network, calibration
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Released":
        """Stay in eval mode, also as a part of a module that is trained: no sample depends on its batch."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the generator is; ``generator.to(device)`` moves it."""
        return next(self.network.parameters()).device

    def as_trained(self) -> "Released":
        """Return this generator as it came from training: latent scale 1, not calibrated, densities not bounded."""
        return Released(self.settings | {"latent_scale": 1.0, "max_density": None}, self.network)

    def latents(self, seed: int, index: np.ndarray, stream: int = latent.SAMPLE) -> torch.Tensor:
        """Return the latents of numbered samples as the network takes them, (n, latent_dimension) float32.

        Parameters
        ----------
        seed : of the latents
        index : (n,) int, numbers of the samples
        stream : which sequence of the seed
        """
        runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)  # of consecutive numbers
        drawn = [latent.draw(self.model, seed, stream, int(run[0]), len(run)) for run in runs if len(run)]
        return self.latent_scale * torch.cat([torch.empty(0, self.model.latent_dimension), *drawn])

    def forward(self, latents: torch.Tensor, conditions: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
        """Return the densities of latents, (n, m, m, m); gradients reach latents and conditions.

        Parameters
        ----------
        latents : (n, latent_dimension)
        conditions : (n, names) or (1, names), each sample's numbers in the order of ``self.conditions.names``; None
            for an unconditional generator

        Raises
        ------
        ValueError
            when one of them has another shape.
        """
        self._check(latents, conditions)
        weight = next(self.network.parameters())  # where all goes, and in which precision
        inputs, standardised = latents.to(weight.device, weight.dtype), torch.empty(1, 0)
        kappa: float | torch.Tensor = self.model.kappa
        if self.conditions is not None and conditions is not None:
            standardised = self.conditions.standardised(conditions).to(weight.device, weight.dtype)
            inputs = torch.cat((inputs, standardised.expand(len(inputs), -1)), dim=1)
            kappa = self.conditions.kappa(self.model, conditions)
            kappa = kappa.to(weight.device, weight.dtype)[:, 0] if isinstance(kappa, torch.Tensor) else kappa
        with in_float32():
            scaled = self.network(inputs[:, :, None, None, None])
        density = scaling.unscale(scaled[:, 0], kappa)
        density = density if self._densest is None else density.clamp(max=self._densest)
        density = density if self.calibration is None else _calibrated(self.calibration, density, standardised)
        return each_oriented(density, latent.orientations(latents)) if self._oriented else density

    def _check(self, latents: torch.Tensor, conditions: torch.Tensor | np.ndarray | None) -> None:
        """Raise a ValueError when latents or conditions have another shape than those that this generator takes."""
        if latents.ndim != 2 or latents.shape[1] != self.model.latent_dimension:
            raise ValueError(f"latents: expected (n, {self.model.latent_dimension}), found {tuple(latents.shape)}")
        n, names = len(latents), () if self.conditions is None else self.conditions.names
        shape = None if conditions is None else tuple(conditions.shape)
        if shape not in ([(n, len(names)), (1, len(names))] if names else [None]):
            expected = f"({n}, {len(names)}), numbers of {', '.join(names)}" if names else "none"
            raise ValueError(f"conditions: expected {expected}, found {shape or 'none'}")

    def draw(self, seed: int, first: int, n: int, conditions: np.ndarray | None = None) -> torch.Tensor:
        """Draw samples number ``first`` to ``first + n - 1`` of a seed, (n, m, m, m) on the device; see `forward`."""
        return self(self.latents(seed, np.arange(first, first + n)), conditions)

    def _condition_values(self, condition: dict[str, float]) -> np.ndarray | None:
        """Return a condition's numbers as `forward` takes them, and warn where they leave the trained range.

        Raises
        ------
        ValueError
            when they are not those that this generator is conditioned on.
        """
        if self.conditions is None:
            if condition:
                names = ", ".join(condition)
                raise ValueError(f"condition: this generator is unconditional; found {names}; draw without a condition")
            return None
        values = self.conditions.vector(condition)
        for line in self.conditions.outside(values):
            warnings.warn(line, stacklevel=4)
        return values

    def batches(
        self, n: int, seed: int = 1, first: int = 0, batch_size: int = 64, **condition: float
    ) -> Iterator[np.ndarray]:
        """Return an iterator over batches of subvolumes, (batch_size, m, m, m) float32, the last one smaller.

        Number i of a seed is the same whatever else is drawn with it.

        Parameters
        ----------
        n : how many subvolumes together
        seed : of the latents
        first : number of the first
        batch_size : drawn at a time
        condition : of a conditional generator, as ``redshift=0.5``
        """
        return self._batches(n, seed, first, batch_size, condition)

    def sample(self, n: int, seed: int = 1, first: int = 0, batch_size: int = 64, **condition: float) -> np.ndarray:
        """Draw the subvolumes of `batches` into one array.

        Returns
        -------
        (n, m, m, m) float32, density in units of the mean
        """
        batches = self._batches(n, seed, first, batch_size, condition)
        out = np.empty((n, *(self.geometry["subvolume"],) * 3), np.float32)
        for start, batch in zip(range(0, n, batch_size), batches, strict=True):
            out[start : start + len(batch)] = batch
        return out

    def _batches(
        self, n: int, seed: int, first: int, batch_size: int, condition: dict[str, float]
    ) -> Iterator[np.ndarray]:
        if n < 0 or batch_size < 1:
            raise ValueError(f"sample: expected n of 0 or more and a batch_size of 1 or more, found {n}, {batch_size}")
        values, end = self._condition_values(condition), first + n
        starts = range(first, end, batch_size)
        return (self.draw(seed, at, min(batch_size, end - at), values).numpy(force=True) for at in starts)


def _calibrated(calibration: Calibration, density: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
    """Return calibrated volumes, those under each of the conditions (n, names) or (1, names) together."""
    if len(conditions) == 1:
        return calibration(density, conditions[0])
    return torch.cat([calibration(cube[None], c) for cube, c in zip(density, conditions, strict=True)])


def in_float32() -> contextlib.AbstractContextManager[None]:
    """Switch TF32 off for convolutions, also where training has switched it on in this process."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)


def model_of(settings: dict[str, Any]) -> Model:
    """Return the model that a released network's settings hold."""
    kept = {name: value for name, value in settings["model"].items() if name != "subvolume"}
    return build(Model, kept, source="settings", prefix="model.")


def write_weights(
    path: Path, network: nn.Module, kind: str = GENERATOR, calibration: Calibration | None = None
) -> None:
    """Write a network's weights and running statistics, and its calibration's tables, as safetensors, atomically.

    Tensors of 16-bit numbers, as `rounded` makes them, are written in 16 bits, and read back the same.
    """
    tensors = dict(network.state_dict())
    if calibration is not None:
        tensors |= {PREFIX + name: values for name, values in calibration.state_dict().items()}
    weights = {name: _narrowest(value.detach().cpu().contiguous()) for name, value in tensors.items()}
    with whole_file(path) as temporary:
        # its own save_file lets nobody but the owner read
        temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": kind}))


def rounded(network: nn.Module) -> None:
    """Round the weights of convolutions to 16-bit numbers, in place: half the size on disk, for a small difference."""
    for value in network.parameters():
        if value.dim() > 1:
            value.data = value.data.half().float()


def _narrowest(value: torch.Tensor) -> torch.Tensor:
    half = value.half()
    return half if value.dtype == torch.float32 and torch.equal(half.float(), value) else value


def write(
    path: Path,
    network: nn.Module,
    settings: Mapping[str, object],
    kind: str = GENERATOR,
    calibration: Calibration | None = None,
) -> None:
    """Release a network: its weights at ``path``, ``settings`` and the weights' checksum beside it as ``.json``.

    Parameters
    ----------
    path : ends in ``.safetensors``
    network : the generator, or the discriminator of rejection sampling
    settings : ``model`` (with ``subvolume``), and for a generator ``geometry`` and ``latent_scale``
    kind : the format
    calibration : of a generator that has one
    """
    settings_path = path.with_suffix(".json")
    settings_path.unlink(missing_ok=True)  # between the two writes there is no released network
    write_weights(path, network, kind, calibration)
    write_json(settings_path, {"format": kind, **settings, "sha256": checksum(path)})


def read_settings(path: Path | str, kind: str = GENERATOR, sha256: str | None = None) -> dict[str, Any]:
    """Return the settings of a released network.

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
    settings = read_json(settings_path)
    file_format = settings.get("format") if isinstance(settings, dict) else settings
    if file_format not in READABLE[kind]:
        raise ValueError(f"{settings_path}: expected format {kind}, found {file_format!r}")
    if checksum(path) != settings.get("sha256"):
        raise ValueError(
            f"{path}: damaged, or not the weights that {settings_path.name} belongs to (sha256 differs); select again"
        )
    if sha256 is not None and sha256.lower() != settings["sha256"]:
        raise ValueError(f"{path}: expected weights of the SHA-256 {sha256}, found {settings['sha256']}")
    return settings


def load(path: Path | str, device: torch.device | str = "cpu", sha256: str | None = None) -> Released:
    """Read a released generator.

    Parameters
    ----------
    path : of its weights
    device : where it goes
    sha256 : the checksum that the weights must have; None: that which the settings state

    Raises
    ------
    ValueError
        when a file is missing, damaged, not a generator's, or not the one meant; the message names it.
    """
    settings, settings_path = read_settings(path, sha256=sha256), Path(path).with_suffix(".json")
    if "input" in settings:
        raise ValueError(f"{path}: a local generator, which draws boxes: load it by cosmogan.load_generator")
    try:
        stated = _stated(settings)
        network = networks.generator(model_of(settings), stated.subvolume, group=1)
        generator = Released(settings, network)
    except ValueError as error:
        raise ValueError(f"{settings_path}: damaged: {error}; run `select` again") from None
    side = settings["model"]["subvolume"]
    if side != stated.subvolume or not 0 < stated.latent_scale <= LARGEST_SCALE:
        raise ValueError(
            f"{settings_path}: expected a latent_scale in (0, {LARGEST_SCALE:g}] and one size of subvolumes, "
            f"found {stated.latent_scale:g}, and {side} and {stated.subvolume} cells a side"
        )
    tensors = load_weights(network, path)
    if tensors:
        conditions = generator.conditions
        values = torch.empty(1, 0) if conditions is None else conditions.standardised(np.array(conditions.distinct))
        generator.calibration = read_calibration(tensors, values, path)
    return generator.to(device)


@dataclass(frozen=True)
class _Stated:
    """The settings of a generator, beside its model's, without which it cannot be drawn from."""

    subvolume: int  # of the geometry
    latent_scale: float
    max_density: float | None = None
    oriented: bool = False


def _stated(settings: dict[str, Any]) -> _Stated:
    """Return the settings of a generator that are read, each of its type.

    Raises
    ------
    SettingsError
        when one is missing or of another type: names it.
    """
    for section in ("model", "geometry"):
        if not isinstance(settings.get(section), dict):
            raise SettingsError(
                f"settings: {section}: expected a section with settings, found {settings.get(section)!r}"
            )
    missing = [name for name in NEEDED if name not in settings["model"]]
    if missing:
        raise SettingsError(f"settings: model.{missing[0]}: not set")
    named = {field.name for field in fields(_Stated)}
    stated = {name: value for name, value in settings.items() if name in named}
    return build(_Stated, {**stated, "subvolume": settings["geometry"].get("subvolume")}, source="settings")


def read_calibration(tensors: dict[str, torch.Tensor], values: torch.Tensor, path: Path | str) -> Calibration:
    """Return the calibration that stands beside a generator's weights.

    Parameters
    ----------
    tensors : its own, as `load_weights` returns them
    values : (n, names), the standardised conditions under which it shall be sound
    path : of the weights, for messages

    Raises
    ------
    ValueError
        when it is damaged: says what is wrong with it.
    """
    try:
        tables = Tables(*(tensors[name] for name in Tables._fields))
        calibration = Calibration(tensors["wavenumbers"], tables)
        wrong = [line for condition in values if (line := calibration.damage(condition))]
    except (KeyError, RuntimeError) as error:  # lacking, or of shapes that do not fit
        wrong = [" ".join(str(error).split())[:160]]
    if wrong:
        raise ValueError(f"{path}: its calibration is damaged: {wrong[0]}; run `select` again")
    return calibration


def load_weights(network: nn.Module, path: Path | str) -> dict[str, torch.Tensor]:
    """Read weights into a network, in place; return the calibration's tensors beside them, by name.

    Raises
    ------
    ValueError
        when the file is missing, damaged, or of a network of another shape.
    """
    try:
        tensors = safetensors.torch.load_file(path)
        extra = {name.removeprefix(PREFIX): tensors.pop(name) for name in list(tensors) if name.startswith(PREFIX)}
        network.load_state_dict(tensors)
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run `train` to its end") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: weights of a network of another shape: {reason}") from None
    return extra
