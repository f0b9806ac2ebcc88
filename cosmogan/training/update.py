"""Update both networks once, in pieces: between them processes average, and the host decides."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cosmogan.config import Train
from cosmogan.gan import losses, networks
from cosmogan.training.learner import Learner

R1_INTERVAL = 16  # steps between those with the R1 penalty, which counts as often then (Karras et al. 2020, 3.1)


@dataclass(frozen=True)
class Step:
    """Both networks' work. All that changes from step to step it reads from tensors, so that it may be recorded."""

    train: Train
    generator: Learner
    discriminator: Learner
    average: nn.Module | None

    def train_discriminator(self, penalised: bool, *inputs: torch.Tensor) -> Iterator[Any]:
        """Judge real and fake samples, find the gradients, descend.

        Real and fake samples go through in one batch: BatchNorm's groups never mix them.

        Parameters
        ----------
        penalised : whether with the R1 penalty, and R2 where the loss is relativistic
        inputs : real samples (n, 1, m, m, m), scaled; latents (n, numbers, 1, 1, 1); places of the gradient penalty
            (n,); votes (2,); for conditional networks the conditions of real and fake samples (2n, numbers)

        Yields
        ------
        Outcome's first five numbers, which know of no R1 penalty; None; what `Learner.descend` gives
        """
        real, latents, mix, votes, *told = inputs
        objective = losses.OBJECTIVES[self.train.loss]
        with torch.no_grad():
            fake = self.generator(latents)
        networks.follow(self.discriminator.network, real)
        samples = torch.cat((real, fake)).requires_grad_(penalised)
        outputs = self.discriminator(samples, *told)
        of_real, of_fake = outputs.chunk(2)
        loss = objective.discriminator(of_real, of_fake)
        if self.train.loss == "wasserstein":
            between = [torch.lerp(*both.chunk(2)[::-1], mix[:, None]) for both in told]
            penalty = losses.gradient_penalty(lambda x: self.discriminator(x, *between), real, fake, mix)
            loss = loss + self.train.gradient_penalty * penalty
        seen = (loss, *(objective.score(outputs).mean() for outputs in (of_real, of_fake)))
        yield torch.cat((torch.stack(seen).detach(), votes))
        if penalised:
            of_penalised = outputs if self.train.loss == "relativistic" else of_real
            penalty = losses.zero_centred_penalty(of_penalised, samples, len(real))
            loss = loss + R1_INTERVAL * self.train.r1 * penalty
        self.discriminator.differentiate(loss)
        yield None
        yield self.discriminator.descend()

    def train_generator(self, *inputs: torch.Tensor) -> Iterator[Any]:
        """Find the gradients, descend.

        Parameters
        ----------
        inputs : latents (n, numbers, 1, 1, 1); for a relativistic loss real samples (n, 1, m, m, m), scaled; for
            conditional networks the conditions of the latter, if any, and of the fake samples (n, numbers) each

        Yields
        ------
        None; what `Learner.descend` gives
        """
        latents, *others = inputs
        objective = losses.OBJECTIVES[self.train.loss]
        if objective.generator is None:
            real, *told = others
            with torch.no_grad():
                of_real = self.discriminator(real, *told[:1])
            loss = objective.discriminator(self.discriminator(self.generator(latents), *told[1:]), of_real)
        else:
            loss = objective.generator(self.discriminator(self.generator(latents), *others))
        self.generator.differentiate(loss)
        yield None
        descended = self.generator.descend()
        self._follow()
        yield descended

    def _follow(self) -> None:
        """Move the averaged generator's weights towards the present ones."""
        if self.average is not None:
            seen = self.train.batch_size * self.train.n_critic  # since it followed last
            weight = -math.expm1(-seen / self.train.ema)
            with torch.no_grad():
                torch._foreach_lerp_([*self.average.parameters()], [*self.generator.network.parameters()], weight)
