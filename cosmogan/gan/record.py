"""What training leaves to look at: metrics as JSON lines and in TensorBoard, figures, and a line of progress."""

import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cosmogan.gan.trainer import Outcome, Trainer
from hpc.log import Metrics

INTERVAL = 50  # steps whose mean makes one record
NAMES = ("loss_discriminator", "score_real", "score_fake", "gate_rate", "loss_generator")
NAMES += ("gradient_discriminator", "gradient_generator")


class Record:
    """Means over the last steps, written every `INTERVAL` steps by rank 0; without gaps or doubles after a resume.

    A step in which a network rested does not count in the means of what that network would have given.

    Parameters
    ----------
    folder : gets ``metrics.jsonl``, ``tensorboard/`` and ``previews/``; records beyond the trainer's step are dropped
    trainer : whose steps are recorded
    sums : what `sums` was before a resume
    """

    def __init__(self, folder: Path, trainer: Trainer, sums: torch.Tensor | None) -> None:
        self._trainer, self._folder = trainer, folder
        start = torch.zeros(2, len(NAMES), dtype=torch.float64) if sums is None else sums
        self.sums = start.to(trainer.device)  # of the values since the last record, and how many there were
        self._latest: dict[str, float | None] = {}
        self._began, self._from, self._waited = time.monotonic(), trainer.step, 0.0
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

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time that passes inside as waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def add(self, outcome: Outcome) -> None:
        """Take in one step."""
        values = [getattr(outcome, name) for name in NAMES]
        for i, value in enumerate(values):
            if value is not None:
                self.sums[0, i] += value  # may lie on the device still, and nobody waits for it
        counted = torch.tensor([value is not None for value in values])
        self.sums[1] += counted.to(self.sums, non_blocking=True)
        if self._trainer.step % INTERVAL == 0:
            self._write()

    def show(self, figure: Any) -> None:
        """Keep a figure of the present step."""
        step = self._trainer.step
        path = self._folder / "previews" / f"step-{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        self._board.add_figure("preview", figure, step, close=False)

    def note(self) -> str:
        """Return the latest means in words."""
        m = self._latest
        if not m:
            return ""
        losses = " ".join("-" if m[name] is None else f"{m[name]:.3f}" for name in (NAMES[0], NAMES[4]))
        return f"losses {losses}, gate {m['gate_rate']:.0%}, {m['samples_per_second']:.0f} samples/s"

    def _write(self) -> None:
        trainer, now = self._trainer, time.monotonic()
        sums, counts = self.sums.tolist()
        means = {name: s / n if n else None for name, s, n in zip(NAMES, sums, counts, strict=True)}
        weights = {f"weights_{name}": getattr(trainer, name).norm().item() for name in ("discriminator", "generator")}
        elapsed = now - self._began
        weights["pace"] = trainer.pace.factor
        machine = {
            "samples_per_second": (trainer.step - self._from) * trainer.train.batch_size / elapsed,
            "data_wait": self._waited / elapsed,  # share of the time
            "memory": peak_memory(trainer.device),
        }
        self._latest = {**means, **weights, **machine}
        self._began, self._from, self._waited = now, trainer.step, 0.0
        self.sums.zero_()
        if self._writing:
            place = {"step": trainer.step, "epoch": trainer.epoch, "n_seen": trainer.n_seen}
            self._metrics.write({**place, **self._latest})
            for name, value in self._latest.items():
                if value is not None:
                    self._board.add_scalar(name, value, trainer.step)


def peak_memory(device: torch.device) -> float:
    """Return the most memory that this process had so far [MB], on its GPU or, without one, of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
