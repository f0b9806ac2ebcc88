"""What training leaves to look at: metrics as JSON lines and in TensorBoard, and a line of progress."""

import time
from pathlib import Path
from typing import Any

import torch

from cosmogan.gan.trainer import Outcome, Trainer
from hpc.log import Metrics

INTERVAL = 50  # steps whose mean makes one record
NAMES = ("loss_discriminator", "score_real", "score_fake", "gate_rate", "loss_generator")


class Record:
    """Means over the last steps, written every `INTERVAL` steps by rank 0; without gaps or doubles after a resume.

    Parameters
    ----------
    folder : gets ``metrics.jsonl`` and ``tensorboard/``; records beyond the trainer's step are dropped from them
    trainer : whose steps are recorded
    sums : what ``settled`` returned before a resume
    """

    def __init__(self, folder: Path, trainer: Trainer, sums: torch.Tensor | None) -> None:
        self._trainer = trainer
        self._sums = (torch.zeros(len(NAMES) + 1) if sums is None else sums).to(trainer.device)
        self._latest: dict[str, float] = {}
        self._began, self._from = time.monotonic(), trainer.step
        self._writing = trainer.processes.rank == 0
        if self._writing:
            from torch.utils.tensorboard import SummaryWriter  # takes a second, and only rank 0 writes

            self._metrics = Metrics(folder / "metrics.jsonl", keep_below=("step", trainer.step + 1))
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=trainer.step + 1)

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writing:
            self._metrics.close()
            self._board.close()

    def add(self, outcome: Outcome) -> None:
        """Take in one step."""
        numbers = (outcome.loss_discriminator, outcome.score_real, outcome.score_fake, outcome.gate)
        self._sums += torch.tensor([*numbers, 0.0, 1.0], device=self._sums.device)
        self._sums[-2] += outcome.loss_generator
        if self._trainer.step % INTERVAL == 0:
            self._write()

    def settled(self) -> torch.Tensor:
        """Return the sums of the steps that no record holds yet, and their number; the same on all processes."""
        return self._trainer.processes.mean(self._sums)  # only the generator's loss differs between them

    def note(self) -> str:
        """Return the latest means in words."""
        m = self._latest
        if not m:
            return ""
        losses = f"losses {m['loss_discriminator']:.3f} {m['loss_generator']:.3f}"
        return f"{losses}, gate {m['gate_rate']:.0%}, {m['samples_per_second']:.0f} samples/s"

    def _write(self) -> None:
        trainer = self._trainer
        sums = self.settled()
        means = dict(zip(NAMES, (sums[:-1] / sums[-1]).tolist(), strict=True))
        speed = (trainer.step - self._from) * trainer.train.batch_size / (time.monotonic() - self._began)
        place: dict[str, Any] = {"step": trainer.step, "epoch": trainer.epoch, "n_seen": trainer.n_seen}
        self._latest = {**means, "samples_per_second": speed}
        self._began, self._from = time.monotonic(), trainer.step
        self._sums.zero_()
        if self._writing:
            self._metrics.write({**place, **self._latest})
            for name, value in self._latest.items():
                self._board.add_scalar(name, value, trainer.step)
