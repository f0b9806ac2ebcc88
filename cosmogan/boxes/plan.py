"""Say what a box depends on, and whether it is drawn; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from cosmogan.config import Experiment
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage


@dataclass
class BoxStage(Stage[Comm]):
    """Draw a box from the released local generator."""

    name = "box"
    experiment: Experiment

    @property
    def receipt(self) -> Receipt:
        """The record of all that the box depends on."""
        path = self.experiment.drawn_from
        recipe = self.experiment.section("cosmology", "box")
        del recipe["box"]["output"]
        recipe["generator"] = checksum(path) if path.exists() else None
        return Receipt(self.workplace, self.name, recipe)

    @property
    def workplace(self) -> Path:
        """The folder of the box."""
        return self.experiment.box_folder

    @property
    def path(self) -> Path:
        """The file in which the whole box, or its region, can be read."""
        return self.workplace / "box.h5"

    def is_done(self) -> bool:
        """Say whether the box is there, drawn with these settings."""
        return self.path.exists() and self.receipt.done()

    def when_done(self) -> str:
        """Return where the box is."""
        return f"done: {self.path}"

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Run the quick simulation, and refine it on all ranks."""
        from cosmogan.boxes import work

        return work.draw(self, world)
