"""Say what samples depend on, and whether they are drawn; imports nothing heavy."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.shards import latents_file
from cosmogan.training import subvolumes
from cosmogan.training.plan import TrainingStage
from hpc.files import checksum
from hpc.mpi import Comm
from hpc.part import Part
from hpc.receipts import Receipt
from hpc.stage import Outcome, Stage


@dataclass
class SamplingStage(Stage[Comm]):
    """Draw subvolumes from the released generator."""

    name = "sample"
    experiment: Experiment

    @property
    def receipt(self) -> Receipt:
        """The record of all that the samples depend on; the size of a batch is not in it."""
        experiment, path = self.experiment, self.experiment.drawn_from
        recipe = experiment.section("model", "sample")
        files = {"generator": path, "settings": path.with_suffix(".json")}
        if experiment.sample.from_latents is not None:
            files["latents"] = Path(experiment.sample.from_latents)
        recipe |= {name: checksum(file) if file.exists() else None for name, file in files.items()}
        if experiment.model.condition:
            recipe["told"] = self.conditions
        for name in ("batch_size", "generator", "figure"):  # the generator is known by its checksum
            del recipe["sample"][name]
        return Receipt(experiment.folder, self.name, recipe)

    @cached_property
    def conditions(self) -> list[dict[str, float]]:
        """The conditions under which the same latents are drawn; one that is empty for an unconditional generator."""
        return subvolumes.to_sample(self.experiment)

    @cached_property
    def training(self) -> TrainingStage:
        """The training, whose discriminator rejection sampling takes."""
        return TrainingStage(self.experiment)

    @property
    def target(self) -> Path:
        """The folder of the samples' shards, or the file of their latents."""
        experiment = self.experiment
        return experiment.latents_path if experiment.sample.latents_only else experiment.samples_folder

    @property
    def in_one_piece(self) -> bool:
        """Whether the work is one piece: a single file, or the accepted samples of one sequence."""
        return self.experiment.sample.latents_only or self.experiment.sample.rejection

    def parts(self) -> int:
        """Return how many shards there are to share out; 1 when the work is one piece.

        Where the conditions of a conditional generator are not known yet, for want of simulations, as if it were one.
        """
        settings = self.experiment.sample
        if self.in_one_piece:
            return 1
        manifest = self.experiment.shards_folder / "manifest.json"
        n_conditions = len(self.conditions) if manifest.exists() or not self.experiment.model.condition else 1
        n = settings.n_samples if settings.from_latents is None else latents_file.length(Path(settings.from_latents))
        return n_conditions * -(-n // settings.samples_per_shard)

    def is_done(self) -> bool:
        """Say whether all samples are there, drawn from the generator that is released now."""
        target = self.target
        written = target.exists() if self.experiment.sample.latents_only else shards.is_complete(target)
        return written and self.experiment.drawn_from.exists() and self.receipt.done()

    def when_done(self) -> str:
        """Return where the samples are."""
        return f"done: {self.target}"

    def require(self, part: Part | None) -> None:
        """Raise a ValueError when there are no parts."""
        if part is not None and self.in_one_piece:
            raise ValueError(
                f"--part: found {part.number}/{part.of} with --latents or sample.rejection: done in one piece"
            )

    def run(self, world: Comm, part: Part | None) -> Outcome:
        """Write all shards that are not there yet and the manifest, or a part's shards; or, if asked, only latents."""
        from cosmogan.sampling import work

        return work.sample(self, world, part)
