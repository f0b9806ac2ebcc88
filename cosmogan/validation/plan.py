"""Say what the statistics depend on, and whether they are measured; imports nothing heavy."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.validation import baselines
from cosmogan.validation.comparison import Comparison
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage


@dataclass
class ValidationStage(Stage[Comm]):
    """Measure generated subvolumes against held-out ones, and held-out ones against themselves."""

    name = "validate"
    experiment: Experiment

    @cached_property
    def compared(self) -> Comparison:
        """The sets that are compared; opens their folders."""
        return baselines.compared(self.experiment)

    @property
    def receipt(self) -> Receipt:
        """The record of all that the statistics depend on."""
        recipe = self.compared.recipe
        if self.experiment.model.condition:
            recipe["told"] = self._conditioned_on()
        return Receipt(self.experiment.folder, self.name, recipe)

    def _conditioned_on(self) -> dict[str, Any]:
        """Return the settings that the statistics of a conditional run depend on, beside the shards."""
        path, names = self.experiment.drawn_from, list(self.experiment.model.condition)
        kept = self.experiment.section("redshifts", "separate_boxes", "n_training")
        return {**kept, "condition": names, "generator": checksum(path) if path.exists() else None}

    @property
    def folder(self) -> Path:
        """The folder of partial results, until all is measured."""
        return self.experiment.folder / "validate"

    def is_done(self) -> bool:
        """Say whether these subvolumes were measured with these settings."""
        return self.experiment.statistics_path.exists() and self.has_input() and self.receipt.done()

    def has_input(self) -> bool:
        """Say whether both sets are complete."""
        folders = (self.experiment.shards_folder, self.experiment.samples_folder)
        return all(shards.is_complete(folder) for folder in folders)

    def when_done(self) -> str:
        """Return where the statistics are."""
        return f"done: {self.experiment.statistics_path}"

    def require(self, part: Part | None) -> None:
        """Raise a ValueError when a set is missing, or the two are of different geometry."""
        assert self.compared

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Measure both sets and write the file of statistics."""
        from cosmogan.validation import work

        return work.validate(self, world)


@dataclass
class OwnSetsStage(ValidationStage):
    """Measure anyone's samples against a reference."""

    given: Comparison

    @cached_property
    def compared(self) -> Comparison:
        """The sets that are compared."""
        return self.given

    def has_input(self) -> bool:
        """Say that the sets are there: they are open."""
        return True
