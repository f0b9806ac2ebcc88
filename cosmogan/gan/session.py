"""One session of training: from the newest checkpoint, or the start, to the end or to a signal."""

import signal
import time
from pathlib import Path
from types import FrameType

import torch

from cosmogan.gan import checkpoint, released
from cosmogan.gan.dataset import TrainingSet
from cosmogan.gan.record import Record
from cosmogan.gan.trainer import Trainer
from hpc.log import Progress, say


class Interrupted(Exception):
    """Training was asked to stop and has saved itself."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """Notes the signals that ask for an end, while it is entered; nothing else happens to the process."""

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "Interruption":
        self._before = [signal.signal(number, self._note) for number in self.signals]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.signals, self._before, strict=True):
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number


def run(trainer: Trainer, data: TrainingSet, folder: Path) -> None:
    """Train to the end, from where the newest checkpoint stands.

    Every epoch leaves its generators under ``generators/`` and a checkpoint under ``checkpoints/``, and so does
    every ``train.checkpoint_minutes`` (the checkpoint alone).

    Parameters
    ----------
    trainer : at its first step
    data : the training set
    folder : also gets the metrics

    Raises
    ------
    Interrupted
        on SIGTERM, SIGINT or SIGUSR1 to any process, after a checkpoint was saved.
    """
    settings, rank = trainer.train, trainer.processes.rank
    sums = _resume(trainer, folder / "checkpoints")
    record = Record(folder, trainer, sums)
    progress = Progress("train", trainer.steps, "steps", rank)
    progress.resume_at(trainer.step)
    last_saved = time.monotonic()
    with Interruption() as interruption, record, progress:
        for density in data.batches(trainer.n_seen, settings.batch_size, trainer.part):
            if trainer.step >= trainer.steps:
                return
            due = time.monotonic() - last_saved > 60 * settings.checkpoint_minutes
            outcome = trainer.update(density, votes=(interruption.number > 0, due and rank == 0))
            record.add(outcome)
            progress.advance(1, record.note())
            epoch_ends = trainer.step % trainer.epoch_steps == 0
            if epoch_ends or outcome.save or outcome.stop:
                trainer.settle()
                state = {"step": trainer.step, "trainer": trainer.state(), "record": record.settled()}
                if epoch_ends and rank == 0:
                    save_generators(trainer, folder / "generators")
                if rank == 0:
                    checkpoint.save(folder / "checkpoints", state, settings.keep_checkpoints)
                last_saved = time.monotonic()
            if outcome.stop:
                raise Interrupted(interruption.number or signal.SIGTERM)


def _resume(trainer: Trainer, folder: Path) -> torch.Tensor | None:
    """Put the trainer where the newest checkpoint stands; return the sums of its unfinished record."""
    rank = trainer.processes.rank
    saved = checkpoint.newest(folder, lambda line: say(line, rank))
    if saved is None:
        return None
    trainer.restore(saved["trainer"])
    say(f"train: resuming at step {trainer.step} of {trainer.steps}", rank)
    return saved["record"]


def save_generators(trainer: Trainer, folder: Path) -> None:
    """Write the generator of the epoch that just ended, and its moving average."""
    networks = {False: trainer.generator.network, True: trainer.average}
    for ema, network in networks.items():
        if network is not None:
            released.write_weights(generator_path(folder, trainer.epoch, ema), network)


def generator_path(folder: Path, epoch: int, ema: bool) -> Path:
    """Return where an epoch's generator is kept, from epoch 1."""
    return folder / f"epoch-{epoch:04d}{'-ema' if ema else ''}.safetensors"
