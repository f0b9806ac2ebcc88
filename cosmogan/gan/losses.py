"""Compute the losses of both networks, and their penalties."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import softplus


class Objective(NamedTuple):
    """A pair of losses of the discriminator's outputs, and the score that an output stands for."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of real and fake samples' outputs
    generator: Callable[[torch.Tensor], torch.Tensor] | None  # of fake samples' outputs; None: see the objective
    score: Callable[[torch.Tensor], torch.Tensor]


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
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor
) -> torch.Tensor:
    """Return the mean of (|gradient of f| - 1)² between real and fake samples (Gulrajani et al. 2017, eq. 3).

    Parameters
    ----------
    critic : f, which takes each sample by itself: (n, 1, m, m, m) → (n, 1, 1, 1, 1)
    real, fake : (n, 1, m, m, m)
    mix : (n,) in (0, 1), each pair's place on the line from fake to real
    """
    between = torch.lerp(fake, real, mix[:, None, None, None, None]).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
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


CHANCE = {"bce": 2 * math.log(2), "relativistic": math.log(2)}  # the loss of a discriminator that knows nothing
OBJECTIVES = {
    "bce": Objective(discriminator_loss, generator_loss, torch.sigmoid),
    "wasserstein": Objective(critic_loss, critic_generator_loss, torch.Tensor.clone),
    "relativistic": Objective(relativistic_loss, None, torch.Tensor.clone),
}
