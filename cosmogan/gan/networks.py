"""Make the generator and the discriminator (Feder, Berger & Stein 2020, Table I)."""

import itertools
import math
from typing import Any

import torch
from torch import nn

from cosmogan.config import Model
from cosmogan.gan.batch_norm import GroupedBatchNorm
from cosmogan.gan.layers import (
    ConditionedConv,
    DensityConv,
    DensityDeconv,
    LatentDeconv,
    LogitConv,
    ResizeDeconv,
    Views,
    ViewsBeside,
)
from cosmogan.gan.spectra import Spectra

LATENT_SIDE = 4  # cells a side of the generator's first layer
SLOPE = 0.2  # of the discriminator's activations below 0


def channels(width: int, subvolume: int) -> list[int]:
    """Return the channels of the layers, from the one next to the density inwards: doubled at each halving.

    Raises
    ------
    ValueError
        when the subvolume's side is not 4 cells doubled at least once.
    """
    halvings = (subvolume // LATENT_SIDE).bit_length() - 1
    if halvings < 1 or subvolume != LATENT_SIDE << halvings:
        raise ValueError(f"preprocess.subvolume: the networks expect 8, 16, 32, 64, 128, … cells, found {subvolume}")
    return [width << i for i in range(halvings)]


def generator(model: Model, subvolume: int, group: int) -> nn.Sequential:
    """Make the generator: latents (n, latent_dimension, 1, 1, 1) → scaled density (n, 1, m, m, m).

    A conditional one takes the numbers of its condition after the latents.

    Parameters
    ----------
    model : width, latent_dimension, density_bias and condition
    subvolume : cells a side, m
    group : samples that BatchNorm takes together
    """
    widths = channels(model.width, subvolume)[::-1]
    layers: list[nn.Module] = [
        LatentDeconv(model.latent_dimension + len(model.condition), widths[0], LATENT_SIDE, 1, 0, bias=False)
    ]
    for inner, outer in itertools.pairwise(widths):
        layers += _activated(inner, group, 0.0)
        layers += [nn.ConvTranspose3d(inner, outer, 4, 2, 1, bias=False)]
    layers += _activated(widths[-1], group, 0.0)
    bias = model.density_bias
    last = ResizeDeconv(widths[-1], bias) if model.resize else DensityDeconv(widths[-1], 1, 4, 2, 1, bias=bias)
    layers += [last, nn.Tanh()]
    return _channels_last(nn.Sequential(*layers))


def discriminator(model: Model, subvolume: int, group: int, fields: int = 0) -> nn.Sequential:
    """Make the discriminator: scaled density (n, 1, m, m, m) → logits (n, 1, 1, 1, 1); arguments as the generator's.

    A conditional one takes the conditions (n, numbers) beside the density, as constant channels after its first layer;
    that of a local generator takes ``fields`` (n, fields, m, m, m), from which the density was made.
    """
    widths = channels(model.width, subvolume)
    layers = _views(model, fields)
    layers += [DensityConv(_channels_seen(model) + fields, widths[0], 4, 2, 1, bias=model.density_bias)]
    layers += [nn.LeakyReLU(SLOPE, inplace=True)]
    for outer, inner in itertools.pairwise(widths):
        layers += [nn.Conv3d(outer, inner, 4, 2, 1, bias=False)]
        layers += _activated(inner, group, SLOPE)
    layers += [LogitConv(widths[-1], 1, LATENT_SIDE, 1, 0, bias=False)]
    return _whole(layers, model, subvolume, group)


def critic(model: Model, subvolume: int, group: int = 1, fields: int = 0) -> nn.Sequential:
    """Make a Wasserstein GAN's critic, (n, 1, m, m, m) → (n, 1, 1, 1, 1): biases in place of BatchNorm.

    The gradient penalty is on each sample's own gradient, and BatchNorm would make a sample's output depend on the
    others beside it (Gulrajani et al. 2017, section 4). Without it the layers need biases, or the output would merely
    scale with the input. A relativistic GAN's discriminator is the same; it may see the spectra of a whole group.
    """
    widths = channels(model.width, subvolume)
    layers = _views(model, fields)
    layers += [DensityConv(_channels_seen(model) + fields, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
    for outer, inner in itertools.pairwise(widths):
        layers += [nn.Conv3d(outer, inner, 4, 2, 1), nn.LeakyReLU(SLOPE)]
    layers += [LogitConv(widths[-1], 1, LATENT_SIDE, 1, 0)]
    return _whole(layers, model, subvolume, group)


def _channels_seen(model: Model) -> int:
    """Return the number of channels in which a discriminator or critic sees the density."""
    return 1 + len(model.discriminator_kappa) + (model.discriminator_log is not None)


def _activated(channels: int, group: int, slope: float) -> list[nn.Module]:
    """Return a BatchNorm with its activation; the place after it is kept, as files of weights number the layers."""
    return [GroupedBatchNorm(channels, group, slope), nn.Identity()]


def _views(model: Model, fields: int) -> list[nn.Module]:
    """Return the layer before the first convolution of a discriminator or critic, if any."""
    ratios = [kappa / model.kappa for kappa in model.discriminator_kappa]
    floor = None if model.discriminator_log is None else model.discriminator_log / model.kappa
    if fields:
        return [ViewsBeside(ratios, floor)]
    return [Views(ratios, floor)] if _channels_seen(model) > 1 else []


def _whole(layers: list[nn.Module], model: Model, subvolume: int, group: int) -> nn.Sequential:
    """Return a discriminator or critic: its layers, with the condition and the spectra that it sees."""
    network = _conditioned(layers, len(model.condition))
    if model.discriminator_power:
        network = Sum(network, Spectra(model.discriminator_power, model.kappa, subvolume, group))
    return _channels_last(network)


def _channels_last(network: nn.Sequential) -> nn.Sequential:
    """Lay out weights so that channels come last in memory; torch's types do not know of it."""
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


class Sum(nn.Sequential):
    """Two networks whose logits are added; only the first takes conditions."""

    def forward(self, x: torch.Tensor, *conditions: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, 1, 1, 1, 1) of (n, 1, m, m, m), with conditions (n, numbers) or without."""
        return self[0](x, *conditions) + self[1](x)


def follow(network: nn.Module, real: torch.Tensor) -> None:
    """Update the units of `Spectra` layers, in place, by real samples (n, 1, m, m, m), scaled."""
    for layer in network.modules():
        if isinstance(layer, Spectra):
            layer.follow(real)


class Conditioned(nn.Sequential):
    """Layers of which one takes the conditions, or the fields that samples were made from."""

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the last layer's output of (n, 1, m, m, m) under conditions (n, numbers) or fields (n, …, m, m, m)."""
        for layer in self:
            x = layer(x, conditions) if isinstance(layer, ConditionedConv | ViewsBeside) else layer(x)
        return x


def _conditioned(layers: list[nn.Module], numbers: int) -> nn.Sequential:
    """Return the network of some layers, whose second convolution takes so many constant channels more."""
    if isinstance(layers[0], ViewsBeside):
        return Conditioned(*layers)
    if numbers == 0:
        return nn.Sequential(*layers)
    at, plain = [(i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Conv3d)][1]
    channels = plain.in_channels + numbers, plain.out_channels
    sizes: dict[str, Any] = {name: getattr(plain, name) for name in ("kernel_size", "stride", "padding")}
    layers[at] = ConditionedConv(*channels, **sizes, bias=plain.bias is not None)
    return Conditioned(*layers)


def mean_output(kappa: float) -> float:
    """Return the generator's output before its tanh at the mean density, atanh(c(1)) = -ln(kappa) / 2."""
    return -0.5 * math.log(kappa)


def initialise(network: nn.Sequential, seed: int, output: float) -> None:
    """Draw initial weights in place: convolutions N(0, 0.02), BatchNorm weights N(1, 0.02), its biases 0.

    Those of linear layers are N(0, 1/sqrt(inputs)).

    Parameters
    ----------
    network : generator or discriminator
    seed : the same weights for the same seed, on any process
    output : value of a convolution's bias (only the layer next to the density may have one)
    """
    random = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=random)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, output)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, layer.in_features**-0.5, generator=random)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, GroupedBatchNorm):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator=random)
            nn.init.zeros_(layer.bias)
