"""Make the networks of a kind of generator, and what they are fed in training."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from cosmogan.config import Input, Model, Train
from cosmogan.gan import latent, local, losses, networks
from cosmogan.training.dataset import Batch

Tensors = tuple[torch.Tensor, ...]


class Design(ABC):
    """A kind of generator, with its discriminator.

    Parameters
    ----------
    model : settings
    subvolume : cells a side of a training sample
    """

    def __init__(self, model: Model, subvolume: int) -> None:
        self.model, self.subvolume = model, subvolume

    @abstractmethod
    def networks(self, train: Train, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return the generator and the discriminator, with initial weights that follow from the seed."""

    @abstractmethod
    def kappa(self, batch: Batch) -> float | torch.Tensor:
        """Return the scaling's kappa, or that of each sample (n, 1, 1, 1, 1)."""

    @abstractmethod
    def conditions(self, batch: Batch) -> tuple[Tensors, Tensors]:
        """Return what the discriminator sees beside real, and beside fake samples; nothing, or one tensor each."""

    @abstractmethod
    def inputs(self, seed: int, stream: int, first: int, batch: Batch) -> torch.Tensor:
        """Return what the generator is fed to make fakes in place of a batch's samples.

        Parameters
        ----------
        seed, stream : name the sequence of random numbers
        first : number of the batch's first sample
        """


class LatentDesign(Design):
    """The paper's: latents, and the conditions after them, become a subvolume."""

    def networks(self, train: Train, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return both networks of Table I."""
        generator = networks.generator(self.model, self.subvolume, train.batch_norm_group)
        discriminator = losses.OBJECTIVES[train.loss].network(self.model, self.subvolume, train.batch_norm_group)
        networks.initialise(generator, 2 * seed, output=networks.mean_output(self.model.kappa))
        networks.initialise(discriminator, 2 * seed + 1, output=0.0)
        return generator, discriminator

    def kappa(self, batch: Batch) -> float | torch.Tensor:
        """Return the kappa of the batch's conditions."""
        return self.model.kappa if batch.conditions is None else batch.conditions.kappa

    def conditions(self, batch: Batch) -> tuple[Tensors, Tensors]:
        """Return the conditions of the real samples, and those drawn for the fakes, (n, numbers)."""
        return ((), ()) if batch.conditions is None else ((batch.conditions.real,), (batch.conditions.fake,))

    def inputs(self, seed: int, stream: int, first: int, batch: Batch) -> torch.Tensor:
        """Return latents with the conditions of the fakes, (n, numbers, 1, 1, 1)."""
        z = latent.draw(self.model, seed, stream, first, len(batch.density))
        of_fake = self.conditions(batch)[1]
        return torch.cat((z, *(condition.to(z) for condition in of_fake)), dim=1)[:, :, None, None, None]


class LocalDesign(Design):
    """A local one: the density of a quick simulation around each cell, and noise, become the density there."""

    def __init__(self, model: Model, subvolume: int, settings: Input) -> None:
        super().__init__(model, subvolume)
        self._settings = settings

    def networks(self, train: Train, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Return a generator that begins as its input, and a discriminator that sees the input beside each sample."""
        generator = local.Generator(self.model, self._settings)
        make = losses.OBJECTIVES[train.loss].network
        discriminator = make(self.model, self.subvolume, train.batch_norm_group, fields=1)
        local.initialise(generator, 2 * seed)
        networks.initialise(discriminator, 2 * seed + 1, output=0.0)
        return generator, discriminator

    def kappa(self, batch: Batch) -> float:
        """Return the model's kappa."""
        return self.model.kappa

    def conditions(self, batch: Batch) -> tuple[Tensors, Tensors]:
        """Return the logarithm of the input in the place of the samples, (n, 1, m, m, m), twice: fakes are in pairs."""
        inner = slice(local.halo(self._settings), -local.halo(self._settings))
        field = local.logarithm(self._surroundings(batch)[:, None, inner, inner, inner])
        return (field,), (field,)

    def inputs(self, seed: int, stream: int, first: int, batch: Batch) -> torch.Tensor:
        """Return the input and noise around each sample, (n, 1 + noise, m + 2 halo, …)."""
        field = self._surroundings(batch)
        n, side = len(field), field.shape[-1]
        numbers = torch.arange(first, first + n, device=field.device)
        cells = torch.arange(side**3, device=field.device).view(1, side, side, side).expand(n, -1, -1, -1)
        return local.network_input(
            field, local.cell_noise(seed, stream, numbers, cells, self.model, self._settings.noise)
        )

    @staticmethod
    def _surroundings(batch: Batch) -> torch.Tensor:
        assert batch.surroundings is not None
        return batch.surroundings
