"""Say what a selection depends on, and whether it is done; imports nothing heavy."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmogan.config import Experiment, generator_file
from cosmogan.training.plan import TrainingStage
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage


@dataclass
class SelectionStage(Stage[Comm]):
    """Choose which epoch's generator is released, calibrate it or tune its latent scale, and release it."""

    name = "select"
    experiment: Experiment

    @cached_property
    def training(self) -> TrainingStage:
        """The training whose generators are candidates."""
        return TrainingStage(self.experiment)

    @property
    def receipt(self) -> Receipt:
        """The record of what the choice depends on: settings, and the training with its data."""
        experiment, name = self.experiment, self.experiment.select.generator
        recipe = {**experiment.section("select"), "train": self.training.receipt.recipe}
        recipe["epochs"] = experiment.train.epochs
        if name is not None:
            path = generator_file(name)
            recipe["generator"] = checksum(path) if path.exists() else None
        return Receipt(experiment.folder, self.name, recipe)

    @property
    def folder(self) -> Path:
        """Where the scores lie."""
        return self.experiment.folder / "select"

    def parts(self) -> int:
        """Return how many generators there are, or will be, to score."""
        return len(self.candidates())

    def candidates(self) -> list[dict[str, Any]]:
        """Return all generators that training leaves from ``select.first_epoch`` on."""
        settings = self.experiment.train
        first = self.experiment.select.first_epoch
        if first > settings.epochs:
            raise ValueError(f"select.first_epoch: expected at most train.epochs = {settings.epochs}, found {first}")
        kinds = (False, True) if settings.ema else (False,)
        epochs = range(first, settings.epochs + 1)
        return [{"epoch": epoch, "ema": ema} for epoch in epochs for ema in kinds]

    def is_done(self) -> bool:
        """Say whether a generator was released with these settings, from this training."""
        path = self.experiment.generator_path
        return path.exists() and path.with_suffix(".json").exists() and self.receipt.done()

    def when_done(self) -> str:
        """Return where the released generator is."""
        return f"done: {self.experiment.generator_path}"

    def require(self, part: Part | None) -> None:
        """Raise a ValueError when training is not finished."""
        if self.experiment.select.generator is None and not self.training.is_done():
            raise ValueError(
                f"{self.experiment.train_folder}: training is not finished (with these settings); "
                "run train to its end, or set train.epochs to the epochs that it has reached and run it"
            )

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Score, choose, calibrate or tune, and release; or only score a part's candidates."""
        from cosmogan.selection import work

        return work.select(self, world, part)
