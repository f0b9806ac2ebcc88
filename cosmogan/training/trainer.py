"""Train both networks batch by batch; the result is the same for any number of processes."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from cosmogan.config import Model, Train
from cosmogan.gan import batch_norm, latent, losses, networks, scaling
from cosmogan.training import cuda_graphs, schedule
from cosmogan.training.dataset import Batch, Share
from cosmogan.training.learner import Learner, precision
from cosmogan.training.update import DiscriminatorStep, GeneratorStep, Inputs, Outcome, r1_counts, update_networks
from hpc.distributed import Processes

RESEED = 1_000_003  # between the seeds of one training's restarts
CALIBRATION = 512  # samples whose statistics an EMA generator gets


class Trainer:
    """Holds both networks, the generator's EMA, and the progress of training.

    Parameters
    ----------
    model, train : settings
    subvolume : cells a side
    epoch_steps : batches in an epoch
    processes : this process's place
    device : where to compute

    Attributes
    ----------
    preview_condition : of the samples of `preview_samples`, (1, numbers), standardised; whoever has the data sets it
    """

    def __init__(
        self, model: Model, train: Train, subvolume: int, epoch_steps: int, processes: Processes, device: torch.device
    ) -> None:
        self.model, self.train, self.epoch_steps = model, train, epoch_steps
        self.processes, self.device = processes, device
        self.part = assign(train, processes)
        self.precision = precision(train.precision, device)
        self._subvolume = subvolume
        self.preview_condition: torch.Tensor | None = None
        self.begin(restarts=0)

    def begin(self, restarts: int) -> None:
        """Go to the first step, with the weights and the seed of the given restart."""
        model, train = self.model, self.train
        self.restarts, self.step, self.pace = restarts, 0, schedule.Pace(train.discriminator_loss)
        generator = networks.generator(model, self._subvolume, train.batch_norm_group)
        objective = losses.OBJECTIVES[train.loss]
        discriminator = objective.network(model, self._subvolume, train.batch_norm_group)
        networks.initialise(generator, 2 * self.seed, output=networks.mean_output(model.kappa))
        networks.initialise(discriminator, 2 * self.seed + 1, output=0.0)
        for network in (generator, discriminator):
            network.to(self.device, self.precision.dtype)
        options = train.betas, self.precision.autocast
        self.generator = Learner(generator, train.generator_rate, *options)
        self.discriminator = Learner(discriminator, train.discriminator_rate, *options)
        self.ema = copy.deepcopy(generator).requires_grad_(False) if train.ema else None
        self._make_steps()

    def _make_steps(self) -> None:
        """Make the steps of both networks, on a GPU in CUDA graphs; anew whenever tensors lie elsewhere."""
        learners = self.train, self.generator, self.discriminator
        self._discriminator_steps = [DiscriminatorStep(*learners, penalised) for penalised in (False, True)]
        self._generator_step = GeneratorStep(*learners, self.ema)
        wanted = self.train.cuda_graphs
        if wanted or (wanted is None and self.device.type == "cuda"):
            graphs = cuda_graphs.Graphs(cuda_graphs.Recorder(self.device), self.processes.rank)
            for step in self._discriminator_steps:
                graphs.replace(step, "score", "backward", "descend")
            graphs.replace(self._generator_step, "backward", "descend")

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
        settings = self.train
        factor = schedule.rate_factor(settings, self.step / self.steps, self.step // settings.n_critic)
        self.generator.set_rate(factor * self.pace.generator)
        self.discriminator.set_rate(factor * self.pace.discriminator)
        of_discriminator = self._discriminator_steps[r1_counts(settings, self.step)]
        of_generator = self._generator_step if (self.step + 1) % settings.n_critic == 0 else None
        outcome = update_networks(of_discriminator, of_generator, self._inputs(batch, votes), self.processes)
        self.pace.add(outcome.loss_discriminator)
        self.step += 1
        return outcome

    def _inputs(self, batch: Batch, votes: tuple[bool, bool]) -> Inputs:
        """Return the inputs of both networks' steps."""
        first, n = self.n_seen + self.part.offset, self.part.size
        kappa: float | torch.Tensor = self.model.kappa
        of_real: tuple[torch.Tensor, ...] = ()
        of_fake: tuple[torch.Tensor, ...] = ()
        if batch.conditions is not None:
            kappa = self._to_device(batch.conditions.kappa)
            of_real, of_fake = (self._to_device(batch.conditions.real),), (self._to_device(batch.conditions.fake),)
        real = scaling.scale(self._to_device(batch.density), kappa)
        latents = [self._latents(stream, first, n, *of_fake) for stream in (latent.DISCRIMINATOR, latent.GENERATOR)]
        mix = torch.from_numpy(latent.uniform(self.seed, latent.MIX, first, (n, 1))[:, 0])
        both = [torch.cat(pair) for pair in zip(of_real, of_fake, strict=True)]
        compared = (real, *of_real) if losses.OBJECTIVES[self.train.loss].relative else ()
        return Inputs(
            (real, latents[0], self._to_device(mix), self._to_device(torch.tensor(votes)), *both),
            (latents[1], of_fake, compared),
        )

    def _to_device(self, x: Any) -> Any:
        """Return a tensor in this training's precision and place; a number as it is."""
        return x.to(self.device, self.precision.dtype, non_blocking=True) if isinstance(x, torch.Tensor) else x

    def _latents(self, stream: int, first: int, n: int, *conditions: torch.Tensor) -> torch.Tensor:
        """Return latents, and the conditions after them, as the generator takes them."""
        z = self._to_device(latent.draw(self.model, self.seed, stream, first, n))
        return torch.cat((z, *conditions), dim=1)[:, :, None, None, None]

    def calibrate(self, conditions: Callable[[int, int, int], torch.Tensor | None]) -> None:
        """Set the EMA generator's running statistics to those of its own samples, the same ones each time.

        Those of the present generator, or their average, belong to other weights: P(k) comes out wrong by factors.

        Parameters
        ----------
        conditions : (seed, first, n) → the conditions of those fakes, (n, numbers); None for unconditional networks
        """
        n = self.train.batch_size

        def latents(first: int) -> torch.Tensor:
            values = conditions(self.seed, first, n)
            return self._latents(latent.CALIBRATE, first, n, *(() if values is None else (self._to_device(values),)))

        if self.ema is not None:
            batch_norm.calibrate(self.ema, map(latents, range(0, CALIBRATION, n)))

    def preview_samples(self, n: int) -> torch.Tensor:
        """Draw always the same ``n`` samples, (n, m, m, m) scaled, from the EMA generator where there is one.

        Drawn as samples are, with the running statistics.
        """
        network = self.generator.network if self.ema is None else self.ema
        network.eval()
        with torch.no_grad():
            shown = self.preview_condition
            conditions = () if shown is None else (self._to_device(shown.expand(n, -1)),)
            samples = network(self._latents(latent.SAMPLE, 0, n, *conditions))[:, 0]
        network.train()
        return samples

    def state(self) -> dict[str, Any]:
        """Return all that training needs to resume from this step."""
        return {
            "step": self.step,
            "restarts": self.restarts,
            "pace": self.pace.log,
            "generator": self.generator.state(),
            "discriminator": self.discriminator.state(),
            "average": {} if self.ema is None else self.ema.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what ``state`` returned."""
        self.step, self.restarts = state["step"], state["restarts"]
        self.pace.log = state.get("pace", 0.0)
        self.generator.restore(state["generator"])
        self.discriminator.restore(state["discriminator"])
        if self.ema is not None:
            self.ema.load_state_dict(state["average"])
        self._make_steps()


def assign(train: Train, processes: Processes) -> Share:
    """Assign a process its part of every batch: whole BatchNorm groups.

    Raises
    ------
    ValueError
        when the batch's groups cannot be assigned evenly.
    """
    if train.batch_size % (train.batch_norm_group * processes.size):
        raise ValueError(
            f"train.batch_size: expected a multiple of train.batch_norm_group × processes = "
            f"{train.batch_norm_group} × {processes.size}, found {train.batch_size}"
        )
    size = train.batch_size // processes.size
    return Share(processes.rank * size, size)
