"""Accept samples by discriminator rejection sampling (Azadi et al. 2018, arXiv:1810.06758; Feder et al. 2020, app. A).

The optimal discriminator of a fixed generator, D = sigmoid(d), gives the ratio of a sample's likelihoods in the data
and among the generator's samples, p_data / p_g = exp(d), eq. (A3): keeping samples in that proportion would make the
generator's distribution the data's.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from cosmogan.gan import latent, losses, scaling
from cosmogan.gan.released import Released
from cosmogan.training.learner import Learner


def acceptance(logits: np.ndarray, bound: float, epsilon: float, gamma: float) -> np.ndarray:
    """Return the probability with which each sample is kept, eqs. (A4) and (A5).

    Parameters
    ----------
    logits : (n,) the discriminator's
    bound : the largest logit that is expected; a sample beyond it counts as one at it
    epsilon : positive, keeps the probability below 1
    gamma : fewer are kept the larger it is
    """
    below = np.minimum(np.asarray(logits, np.float64) - bound, 0.0)
    return expit(below - np.log(-np.expm1(below - epsilon)) - gamma)


def logits_of(discriminator: nn.Module, density: torch.Tensor, kappa: float) -> torch.Tensor:
    """Return the logits of densities (n, m, m, m), (n,)."""
    return discriminator(scaling.scale(density, kappa)[:, None]).flatten()


def refine(learner: Learner, batches: Iterable[torch.Tensor], generator: Released, seed: int) -> Iterator[float]:
    """Train a discriminator on, in place, against a generator that stays as it is; yield the loss of every step.

    Its BatchNorm keeps the running statistics that it has, in training as in what follows: a logit that depends on
    the other samples of its batch is no ratio of densities. There is no gate.

    Parameters
    ----------
    learner : the discriminator
    batches : of real samples, (n, 1, m, m, m) in units of the mean
    generator : makes as many fakes
    seed : of their latents
    """
    learner.network.eval()
    kappa, number = generator.model.kappa, 0
    for real in batches:
        fake = generator(generator.latents(seed, np.arange(number, number + len(real)), latent.JUDGED))
        number += len(real)
        both = torch.cat([scaling.scale(real, kappa), scaling.scale(fake, kappa)[:, None]])
        learner.backward(losses.discriminator_loss(*learner(both.to(learner.parameters[0].dtype)).chunk(2)))
        loss, _ = learner.descend()
        yield float(loss)
