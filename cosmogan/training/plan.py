"""Say what a training depends on, and whether it is done; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cosmogan.config import Experiment
from hpc.files import checksum, read_json
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage

if TYPE_CHECKING:
    from hpc.distributed import Processes

# What may differ when training resumes: where it runs, how far, and how often it saves.
FREE: tuple[str, ...] = ("epochs", "device", "cuda_graphs", "cache", "checkpoint_minutes", "keep_checkpoints")
FREE += ("preview_minutes", "stage_to", "on_collapse", "max_restarts", "allow_changed")
# What may never differ: the step would stand for other samples, or the networks for others.
FIXED = ("train.batch_size", "train.epoch_repeats", "train.loss", "train.n_critic")


@dataclass
class TrainingStage(Stage["Processes"]):
    """Train the networks; every epoch's generators are kept."""

    name = "train"
    experiment: Experiment

    @property
    def receipt(self) -> Receipt:
        """The record of this training: the settings and the data that its result depends on."""
        experiment = self.experiment
        manifest = experiment.shards_folder / "manifest.json"
        names: tuple[str, ...] = ("model", "train", "held_out", "n_training", "redshift")
        if "redshift" in experiment.model.condition:
            names += ("redshifts", "separate_boxes")
        if experiment.input.is_used:
            names += ("input",)
        recipe = experiment.section(*names)
        recipe["train"] = {name: value for name, value in recipe["train"].items() if name not in FREE}
        if manifest.exists():
            geometry = read_json(manifest).get("geometry")
            recipe["data"] = {"geometry": geometry, "manifest_sha256": checksum(manifest)}
        if experiment.input.is_used and (quick := experiment.quick.shards_folder / "manifest.json").exists():
            recipe["input_sha256"] = checksum(quick)
        return Receipt(experiment.folder, self.name, recipe)

    def is_done(self) -> bool:
        """Say whether training ran to its end with these settings, and its generators are there."""
        return self.is_finished() and any(self.experiment.train_folder.glob("generators/epoch-*"))

    def is_finished(self) -> bool:
        """Say whether training ran to its end with these settings."""
        receipt = self.receipt
        return receipt.done() and receipt.results()["epochs"] >= self.experiment.train.epochs

    def when_done(self) -> str:
        """Return that all epochs are over."""
        return f"finished ({self.experiment.train.epochs} epochs); nothing to do"

    def require(self, part: Part | None) -> None:
        """Raise a ValueError when only the generators of a training that is finished are gone."""
        folder = self.experiment.train_folder
        if self.is_finished() and any(folder.glob("checkpoints/step-*")):
            raise ValueError(
                f"{folder}/generators: training is finished, but there are none; delete {folder} to train again"
            )

    def allowed(self) -> tuple[str, ...]:
        """Return the settings that may differ from those that training was begun with.

        Raises
        ------
        ValueError
            when one of them never may.
        """
        names = self.experiment.train.allow_changed
        for name in names:
            if any(f"{fixed}.".startswith(f"{name}.") for fixed in FIXED):
                raise ValueError(f"train.allow_changed: {name} never may change; train in another `output`")
        return names

    def run(self, world: Processes, part: Part | None) -> Outcome:
        """Train to the end, or until a signal."""
        from cosmogan.training import work

        return work.run(self, world)
