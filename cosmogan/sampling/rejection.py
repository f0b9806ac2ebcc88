"""Train the discriminator of rejection sampling, and find which of a seed's samples it accepts."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosmogan.gan import latent, losses, networks, released
from cosmogan.sampling import acceptance
from cosmogan.sampling.plan import SamplingStage
from cosmogan.shards import latents_file
from cosmogan.training import setup
from cosmogan.training.checkpoint import Checkpoints
from cosmogan.training.dataset import Samples
from cosmogan.training.trainer import Trainer
from hpc import mpi
from hpc.distributed import Processes
from hpc.log import Progress, say

# Samples whose logits are computed together, whatever the number of ranks and sample.batch_size: so logits, and with
# them what is accepted, are the same to the last bit on any ranks of one thread each.
BLOCK = 64
SAVE_SECONDS = 30.0
LOWEST, ENOUGH = 1e-3, 10_000  # fewer than this fraction of so many accepted: it would take days


def accepted(stage: SamplingStage, generator: released.Released, comm: mpi.Comm) -> np.ndarray:
    """Return the numbers of the seed's first ``sample.n_samples`` samples that are accepted, (n_samples,) int.

    ``rejection.npz`` keeps ``logit``, ``norm`` of the latents and ``accepted`` of every sample up to the last that is
    needed.

    Raises
    ------
    ValueError
        when training left no discriminator, or hardly any sample is accepted.
    """
    n = stage.experiment.sample.n_samples
    if comm.rank == 0 and not _is_released(stage, generator):
        _release(stage, generator)
    comm.barrier()
    acceptor = _Acceptor(stage, generator)
    store = _Store(stage.experiment.rejection_path, acceptor.key)
    values = _until_accepted(n, acceptor, store, comm)
    index = np.flatnonzero(acceptor.accepts(values))[:n]
    values = values[:, : index[-1] + 1]
    if comm.rank == 0:
        store.write(values, acceptor.accepts(values))
        say(f"sample: accepted {n} of {values.shape[1]} samples, {n / values.shape[1]:.1%}")
    return index


class _Acceptor:
    """The released discriminator, and which of a seed's samples it accepts."""

    def __init__(self, stage: SamplingStage, generator: released.Released) -> None:
        path, self._settings = stage.experiment.discriminator_path, stage.experiment.sample
        about = released.read_settings(path, released.DISCRIMINATOR)
        self._generator, self._bound = generator, about["bound"]
        self._network = networks.discriminator(generator.model, generator.geometry["subvolume"], group=1)
        released.load_weights(self._network, path)
        self._network.to(generator.device).eval()
        self.key = f"{about['sha256']} {about['recipe']['generator']} {self._settings.seed}"

    def logits(self, block: int) -> np.ndarray:
        """Return the logits of a block of samples, and the norms of their latents, (2, BLOCK)."""
        index = np.arange(block * BLOCK, (block + 1) * BLOCK)
        return _logits(self._network, self._generator, self._settings.seed, latent.SAMPLE, index)

    def accepts(self, values: np.ndarray) -> np.ndarray:
        """Say which of the seed's first n samples are accepted, (n,) bool, from their logits and norms, (2, n)."""
        settings = self._settings
        chances = acceptance.acceptance(values[0], self._bound, settings.rejection_epsilon, settings.rejection_gamma)
        return latent.uniform(settings.seed, latent.ACCEPT, 0, (len(chances), 1))[:, 0] < chances


def _until_accepted(n: int, acceptor: _Acceptor, store: "_Store", comm: mpi.Comm) -> np.ndarray:
    """Return logits and norms of the first samples, (2, …), until n are accepted; ranks share the blocks.

    Raises
    ------
    ValueError
        when hardly any are.
    """
    values = comm.bcast(store.read() if comm.rank == 0 else None)
    n_accepted, saved = int(acceptor.accepts(values).sum()), time.monotonic()
    with Progress("sample: accepted", n, "samples", comm.rank) as progress:
        progress.resume_at(min(n_accepted, n))
        while n_accepted < n:
            block = values.shape[1] // BLOCK
            parts = comm.allgather(acceptor.logits(block + comm.rank))
            values = np.concatenate([values[:, : block * BLOCK], *parts], axis=1)
            before, n_accepted = n_accepted, int(acceptor.accepts(values).sum())
            progress.advance(n_accepted - before, f"{n_accepted / values.shape[1]:.1%} of {values.shape[1]}")
            if values.shape[1] >= ENOUGH and n_accepted < LOWEST * values.shape[1]:
                raise ValueError(
                    f"sample.rejection: only {n_accepted} of {values.shape[1]} samples accepted; lower "
                    "sample.rejection_gamma, or raise sample.rejection_epsilon"
                )
            if comm.rank == 0 and time.monotonic() - saved > SAVE_SECONDS:
                store.write(values, acceptor.accepts(values))
                saved = time.monotonic()
    return values


