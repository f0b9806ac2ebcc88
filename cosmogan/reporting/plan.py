"""Say what the page of a run shows, and whether it shows what is measured now; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from cosmogan.config import Experiment
from cosmogan.reporting import runs, work
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.settings import to_tree
from hpc.stage import Outcome, Stage


@dataclass
class ReportStage(Stage[Comm]):
    """Write the page and its figures; parts of the run that are missing are left out."""

    name = "report"
    experiment: Experiment

    @property
    def receipt(self) -> Receipt:
        """The record of what the page shows."""
        shown = {"statistics": self.experiment.statistics_path, **runs.sources(self.experiment.folder)}
        recipe = {name: checksum(path) for name, path in shown.items() if path.exists()}
        return Receipt(self.experiment.folder, self.name, {**recipe, "name": self.experiment.name})

    @property
    def page(self) -> Path:
        """The page."""
        return self.experiment.report_folder / "index.html"

    @property
    def verdict(self) -> Path:
        """Which criteria are met, for programs."""
        return self.experiment.report_folder / "verdict.json"

    def is_done(self) -> bool:
        """Say whether the page shows what is measured now."""
        return (
            self.page.exists()
            and self.verdict.exists()
            and self.experiment.statistics_path.exists()
            and self.receipt.done()
        )

    def when_done(self) -> str:
        """Return where the page is."""
        return f"done: {self.page.resolve()}"

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Write the page on rank 0.

        Raises
        ------
        ValueError
            when nothing is measured yet: says which stage to run.
        """
        if world.rank > 0:
            return Outcome({}, ())
        experiment = self.experiment
        run = runs.read(experiment.folder, experiment.statistics_path, to_tree(experiment))
        self.receipt.begin(keep=False)
        return work.write_one(run, experiment.folder, self.page)
