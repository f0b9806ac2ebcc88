"""Adversarial training: one discriminator and one generator step a batch, the same for any number of processes."""

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import nn

from cosmogan.config import Model, Train
from cosmogan.gan import latent, losses, networks, scaling
from cosmogan.gan.dataset import Part
from hpc.distributed import Processes


class Learner:
    """A network, its optimiser, and its gradients in one buffer.

    One all-reduce of the buffer averages the gradients. DistributedDataParallel would hide the same sum in hooks,
    which have to be told of every step that the gate skips and of the discriminator's pass in the generator's step.
    """

    def __init__(self, network: nn.Sequential, rate: float, betas: tuple[float, ...]) -> None:
        self.network, self.rate = network, rate
        self.parameters = list(network.parameters())
        sizes = [parameter.numel() for parameter in self.parameters]
        self.gradients = torch.zeros(sum(sizes), device=self.parameters[0].device)
        for parameter, part in zip(self.parameters, self.gradients.split(sizes), strict=True):
            parameter.grad = part.as_strided(parameter.shape, parameter.stride())
        self.optimizer = torch.optim.Adam(self.parameters, rate, (betas[0], betas[1]), fused=True)

    def descend(self, loss: torch.Tensor, processes: Processes, factor: float) -> None:
        """Take one step down the mean of all processes' losses, at ``factor`` times the rate."""
        self.gradients.zero_()
        loss.backward(inputs=self.parameters)
        processes.mean(self.gradients)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return weights, running statistics and the optimiser's moments."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


class Outcome(NamedTuple):
    """What one step did, averaged over all processes but for the generator's loss; the same on all but for that."""

    loss_discriminator: float
    score_real: float  # mean of sigmoid(logit)
    score_fake: float
    stop: float  # share of the processes that voted for it
    save: float
    gate: float  # 1 when the discriminator took its step
    loss_generator: torch.Tensor  # this process's; left on the device


class Trainer:
    """Both networks, the generator's moving average, and how far training is.

    Parameters
    ----------
    model, train : settings
    subvolume : cells a side
    epoch_steps : batches in an epoch
    processes : this process's place
    device : where to compute
    """

    def __init__(
        self, model: Model, train: Train, subvolume: int, epoch_steps: int, processes: Processes, device: torch.device
    ) -> None:
        self.model, self.train, self.epoch_steps = model, train, epoch_steps
        self.processes, self.device = processes, device
        self.part = share(train, processes)
        generator = networks.generator(model, subvolume, train.batch_norm_group)
        discriminator = networks.discriminator(model, subvolume, train.batch_norm_group)
        networks.initialise(generator, 2 * train.seed, output=networks.mean_output(model.kappa))
        networks.initialise(discriminator, 2 * train.seed + 1, output=0.0)
        self.generator = Learner(generator.to(device), train.generator_rate, train.betas)
        self.discriminator = Learner(discriminator.to(device), train.discriminator_rate, train.betas)
        self.average = copy.deepcopy(generator).requires_grad_(False) if train.ema else None
        self.step = 0

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.train.epochs * self.epoch_steps

    @property
    def epoch(self) -> int:
        """The epoch in which the latest step falls, from 1."""
        return -(-self.step // self.epoch_steps)

    @property
    def n_seen(self) -> int:
        """Real samples shown so far."""
        return self.step * self.train.batch_size

    def update(self, density: torch.Tensor, votes: tuple[bool, bool]) -> Outcome:
        """Train on one batch.

        Parameters
        ----------
        density : (part of the batch, 1, m, m, m), in units of the mean
        votes : whether this process wants to stop, and to save a checkpoint; they ride along with the scores
        """
        factor = rate_factor(self.step / self.steps, self.train.rate_end)
        real = scaling.scale(density, self.model.kappa)
        loss, outcome = self._judge(real, votes)
        gate = outcome[2] > self.train.gate
        if gate:
            self.discriminator.descend(loss, self.processes, factor)
        loss = losses.generator_loss(self.discriminator.network(self._fake(latent.GENERATOR)))
        self.generator.descend(loss, self.processes, factor)
        self.step += 1
        self._follow()
        return Outcome(*outcome, float(gate), loss.detach())

    def _judge(self, real: torch.Tensor, votes: tuple[bool, bool]) -> tuple[torch.Tensor, list[float]]:
        """Return the discriminator's loss, and Outcome's first five numbers.

        Real and fake samples go through in one batch: BatchNorm's groups never mix them.

        Raises
        ------
        ValueError
            when the loss is not a finite number.
        """
        with torch.no_grad():
            fake = self._fake(latent.DISCRIMINATOR)
        of_real, of_fake = self.discriminator.network(torch.cat((real, fake))).chunk(2)
        loss = losses.discriminator_loss(of_real, of_fake)
        seen = (loss.detach(), of_real.detach().sigmoid().mean(), of_fake.detach().sigmoid().mean())
        mean = self.processes.mean(torch.stack([*seen, *loss.new_tensor(votes)])).tolist()
        if not math.isfinite(mean[0]):
            raise ValueError(
                f"training diverged: the loss at step {self.step} is {mean[0]}; lower train.generator_rate "
                f"({self.train.generator_rate:g}) and train.discriminator_rate ({self.train.discriminator_rate:g}), "
                "and train in another `output`"
            )
        return loss, mean

    def _fake(self, stream: int) -> torch.Tensor:
        """Return this process's fakes of this step, (part of the batch, 1, m, m, m) scaled."""
        z = latent.draw(self.model, self.train.seed, stream, self.n_seen + self.part.offset, self.part.size)
        return self.generator.network(z.to(self.device)[:, :, None, None, None])

    def _follow(self) -> None:
        """Move the averaged generator, running statistics included, towards the present one."""
        if self.average is not None:
            weight = -math.expm1(-self.train.batch_size / self.train.ema)
            torch._foreach_lerp_(_floats(self.average), _floats(self.generator.network), weight)

    def settle(self) -> None:
        """Give all processes the same running statistics: their mean, exact at any time since updates are linear."""
        for network in (self.generator.network, self.discriminator.network, self.average):
            for buffer in network.buffers() if network is not None else ():
                self.processes.mean(buffer)

    def state(self) -> dict[str, Any]:
        """Return all that training needs to go on from here."""
        return {
            "step": self.step,
            "generator": self.generator.state(),
            "discriminator": self.discriminator.state(),
            "average": {} if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.step = state["step"]
        self.generator.restore(state["generator"])
        self.discriminator.restore(state["discriminator"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _floats(network: nn.Module) -> list[torch.Tensor]:
    return [*(parameter.detach() for parameter in network.parameters()), *network.buffers()]


def share(train: Train, processes: Processes) -> Part:
    """Return a process's part of every batch: whole BatchNorm groups.

    Raises
    ------
    ValueError
        when the batch's groups cannot be dealt out evenly.
    """
    if train.batch_size % (train.batch_norm_group * processes.size):
        raise ValueError(
            f"train.batch_size: expected a multiple of train.batch_norm_group × processes = "
            f"{train.batch_norm_group} × {processes.size}, found {train.batch_size}"
        )
    size = train.batch_size // processes.size
    return Part(processes.rank * size, size)


def rate_factor(progress: float, end: float) -> float:
    """Return what multiplies the rates: 1 in the first half of training, then falling linearly to ``end``."""
    return 1.0 - (1.0 - end) * max(0.0, 2 * progress - 1)
