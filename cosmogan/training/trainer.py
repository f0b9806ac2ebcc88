"""Adversarial training: a discriminator's step a batch, and the generator's; the same for any number of processes."""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from cosmogan.config import Model, Train
from cosmogan.gan import batch_norm, latent, networks, scaling
from cosmogan.gan.conditions import Told
from cosmogan.training import cuda_graphs
from cosmogan.training.dataset import Batch, Part
from cosmogan.training.learner import Learner, Pace, precision, rate_factor
from cosmogan.training.update import R1_INTERVAL, Step
from hpc.distributed import Processes

RESEED = 1_000_003  # between the seeds of one training's restarts
CALIBRATION = 512  # samples whose statistics an averaged generator gets


class Collapse(Exception):
    """Training has come to where it does not learn any more; the message says why, and what to change."""


class Outcome(NamedTuple):
    """What one step did, averaged over all processes; None stands for what did not take place.

    Numbers that decide are here; those only to be recorded stay on the device, and hold until the next step.
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


class Trainer:
    """Both networks, the generator's moving average, and how far training is.

    Parameters
    ----------
    model, train : settings
    subvolume : cells a side
    epoch_steps : batches in an epoch
    processes : this process's place
    device : where to compute

    Attributes
    ----------
    shown : what conditional networks are told of the samples of `look`, (1, numbers); whoever has the data sets it
    """

    def __init__(
        self, model: Model, train: Train, subvolume: int, epoch_steps: int, processes: Processes, device: torch.device
    ) -> None:
        self.model, self.train, self.epoch_steps = model, train, epoch_steps
        self.processes, self.device = processes, device
        self.part = share(train, processes)
        self.precision = precision(train.precision, device)
        self._subvolume = subvolume
        self.shown: torch.Tensor | None = None
        self.begin(restarts=0)

    def begin(self, restarts: int) -> None:
        """Go to the first step, with the weights and the seed of the given restart."""
        model, train = self.model, self.train
        self.restarts, self.step, self.pace = restarts, 0, Pace(train.discriminator_loss)
        generator = networks.generator(model, self._subvolume, train.batch_norm_group)
        if train.loss == "bce":
            discriminator = networks.discriminator(model, self._subvolume, train.batch_norm_group)
        else:
            group = 1 if train.loss == "wasserstein" else train.batch_norm_group
            discriminator = networks.critic(model, self._subvolume, group)
        networks.initialise(generator, 2 * self.seed, output=networks.mean_output(model.kappa))
        networks.initialise(discriminator, 2 * self.seed + 1, output=0.0)
        for network in (generator, discriminator):
            network.to(self.device, self.precision.dtype)
        options = train.betas, self.precision.autocast
        self.generator = Learner(generator, train.generator_rate, *options)
        self.discriminator = Learner(discriminator, train.discriminator_rate, *options)
        self.average = copy.deepcopy(generator).requires_grad_(False) if train.ema else None
        self._work = Step(train, self.generator, self.discriminator, self.average)
        self._forget_graphs()

    def _forget_graphs(self) -> None:
        """Record the work anew, if at all: tensors are elsewhere now."""
        wanted = self.train.cuda_graphs
        if wanted or (wanted is None and self.device.type == "cuda"):
            self._run = cuda_graphs.Graphs(cuda_graphs.Recorder(self.device), self.processes.rank).run
        else:
            self._run = cuda_graphs.directly

    @property
    def seed(self) -> int:
        """The seed of all that is drawn: the user's, and another one after each restart."""
        return self.train.seed + RESEED * self.restarts

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.train.epochs * self.epoch_steps

    @property
    def epoch(self) -> int:
        """The epoch in which the latest step falls, from 1."""
        return -(-self.step // self.epoch_steps)

    @property
    def epoch_ends(self) -> bool:
        """Whether the latest step is its epoch's last one."""
        return self.step % self.epoch_steps == 0

    @property
    def n_seen(self) -> int:
        """Real samples shown so far."""
        return self.step * self.train.batch_size

    def update(self, batch: Batch, votes: tuple[bool, bool]) -> Outcome:
        """Train on one batch.

        Parameters
        ----------
        batch : this process's part of it
        votes : whether this process wants to stop, and to save a checkpoint; they ride along with the scores

        Raises
        ------
        Collapse
            when the loss is not a finite number.
        """
        settings, norms = self.train, {}
        factor = rate_factor(settings, self.step / self.steps, self.step // settings.n_critic)
        self.generator.set_rate(factor * self.pace.generator)
        self.discriminator.set_rate(factor * self.pace.discriminator)
        of_discriminator, of_generator = self._inputs(batch, votes)
        penalised = settings.r1 > 0 and self.step % R1_INTERVAL == 0
        name, train = f"discriminator, {penalised=}", functools.partial(self._work.train_discriminator, penalised)
        work = self._run(name, train, *of_discriminator)
        seen = self.processes.mean(next(work)).tolist()
        if not math.isfinite(seen[0]):
            raise Collapse(f"the loss is {seen[0]}; lower {self.rates()}")
        self.pace.add(seen[0])
        gate = settings.gate == 0 or seen[2] > settings.gate
        if gate:
            _, norms["gradient_discriminator"] = self._descend(self.discriminator, work)
        if (self.step + 1) % settings.n_critic == 0:
            work = self._run("generator", self._work.train_generator, *of_generator)
            norms["loss_generator"], norms["gradient_generator"] = self._descend(self.generator, work)
        for learner in (self.generator, self.discriminator):
            learner.share_statistics(self.processes)
        self.step += 1
        return Outcome(*seen, float(gate), **norms)

    def _inputs(self, batch: Batch, votes: tuple[bool, bool]) -> tuple[tuple[torch.Tensor, ...], ...]:
        """Return what the discriminator's work takes, and the generator's."""
        first, n = self.n_seen + self.part.offset, self.part.size
        kappa, of_real, fake = self.model.kappa, (), ()
        if batch.told is not None:
            told = Told(*map(self._here, batch.told))
            kappa, of_real, fake = told.kappa, (told.real,), (told.fake,)
        real = scaling.scale(self._here(batch.density), kappa)
        latents = [self._latents(stream, first, n, *fake) for stream in (latent.DISCRIMINATOR, latent.GENERATOR)]
        mix = torch.from_numpy(latent.uniform(self.seed, latent.MIX, first, (n, 1))[:, 0])
        both = tuple(torch.cat(pair) for pair in zip(of_real, fake, strict=True))
        compared = (real, *of_real) if self.train.loss == "relativistic" else ()
        of_discriminator = (real, latents[0], self._here(mix), self._here(torch.tensor(votes)), *both)
        return of_discriminator, (latents[1], *compared, *fake)

    def _descend(self, learner: Learner, work: Iterator[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Let a network take its step, the rest of its work; return what `Learner.descend` gives."""
        next(work)
        learner.share_gradients(self.processes)
        (descended,) = work
        return descended

    def _here(self, x: Any) -> Any:
        """Return a tensor in this training's precision and place; a number as it is."""
        return x.to(self.device, self.precision.dtype, non_blocking=True) if isinstance(x, torch.Tensor) else x

    def _latents(self, stream: int, first: int, n: int, *told: torch.Tensor) -> torch.Tensor:
        """Return latents, and the conditions after them, as the generator takes them."""
        z = self._here(latent.draw(self.model, self.seed, stream, first, n))
        return torch.cat((z, *told), dim=1)[:, :, None, None, None]

    def calibrate(self, conditions: Callable[[int, int, int], torch.Tensor | None]) -> None:
        """Give the averaged generator the running statistics of its own samples, the same ones each time.

        Those of the present generator, or their average, belong to other weights: P(k) comes out wrong by factors.

        Parameters
        ----------
        conditions : (seed, first, n) → what conditional networks are told of those fakes, (n, numbers); else None
        """
        n = self.train.batch_size

        def latents(first: int) -> torch.Tensor:
            told = conditions(self.seed, first, n)
            return self._latents(latent.CALIBRATE, first, n, *(() if told is None else (self._here(told),)))

        if self.average is not None:
            batch_norm.calibrate(self.average, map(latents, range(0, CALIBRATION, n)))

    def look(self, n: int) -> torch.Tensor:
        """Return always the same ``n`` samples, (n, m, m, m) scaled, of the averaged generator where there is one.

        Drawn as samples are, with the running statistics.
        """
        network = self.generator.network if self.average is None else self.average
        network.eval()
        with torch.no_grad():
            told = () if self.shown is None else (self._here(self.shown.expand(n, -1)),)
            samples = network(self._latents(latent.SAMPLE, 0, n, *told))[:, 0]
        network.train()
        return samples

    def rates(self) -> str:
        """Return both rates in words, for advice."""
        g, d = self.train.generator_rate, self.train.discriminator_rate
        return f"train.generator_rate ({g:g}) and train.discriminator_rate ({d:g})"

    def state(self) -> dict[str, Any]:
        """Return all that training needs to go on from here."""
        return {
            "step": self.step,
            "restarts": self.restarts,
            "pace": self.pace.log,
            "generator": self.generator.state(),
            "discriminator": self.discriminator.state(),
            "average": {} if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.step, self.restarts = state["step"], state["restarts"]
        self.pace.log = state.get("pace", 0.0)
        self.generator.restore(state["generator"])
        self.discriminator.restore(state["discriminator"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self._forget_graphs()


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
