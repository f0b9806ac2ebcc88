"""Train from the newest checkpoint, or from the start, to the end or to a signal."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError

from cosmogan.gan import released
from cosmogan.training.checkpoint import Checkpoints
from cosmogan.training.collapse import N_COMPARED, CollapseDetector
from cosmogan.training.dataset import Samples
from cosmogan.training.metrics import MetricsLogger
from cosmogan.training.trainer import Trainer
from cosmogan.training.update import Collapse
from hpc.log import Progress, say
from hpc.settings import differences, to_tree

N_PREVIEW = 32  # samples


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


Preview = Callable[[torch.Tensor], Figure]  # a generator's samples (n, m, m, m), scaled → a figure


class Clock:
    """Says when some minutes have passed since its last reset; never, when there are none."""

    def __init__(self, minutes: float | None) -> None:
        self._seconds = math.inf if minutes is None else 60 * minutes
        self.reset()

    def reset(self) -> None:
        """Count from now."""
        self._start = time.monotonic()

    def due(self) -> bool:
        """Say whether the time has passed."""
        return time.monotonic() - self._start > self._seconds


def run(trainer: Trainer, data: Samples, folder: Path, preview: Preview) -> None:
    """Train to the end, from where the newest checkpoint stands.

    Every epoch leaves its generators under ``generators/`` and a checkpoint under ``checkpoints/``, and so does
    every ``train.checkpoint_minutes`` (the checkpoint alone).

    Parameters
    ----------
    trainer : at its first step
    data : the training set
    folder : also gets the metrics and the previews
    preview : draws the samples that training shows every ``train.preview_minutes``

    Raises
    ------
    Interrupted
        on SIGTERM, SIGINT or SIGUSR1 to any process, after a checkpoint was saved.
    ValueError
        when training has collapsed, and may not restart (any more); when a checkpoint cannot be read or written.
    """
    settings = trainer.train
    store = Checkpoints(folder / "checkpoints", settings.keep_checkpoints, trainer.epoch_steps)
    with Interruption() as interruption, store:
        while True:
            try:
                return _train(trainer, data, folder, store, interruption, preview)
            except Collapse as collapse:
                _restart(trainer, store, f"train: collapsed at step {trainer.step}: {collapse}")


def _train(
    trainer: Trainer,
    data: Samples,
    folder: Path,
    store: Checkpoints,
    interruption: Interruption,
    preview: Preview,
) -> None:
    """Train until the end, a signal or a collapse, in one order: step, log, check for a collapse, save, preview."""
    settings, rank = trainer.train, trainer.processes.rank
    saved = _resume(trainer, store)
    detector = CollapseDetector(saved.get("watch"))
    to_save, to_preview = Clock(settings.checkpoint_minutes), Clock(settings.preview_minutes)
    batches = data.batches(trainer.seed, trainer.n_seen, settings.batch_size, trainer.part)
    progress = Progress("train", trainer.steps, "steps", rank)
    progress.resume_at(trainer.step)
    with MetricsLogger(folder, trainer, saved.get("record")) as logger, progress:
        while trainer.step < trainer.steps:
            with logger.waiting():
                batch = next(batches)
            to_stop = interruption.number > 0 or store.failed()
            outcome = trainer.update(batch, votes=(to_stop, rank == 0 and to_save.due()))
            logger.add(outcome)
            detector.add(outcome)
            progress.advance(1, logger.note())
            if trainer.epoch_ends:
                trainer.calibrate(data.fakes)
                detector.check(trainer, data.previews(N_COMPARED))
                if rank == 0:
                    save_generators(trainer, folder / "generators")
            if outcome.stop:
                _save_to_leave(trainer, store, _state(trainer, detector, logger.sums))
                raise Interrupted(interruption.number or signal.SIGTERM)
            if trainer.epoch_ends or outcome.save:
                if rank == 0:
                    store.save(_state(trainer, detector, logger.sums))
                to_save.reset()
            if rank == 0 and to_preview.due():
                trainer.calibrate(data.fakes)
                logger.show(preview(trainer.preview_samples(data.previews(N_PREVIEW))))
                to_preview.reset()


def _save_to_leave(trainer: Trainer, store: Checkpoints, state: Mapping[str, object]) -> None:
    """Save on the first process; all leave it together, as a launcher may end the others when one has left."""

    def save() -> None:
        store.save(state)
        store.wait()

    trainer.processes.each(trainer.processes.rank == 0, save)


def _state(trainer: Trainer, detector: CollapseDetector, sums: torch.Tensor | None) -> dict[str, Any]:
    state = {"step": trainer.step, "trainer": trainer.state(), "watch": detector.sums, "record": sums}
    return {**state, "model": to_tree(trainer.model)}  # for whoever finds the file alone: prior, scaling, networks


def _resume(trainer: Trainer, store: Checkpoints) -> dict[str, Any]:
    """Restore the trainer from the newest checkpoint; return that, or nothing when there is none.

    Raises
    ------
    ValueError
        when the checkpoint is of other networks.
    """
    rank = trainer.processes.rank
    saved = store.newest(lambda line: say(line, rank))
    if saved is None:
        return {}
    difference = next(_of_networks(trainer, saved["trainer"]), None)
    if difference is not None:
        raise ValueError(f"{store.folder}: checkpoints of other networks than the settings describe: {difference}")
    trainer.restore(saved["trainer"])
    say(f"train: resuming at step {trainer.step} of {trainer.steps}", rank)
    return saved


def _of_networks(trainer: Trainer, state: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each tensor of a saved network that has another shape in the trainer's, or is in one only."""
    networks = {"generator": trainer.generator.network, "discriminator": trainer.discriminator.network}
    saved = {name: state[name]["network"] for name in networks}
    if trainer.ema is not None:
        networks["ema"], saved["ema"] = trainer.ema, state["average"]
    for name, network in networks.items():
        yield from differences(_shapes(saved[name]), _shapes(network.state_dict()), f"{name}.")


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _restart(trainer: Trainer, store: Checkpoints, complaint: str) -> None:
    """Restart from the last good checkpoint with another seed, if that is allowed; remove those after it.

    Raises
    ------
    ValueError
        when it is not: says what was wrong.
    """
    settings, processes = trainer.train, trainer.processes
    good = store.drop_doubtful() if processes.rank == 0 else 0
    processes.barrier()
    restarts = trainer.restarts + 1
    if settings.on_collapse == "stop" or restarts > settings.max_restarts:
        raise ValueError(
            f"{complaint}; the last good step is {good}. To resume there with other settings name them in "
            "train.allow_changed" + (f" ({settings.max_restarts} restarts were made)" if trainer.restarts else "")
        )
    trainer.begin(restarts)
    saved = store.newest(lambda _: None)
    if saved:
        trainer.restore(saved["trainer"])
        trainer.restarts = restarts
    restart = f"restart {restarts} of {settings.max_restarts}: another seed from step {trainer.step}"
    say(f"{complaint}; {restart}", processes.rank)
    processes.barrier()  # all have read it before it is replaced
    if processes.rank == 0:
        store.save(_state(trainer, CollapseDetector(None), saved["record"] if saved else None))
        store.wait()
    processes.barrier()


def save_generators(trainer: Trainer, folder: Path) -> None:
    """Write the generator of the epoch that just ended, and its EMA.

    Raises
    ------
    ValueError
        when a file cannot be written.
    """
    networks = {False: trainer.generator.network, True: trainer.ema}
    for ema, network in networks.items():
        path = generator_path(folder, trainer.epoch, ema)
        try:
            if network is not None:
                released.write_weights(path, network)
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{path}: cannot be written ({error}); free some space and run the same command again"
            ) from None


def generator_path(folder: Path, epoch: int, ema: bool) -> Path:
    """Return where an epoch's generator is kept, from epoch 1."""
    return folder / f"epoch-{epoch:04d}{'-ema' if ema else ''}.safetensors"
