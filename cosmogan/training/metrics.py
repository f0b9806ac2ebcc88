"""Log the metrics of training as JSON lines and in TensorBoard, and draw previews."""

import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from cosmogan.training.trainer import Trainer
from cosmogan.training.update import Outcome
from hpc.log import Metrics

INTERVAL = 50  # steps whose mean makes one record
ON_HOST = ("loss_discriminator", "score_real", "score_fake", "gate_rate")
ON_DEVICE = ("loss_generator", "gradient_discriminator", "gradient_generator")
NAMES = ON_HOST + ON_DEVICE


class MetricsLogger:
    """Writes means over the last steps, every `INTERVAL` steps by rank 0; without gaps or doubles after a resume.

    A step in which a network rested does not count in the means of what that network would have given.

    Parameters
    ----------
    folder : gets ``metrics.jsonl``, ``tensorboard/`` and ``previews/``; records beyond the trainer's step are dropped
    trainer : whose steps are recorded
    sums : what `sums` was before a resume
    """

    def __init__(self, folder: Path, trainer: Trainer, sums: torch.Tensor | None) -> None:
        self._trainer, self._folder = trainer, folder
        # Of the values since the last record, and how many there were; those of the device are summed there.
        self._sums = torch.zeros(2, len(NAMES), dtype=torch.float64) if sums is None else sums.cpu()
        self._on_device = self._sums[0, len(ON_HOST) :].to(trainer.device, copy=True)
        self._latest: dict[str, float | None] = {}
        self._began, self._from, self._waited = time.monotonic(), trainer.step, 0.0
        self._writing = trainer.processes.rank == 0
        if self._writing:
            self._metrics = Metrics(folder / "metrics.jsonl", keep_below=("step", trainer.step + 1))
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=trainer.step + 1)

    def __enter__(self) -> "MetricsLogger":
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

    @property
    def sums(self) -> torch.Tensor:
        """The sums of the values since the last record, and how many there were, (2, names) on the host."""
        self._sums[0, len(ON_HOST) :] = self._on_device
        return self._sums

    def add(self, outcome: Outcome) -> None:
        """Add the numbers of a step."""
        values = [getattr(outcome, name) for name in NAMES]
        self._sums[0, : len(ON_HOST)] += torch.tensor(values[: len(ON_HOST)], dtype=torch.float64)
        self._sums[1] += torch.tensor([value is not None for value in values])
        for total, value in zip(self._on_device, values[len(ON_HOST) :], strict=True):
            if value is not None:
                total += value  # nobody waits for it
        if self._trainer.step % INTERVAL == 0:
            self._write()

    def show(self, figure: Figure) -> None:
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
        if trainer.train.discriminator_loss is not None:
            weights["pace"] = trainer.pace.discriminator  # the factor of its rate
        machine = {
            "samples_per_second": (trainer.step - self._from) * trainer.train.batch_size / elapsed,
            "data_wait": self._waited / elapsed,  # share of the time
            "memory": peak_memory(trainer.device),
        }
        self._latest = {**means, **weights, **machine}
        self._began, self._from, self._waited = now, trainer.step, 0.0
        self._sums.zero_()
        self._on_device.zero_()
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