class _Store:
    """The file of the logits of one discriminator for one seed's samples."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def read(self) -> np.ndarray:
        """Return logits and norms, (2, n); none when the file is missing, damaged or of another key."""
        try:
            columns = latents_file.read_judged(self._path)
        except (FileNotFoundError, ValueError):
            return np.empty((2, 0))
        return np.stack([columns["logit"], columns["norm"]]) if str(columns["key"]) == self._key else np.empty((2, 0))

    def write(self, values: np.ndarray, accepted: np.ndarray) -> None:
        """Replace the file."""
        logit, norm = values
        latents_file.write_judged(self._path, key=np.array(self._key), logit=logit, norm=norm, accepted=accepted)


def _logits(
    network: torch.nn.Module, generator: released.Released, seed: int, stream: int, index: np.ndarray
) -> np.ndarray:
    """Return the logits of samples, and the norms of their latents as the generator takes them, (2, n) float64."""
    latents = generator.latents(seed, index, stream)
    with torch.no_grad(), released.in_float32():
        logits = acceptance.logits_of(network, generator(latents), generator.model.kappa)
    return np.stack([logits.double().cpu().numpy(), latents.double().norm(dim=1).numpy()])


def _recipe(stage: SamplingStage, generator: released.Released) -> dict[str, Any]:
    """Return the settings and inputs that the discriminator depends on."""
    settings = stage.experiment.sample
    kept = ("sha256", "latent_scale", "max_density", "oriented")
    return {
        "generator": {name: generator.settings.get(name) for name in kept},
        "train": json.loads(json.dumps(stage.training.receipt.recipe)),
        "rejection_epochs": settings.rejection_epochs,
        "rejection_bound": settings.rejection_bound,
    }


def _is_released(stage: SamplingStage, generator: released.Released) -> bool:
    try:
        settings = released.read_settings(stage.experiment.discriminator_path, released.DISCRIMINATOR)
    except ValueError:
        return False
    return settings.get("recipe") == _recipe(stage, generator)


def _release(stage: SamplingStage, generator: released.Released) -> None:
    """Train the discriminator on from the newest checkpoint, against the released generator, and write it."""
    settings, sampling = stage.experiment.train, stage.experiment.sample
    objective = losses.OBJECTIVES[settings.loss]
    if not objective.likelihood_ratio:
        possible = [name for name, each in losses.OBJECTIVES.items() if each.likelihood_ratio]
        raise ValueError(
            f"sample.rejection: expected train.loss = {' or '.join(possible)}, found {settings.loss}: a critic's "
            "output is no ratio of likelihoods"
        )
    trainer, data = _trained(stage)
    steps = sampling.rejection_epochs * trainer.epoch_steps
    batches = data.batches(trainer.seed, trainer.n_seen, settings.batch_size, trainer.part)
    densities = (batch.density for batch in itertools.islice(batches, steps))
    losses_seen: list[float] = []
    with Progress("sample: discriminator", steps, "steps") as progress:
        for loss in acceptance.refine(trainer.discriminator, densities, generator, trainer.seed):
            losses_seen.append(loss)
            progress.advance(1, f"loss {loss:.4f}")
    network = trainer.discriminator.network.float()
    cuts = itertools.pairwise([*range(0, sampling.rejection_bound, BLOCK), sampling.rejection_bound])
    bounds = [_logits(network, generator, settings.seed, latent.BOUND, np.arange(*cut)) for cut in cuts]
    bound = max(float(logit.max()) for logit, _ in bounds)
    loss = float(np.mean(losses_seen[-trainer.epoch_steps :]))
    about = {"model": generator.settings["model"], "recipe": _recipe(stage, generator)}
    about |= {"bound": bound, "loss": loss}
    released.write(stage.experiment.discriminator_path, network, about, released.DISCRIMINATOR)
    say(
        f"sample: trained the discriminator on for {steps} steps, loss {loss:.4f} in the last epoch (knowing nothing: "
        f"{objective.chance:.4f}); its largest logit of {sampling.rejection_bound} samples is {bound:.2f}"
    )


def _trained(stage: SamplingStage) -> tuple[Trainer, Samples]:
    """Return the trainer as its training left it, and the training set."""
    if not stage.training.is_done():
        raise ValueError(
            f"{stage.experiment.train_folder}: sample.rejection takes the discriminator from a training that is "
            "finished with CONFIG's settings; there is none"
        )
    trainer, data, _ = setup.prepare(stage.experiment, Processes())
    folder = stage.experiment.train_folder / "checkpoints"
    saved = Checkpoints(folder, stage.experiment.train.keep_checkpoints, trainer.epoch_steps).newest(say)
    if saved is None:
        raise ValueError(f"{folder}: no checkpoint to take the discriminator from; run `train` with this CONFIG first")
    trainer.restore(saved["trainer"])
    return trainer, data
