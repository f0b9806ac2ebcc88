"""Train both networks batch by batch; the result is the same for any number of processes."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from cosmogan.config import Train
from cosmogan.gan import batch_norm, energy, latent, losses, scaling
from cosmogan.training import cuda_graphs, schedule
from cosmogan.training.dataset import Batch, Share
from cosmogan.training.design import Design
from cosmogan.training.learner import Learner, precision
from cosmogan.training.update import DiscriminatorStep, GeneratorStep, Inputs, Outcome, r1_counts, update_networks
from hpc.distributed import Processes

RESEED = 1_000_003  # between the seeds of one training's restarts
CALIBRATION = 512  # samples whose statistics an EMA generator gets


class Trainer:
    """Holds both networks, the generator's EMA, and the progress of training.

    Parameters
    ----------
    design : the kind of generator
    train : settings
    epoch_steps : batches in an epoch
    processes : this process's place
    device : where to compute
    """

    def __init__(
        self, design: Design, train: Train, epoch_steps: int, processes: Processes, device: torch.device
    ) -> None:
        self.design, self.model, self.train, self.epoch_steps = design, design.model, train, epoch_steps
        self.processes, self.device = processes, device
        self.part = assign(train, processes)
        self.precision = precision(train.precision, device)
        self.begin(restarts=0)

    def begin(self, restarts: int) -> None:
        """Go to the first step, with the weights and the seed of the given restart."""
        train = self.train
        self.restarts, self.step, self.pace = restarts, 0, schedule.Pace(train.discriminator_loss)
        generator, discriminator = self.design.networks(train, self.seed)
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
        self._generator_step = GeneratorStep(*learners, self.ema, self.model.kappa)
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
        of_real, of_fake = (tuple(map(self._to_device, tensors)) for tensors in self.design.conditions(batch))
        real = scaling.scale(self._to_device(batch.density), self._to_device(self.design.kappa(batch)))
        latents = [self._latents(stream, first, batch) for stream in (latent.DISCRIMINATOR, latent.GENERATOR)]
        mix = torch.from_numpy(latent.uniform(self.seed, latent.MIX, first, (n, 1))[:, 0])
        both = [torch.cat(pair) for pair in zip(of_real, of_fake, strict=True)]
        compared = (real, *of_real) if losses.OBJECTIVES[self.train.loss].relative else ()
        scored: tuple[torch.Tensor, ...] = ()
        if self.train.energy_score > 0:
            scored = real, self._to_device(energy.directions(self.seed, self.step))
        return Inputs(
            (real, latents[0], self._to_device(mix), self._to_device(torch.tensor(votes)), *both),
            (latents[1], of_fake, compared, scored),
        )

    def _to_device(self, x: Any) -> Any:
        """Return a tensor in this training's precision and place; a number as it is."""
        return x.to(self.device, self.precision.dtype, non_blocking=True) if isinstance(x, torch.Tensor) else x

    def _latents(self, stream: int, first: int, batch: Batch) -> torch.Tensor:
        """Return what the generator takes in place of a batch's samples."""
        return self._to_device(self.design.inputs(self.seed, stream, first, batch))

    def calibrate(self, fakes: Callable[[int, int, int], Batch]) -> None:
        """Set the EMA generator's running statistics to those of its own samples, the same ones each time.

        Those of the present generator, or their average, belong to other weights: P(k) comes out wrong by factors.

        Parameters
        ----------
        fakes : (seed, first, n) → a batch in the place of whose samples fakes are drawn
        """
        n = self.train.batch_size
        if self.ema is not None and batch_norm.is_used(self.ema):
            latents = (self._latents(latent.CALIBRATE, i, fakes(self.seed, i, n)) for i in range(0, CALIBRATION, n))
            batch_norm.calibrate(self.ema, latents)

    def preview_samples(self, batch: Batch) -> torch.Tensor:
        """Draw samples for a batch, (n, m, m, m) scaled, from the EMA generator where there is one; always the same.

        Drawn as samples are, with the running statistics.
        """
        network = self.generator.network if self.ema is None else self.ema
        network.eval()
        with torch.no_grad():
            samples = network(self._latents(latent.SAMPLE, 0, batch))[:, 0]
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
