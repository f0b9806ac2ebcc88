"""Say what the simulations depend on, and whether they are done; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from cosmogan.config import Experiment
from cosmogan.simulations import gadget2_input
from cosmogan.simulations.outputs import Outputs
from cosmogan.simulations.simulated import SimulatedBox
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage, execute

# What may differ when more boxes are made: where they run, what is kept of them, and how many there are.
FREE = ("device", "write", "gadget2", "n_simulations")


@dataclass
class SimulationStage(Stage[Comm]):
    """Simulate boxes, or write the input of a real GADGET-2 for them."""

    name = "simulate"
    experiment: Experiment

    @property
    def receipt(self) -> Receipt:
        """The record of these simulations: all the settings that a box depends on."""
        experiment, settings = self.experiment, self.experiment.simulate
        recipe = experiment.section("cosmology", "simulate")
        free = FREE[:-1] if settings.latin_hypercube else FREE  # a hypercube's points depend on their number
        recipe["simulate"] = {name: value for name, value in recipe["simulate"].items() if name not in free}
        given = {"transfer": settings.transfer_found, "initial_conditions": settings.initial_conditions}
        for name, file in given.items():
            recipe["simulate"][name] = checksum(file) if file and Path(file).is_file() else file
        recipe["length_unit"] = experiment.preprocess.length_unit
        folder = experiment.simulations_folder if settings.gadget2 else experiment.data_folder
        return Receipt(folder, self.name, recipe)

    @property
    def quick(self) -> "SimulationStage | None":
        """The quick simulations of the same boxes, where a local generator starts from them."""
        return SimulationStage(self.experiment.quick) if self.experiment.input.is_used else None

    @property
    def workplace(self) -> Path:
        """The folder that the embedded simulator writes to."""
        straight = self.experiment.simulate.write == "shards"
        return self.experiment.shards_folder if straight else self.experiment.simulations_folder

    def parts(self) -> int:
        """Return how many boxes there are to share out; 0 with snapshots of one's own."""
        return 0 if self.experiment.preprocess.snapshots else self.experiment.simulate.n_simulations

    def is_done(self) -> bool:
        """Say whether there is nothing to simulate."""
        if self.experiment.preprocess.snapshots:
            return True
        if not self.receipt.done() or not (self.quick is None or self.quick.is_done()):
            return False
        return not (self.unwritten() if self.experiment.simulate.gadget2 else Outputs(self.experiment).boxes_missing())

    def unwritten(self) -> list[int]:
        """Return the numbers of the boxes for which GADGET-2 has no input."""
        boxes = [SimulatedBox(self.experiment, number) for number in range(self.experiment.simulate.n_simulations)]
        return [box.number for box in boxes if not gadget2_input.is_written(box)]

    def when_done(self) -> str:
        """Return why there is nothing to simulate."""
        if self.experiment.preprocess.snapshots:
            return "nothing to do: preprocess.snapshots is set"
        if self.experiment.simulate.gadget2:
            return f"nothing to do: the input of GADGET-2 for all boxes is in {self.experiment.simulations_folder}"
        return f"nothing to do: all boxes are in {self.workplace}"

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Run the boxes that are not there, or a part's, in this one process; then the quick runs of the same."""
        from cosmogan.simulations import work

        outcome = work.simulate(self, part)
        if self.quick is not None:
            execute(self.quick, world, part)
        return outcome
