"""Compute power spectra that gradients flow through, and a logit of them for the discriminator."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

SMOOTH = 1e-6  # added to powers before a logarithm is taken
HIDDEN = 64  # numbers between the spectra and the logit
FOLLOWED = 64.0  # batches of real samples that the units are taken from
NARROWEST = 1e-4  # variance of ln P(k), at the least: of the unit, and in a group


def band_power(field: Tensor) -> Tensor:
    """Return the mean |delta_k|² over modes, (n, bins), of (n, m, m, m) cells, to the corner of Fourier space.

    Bins are one fundamental wide, |q| rounded down.

    Parameters
    ----------
    field : (n, m, m, m)
    """
    delta_k = torch.fft.rfftn(field - field.mean(dim=(1, 2, 3), keepdim=True), dim=(1, 2, 3))
    squared = (delta_k.real.square() + delta_k.imag.square()).flatten(1)
    index, weight, n_bins = _bins(field.shape[1], str(field.device))
    sums = squared.new_zeros(len(squared), n_bins).index_add(1, index, squared * weight.to(squared.dtype))
    return sums[:, 1:] + SMOOTH


@lru_cache(maxsize=8)
def _bins(m: int, device: str) -> tuple[Tensor, Tensor, int]:
    """Return each stored mode's bin, its weight in the bin's mean, and the number of bins."""
    axis, last = np.fft.fftfreq(m, 1 / m), np.arange(m // 2 + 1)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + last**2)
    weight = np.broadcast_to(np.where((last == 0) | (2 * last == m), 1.0, 2.0), q.shape).ravel()  # with conjugates
    index = np.floor(q).astype(np.int64).ravel()
    mean = weight / np.bincount(index, weight)[index]
    return torch.from_numpy(index).to(device), torch.from_numpy(mean).to(device), int(index.max()) + 1


class Spectra(nn.Module):
    """A logit of each sample's ln P(k), and of how much that scatters among the samples of a group.

    P(k) is that of the density which saturates at kappa, rho / (1 + rho / kappa): of a small kappa all cells make it,
    of a large one the densest. It counts from the mean of real samples, in units of their standard deviation, both
    of the first `FOLLOWED` batches that `follow` is shown, and nothing counts in the first step. They are used from the
    step after, when processes have averaged them.

    Parameters
    ----------
    kappas : a spectrum each
    scaled_by : kappa of the scaled density
    subvolume : cells a side, m
    group : samples whose scatter is seen; of a single one, and in eval mode, none is
    """

    mean: Tensor
    squared: Tensor
    known: Tensor
    next_mean: Tensor
    next_squared: Tensor
    followed: Tensor

    def __init__(self, kappas: Sequence[float], scaled_by: float, subvolume: int, group: int) -> None:
        super().__init__()
        self.kappas, self.scaled_by, self.group = kappas, scaled_by, group
        n = len(kappas) * (_bins(subvolume, "cpu")[2] - 1)
        self.layers = nn.Sequential(nn.Linear(2 * n, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))
        for when in ("", "next_"):
            self.register_buffer(f"{when}mean", torch.zeros(n))
            self.register_buffer(f"{when}squared", torch.ones(n))
        self.register_buffer("known", torch.zeros(1))  # 1 from the second step on
        self.register_buffer("followed", torch.zeros(1))  # batches

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 1, 1, 1, 1) of scaled densities (n, 1, m, m, m); in the precision of x throughout."""
        unit = (self.squared - self.mean.square()).clamp(min=NARROWEST).sqrt()
        away = self.known * (self._log_power(x) - self.mean) / unit
        # A fake can be off by tens of units: it should not outweigh all else that the discriminator sees.
        return self.layers(torch.cat((away.asinh(), self._scatter(away)), 1))[:, :, None, None, None]

    def follow(self, real: Tensor) -> None:
        """Use the mean and the unit of the samples so far, and add more real samples to them, in place."""
        with torch.no_grad():
            self.mean.copy_(self.next_mean)
            self.squared.copy_(self.next_squared)
            self.known.copy_(self.followed.clamp(max=1))
            log_power = self._log_power(real)
            going_on = (self.followed < FOLLOWED).to(log_power.dtype)
            weight = going_on / (self.followed + 1)
            self.next_mean.lerp_(log_power.mean(0), weight)
            self.next_squared.lerp_(log_power.square().mean(0), weight)
            self.followed.add_(going_on)

    def _log_power(self, x: Tensor) -> Tensor:
        up, down = 1 + x[:, 0], 1 - x[:, 0]
        fields = [kappa * up / (up + kappa / self.scaled_by * down) for kappa in self.kappas]
        return torch.cat([band_power(field).log() for field in fields], 1)

    def _scatter(self, away: Tensor) -> Tensor:
        """Return ln of the standard deviation over each sample's group."""
        if not self.training or self.group == 1:
            return torch.zeros_like(away)
        groups = away.unflatten(0, (-1, self.group))
        variance = groups.var(1, unbiased=False, keepdim=True)
        return ((variance + NARROWEST).log() / 2).expand_as(groups).flatten(0, 1)
