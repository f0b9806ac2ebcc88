"""Update both networks once, in the order of Feder, Berger & Stein (2020), section II.

A step's work on tensors comes in pieces: between them processes average, and the host decides. All that changes from
step to step a piece reads from tensors, so that CUDA graphs may take its place.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from cosmogan.config import Train
from cosmogan.gan import losses, networks
from cosmogan.gan.energy import energy_score
from cosmogan.training import schedule
from cosmogan.training.learner import Learner
from hpc.distributed import Processes

R1_INTERVAL = 16  # steps between those with the R1 penalty, which counts as often then (Karras et al. 2020, 3.1)


def r1_counts(train: Train, step: int) -> bool:
    """Say whether the R1 penalty counts in a step."""
    return train.r1 > 0 and step % R1_INTERVAL == 0


class Collapse(Exception):
    """Training does not learn any more; the message says why, and what to change."""


class Outcome(NamedTuple):
    """The numbers of one step, averaged over all processes; None for what did not take place.

    Those that decide are here; those that are only logged stay on the device, and hold until the next step.
    """

    loss_discriminator: float
    score_real: float  # mean of sigmoid(logit), or of a critic's output
    score_fake: float
    stop: float  # share of the processes that voted for it
    save: float
    gate_rate: float  # 1 when the discriminator took its step
    gradient_discriminator: torch.Tensor | None = None  # norms
    gradient_generator: torch.Tensor | None = None
    loss_generator: torch.Tensor | None = None


class Inputs(NamedTuple):
    """The arguments of `DiscriminatorStep.score` and of `GeneratorStep.backward`."""

    discriminator: tuple[torch.Tensor, ...]
    generator: tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]


def update_networks(d: "DiscriminatorStep", g: "GeneratorStep | None", inputs: Inputs, processes: Processes) -> Outcome:
    """Train both networks on one batch.

    Parameters
    ----------
    d, g : the steps of the two networks; None: it is not the generator's turn
    inputs : this process's part of the batch
    processes : that share it

    Raises
    ------
    Collapse
        when the loss is not a finite number.
    """
    numbers, fake, *forward = d.score(*inputs.discriminator)
    loss, score_real, score_fake, stop, save = processes.mean(numbers).tolist()
    if not math.isfinite(loss):
        raise Collapse(f"the loss is {loss}; lower {schedule.in_words(d.train)}")
    is_open = d.train.gate == 0 or score_fake > d.train.gate
    outcome = Outcome(loss, score_real, score_fake, stop, save, float(is_open))
    if is_open:
        d.backward(*forward)
        d.discriminator.average_gradients(processes)
        _, norm = d.descend()
        outcome = outcome._replace(gradient_discriminator=norm)
    del forward  # its memory is the generator's
    if g is not None:
        g.backward(*inputs.generator, fake)
        g.generator.average_gradients(processes)
        loss_generator, norm = g.descend()
        outcome = outcome._replace(gradient_generator=norm, loss_generator=loss_generator)
    for learner in (d.generator, d.discriminator):
        learner.average_statistics(processes)
    return outcome


@dataclass
class DiscriminatorStep:
    """The discriminator's step, with the R1 penalty or without."""

    train: Train
    generator: Learner
    discriminator: Learner
    penalised: bool

    def score(
        self,
        real: torch.Tensor,
        latents: torch.Tensor,
        mix: torch.Tensor,
        votes: torch.Tensor,
        *conditions: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Draw fakes, score real and fake samples, and compute the loss.

        Real and fake samples go through in one batch: BatchNorm's groups never mix them.

        Parameters
        ----------
        real : (n, 1, m, m, m), scaled
        latents : (n, numbers, 1, 1, 1)
        mix : (n,) places of the gradient penalty between real and fake
        votes : (2,)
        conditions : for conditional networks those of the real and of the fake samples, (2n, numbers)

        Returns
        -------
        `Outcome`'s first five numbers (5,), whose loss is without the R1 penalty; the fakes; then what `backward` takes
        """
        objective = losses.OBJECTIVES[self.train.loss]
        with torch.no_grad():
            fake = self.generator(latents)
        networks.follow(self.discriminator.network, real)
        samples = torch.cat((real, fake)).requires_grad_(self.penalised)
        outputs = self.discriminator(samples, *conditions)
        of_real, of_fake = outputs.chunk(2)
        loss = objective.discriminator(of_real, of_fake)
        if objective.gradient_penalty is not None:
            penalty = objective.gradient_penalty(self.discriminator, real, fake, mix, *conditions)
            loss = loss + self.train.gradient_penalty * penalty
        means = torch.stack((loss, objective.score(of_real).mean(), objective.score(of_fake).mean()))
        numbers = torch.cat((means.detach(), votes))
        if not self.penalised:
            return numbers, fake, loss
        return numbers, fake, loss, outputs if objective.relative else of_real, samples

    def backward(self, loss: torch.Tensor, *penalised: torch.Tensor) -> None:
        """Compute the gradients of the loss, and of the R1 penalty (outputs and samples) where it counts."""
        if self.penalised:
            outputs, samples = penalised
            loss = loss + R1_INTERVAL * self.train.r1 * losses.zero_centred_penalty(outputs, samples, len(samples) // 2)
        self.discriminator.backward(loss)

    def descend(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the discriminator's step; return its loss and the norm of its gradient."""
        return self.discriminator.descend()


@dataclass
class GeneratorStep:
    """The generator's step, and that of its EMA."""

    train: Train
    generator: Learner
    discriminator: Learner
    ema: nn.Module | None
    kappa: float

    def backward(
        self,
        latents: torch.Tensor,
        conditions: tuple[torch.Tensor, ...],
        real: tuple[torch.Tensor, ...],
        scored: tuple[torch.Tensor, ...],
        other: torch.Tensor,
    ) -> None:
        """Draw fakes, and compute the generator's loss and its gradients.

        Parameters
        ----------
        latents : (n, numbers, 1, 1, 1)
        conditions : of the fakes, (n, numbers), for conditional networks
        real : for a relative loss real samples (n, 1, m, m, m), scaled, and their conditions
        scored : for the energy score real samples, and the directions of its features
        other : the discriminator's fakes, other draws for the same samples
        """
        objective = losses.OBJECTIVES[self.train.loss]
        with torch.no_grad():
            of_real = [self.discriminator(*real)] if objective.relative else []
        fake = self.generator(latents)
        loss = objective.generator(self.discriminator(fake, *conditions), *of_real)
        if scored:
            loss = loss + self.train.energy_score * energy_score(fake, scored[0], other, scored[1], self.kappa)
        self.generator.backward(loss)

    def descend(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the generator's step, and move its EMA; return its loss and the norm of its gradient."""
        loss, norm = self.generator.descend()
        if self.ema is not None and self.train.ema is not None:
            n_seen = self.train.batch_size * self.train.n_critic  # since the generator's last step
            weight = -math.expm1(-n_seen / self.train.ema)
            with torch.no_grad():
                torch._foreach_lerp_([*self.ema.parameters()], [*self.generator.network.parameters()], weight)
        return loss, norm
