"""Compute the losses of both networks, and their penalties; a new loss is functions here and a line in `OBJECTIVES`."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import softplus

from cosmogan.config import Model
from cosmogan.gan import networks


class Objective(NamedTuple):
    """A pair of losses, and all that depends on which pair it is.

    Attributes
    ----------
    network : makes the discriminator for a model, cells a side, the samples in a BatchNorm group, and the fields that
        it sees beside the density
    discriminator : its loss, of its outputs for real and for fake samples
    generator : its loss, of the discriminator's outputs for fake samples, and for real ones too when ``relative``
    score : of an output: what the gate and the metrics take
    gradient_penalty : as `gradient_penalty`; None: there is none
    relative : whether real and fake samples are compared in pairs; the R1 penalty at real samples then comes with R2
        at fake ones
    likelihood_ratio : whether an output is ln(p_data / p_generator) of a sample, as rejection sampling needs it
    chance : the loss of a discriminator that cannot tell real from fake; None: no number
    won : a mean loss below which the discriminator has nothing left to learn; None: no number
    """

    network: Callable[..., nn.Sequential]
    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    generator: Callable[..., torch.Tensor]
    score: Callable[[torch.Tensor], torch.Tensor]
    gradient_penalty: Callable[..., torch.Tensor] | None = None
    relative: bool = False
    likelihood_ratio: bool = False
    chance: float | None = None
    won: float | None = None


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits for real (label 1) plus that for fake (label 0) samples, eq. (1).

    Labels are hard, and -log sigmoid(x) = softplus(-x).
    """
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Return the non-saturating loss: the mean cross-entropy of fake samples' logits with label 1."""
    return softplus(-fake).mean()


def critic_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the Wasserstein distance's negative estimate, E f(fake) - E f(real) (Arjovsky et al. 2017)."""
    return fake.mean() - real.mean()


def critic_generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's part of the Wasserstein distance, -E f(fake)."""
    return -fake.mean()


def relativistic_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of how much more real each real sample looks than the fake one beside it.

    That is softplus(-(D(real) - D(fake))) (Jolicoeur-Martineau 2019, paired as in Huang et al. 2024, eq. 2): a
    generator cannot drop what is real, as each fake is compared with it. Exchange the two for the generator's loss.
    """
    return softplus(fake - real).mean()


def gradient_penalty(
    critic: Callable[..., torch.Tensor],
    real: torch.Tensor,
    fake: torch.Tensor,
    mix: torch.Tensor,
    *conditions: torch.Tensor,
) -> torch.Tensor:
    """Return the mean of (|gradient of f| - 1)² between real and fake samples (Gulrajani et al. 2017, eq. 3).

    Parameters
    ----------
    critic : f, which takes each sample by itself: (n, 1, m, m, m) and any conditions (n, numbers) → (n, 1, 1, 1, 1)
    real, fake : (n, 1, m, m, m)
    mix : (n,) in (0, 1), each pair's place on the line from fake to real
    conditions : for conditional networks those of the real and of the fake samples, (2n, numbers)
    """
    between = torch.lerp(fake, real, mix[:, None, None, None, None]).requires_grad_()
    pairs = [both.chunk(2) for both in conditions]
    between_conditions = [
        torch.lerp(of_fake, of_real, mix.view(-1, *(1,) * (of_fake.dim() - 1))) for of_real, of_fake in pairs
    ]
    (gradient,) = torch.autograd.grad(critic(between, *between_conditions).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def zero_centred_penalty(outputs: torch.Tensor, samples: torch.Tensor, n: int) -> torch.Tensor:
    """Return the sum of |gradient of D|² / 2n (Mescheder, Geiger & Nowozin 2018, eq. 9 for gamma = 1).

    Of the outputs of real samples it is the R1 penalty, of those of fake samples R2, of both the sum of the two.

    Where BatchNorm ties the samples of a group together, it is the gradient of the sum of the group's outputs: what a
    generator would follow.

    Parameters
    ----------
    outputs : the discriminator's, (…, 1, 1, 1, 1)
    samples : (…, 1, m, m, m), scaled; they require gradients, and the outputs were computed from them
    n : number of the real samples, and of the fake ones
    """
    (gradient,) = torch.autograd.grad(outputs.sum(), samples, create_graph=True)
    return gradient.square().sum() / (2 * n)


def _critic(model: Model, subvolume: int, _: int, fields: int = 0) -> nn.Sequential:
    """Make a critic that takes each sample by itself, as its gradient penalty expects."""
    return networks.critic(model, subvolume, group=1, fields=fields)


OBJECTIVES = {
    "bce": Objective(
        network=networks.discriminator,
        discriminator=discriminator_loss,
        generator=generator_loss,
        score=torch.sigmoid,
        likelihood_ratio=True,
        chance=2 * math.log(2),
        won=1e-3,
    ),
    "wasserstein": Objective(
        network=_critic,
        discriminator=critic_loss,
        generator=critic_generator_loss,
        score=torch.Tensor.clone,
        gradient_penalty=gradient_penalty,
    ),
    "relativistic": Objective(
        network=networks.critic,
        discriminator=relativistic_loss,
        generator=relativistic_loss,
        score=torch.Tensor.clone,
        relative=True,
        chance=math.log(2),
    ),
}
