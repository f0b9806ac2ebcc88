"""State an experiment: all sections, and the paths of its files."""

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cosmogan.config.box import Box
from cosmogan.config.check import check
from cosmogan.config.cosmology import Cosmology
from cosmogan.config.input import Input
from cosmogan.config.model import Model
from cosmogan.config.preprocess import Preprocess
from cosmogan.config.sample import Sample
from cosmogan.config.select import Select
from cosmogan.config.simulate import Simulate
from cosmogan.config.train import Train
from cosmogan.config.validate import Validate
from hpc import settings
from hpc.files import whole_file
from hpc.paths import FilePath

PACKAGE = Path(__file__).parent.parent
# The generators that come with the package, by name; configs/NAME.yaml says how each was made.
GENERATORS = {path.stem: path for path in sorted((PACKAGE / "data").glob("*.safetensors"))}
SMALLEST_GENERATOR = "web-32"

# Settings that are in a record only where they differ from their default: runs from before they existed stay valid.
CONDITIONAL: tuple[tuple[str, str], ...] = (
    ("model", "condition"),
    ("model", "kappa_redshift"),
    ("model", "discriminator_kappa"),
    ("model", "discriminator_log"),
    ("model", "discriminator_power"),
    ("model", "resize"),
    ("train", "fake_conditions"),
    ("train", "random_crops"),
    ("train", "r1"),
    ("train", "energy_score"),
    ("train", "discriminator_loss"),
    ("select", "orient"),
    ("select", "calibrate"),
    ("select", "n_calibrate"),
    ("select", "generator"),
)
CONDITIONAL += (("sample", "condition"), ("simulate", "latin_hypercube"), ("preprocess", "parameters"))
CONDITIONAL += (("simulate", "gadget2"), ("simulate", "gadget2_files"))


def generator_file(name: str) -> Path:
    """Return the weights of a generator in the package, by its name, or of another, by the path of its file.

    Raises
    ------
    ValueError
        when it is neither: lists the names.
    """
    if name in GENERATORS:
        return GENERATORS[name]
    if not name.endswith(".safetensors"):
        raise ValueError(f"generator {name}: expected {', '.join(GENERATORS)} or a .safetensors file")
    if "://" in name:
        raise ValueError(f"generator {name}: expected a file here; cosmogan.load_generator takes addresses too")
    return Path(name)


@dataclass(frozen=True)
class Experiment:
    """One experiment, from simulations to a report, in one folder."""

    name: str
    """The name of the experiment, shown in the report."""

    output: FilePath
    """The run's folder."""

    data: FilePath | None = None
    """The folder of another run, whose simulations and shards are used. With null it is this run's own."""

    held_out: tuple[int, ...] = ()
    """The numbers of the simulations that only validation sees."""

    n_training: int | None = None
    """The number of simulations to train on, the first of those not held out. With null it is all of these."""

    redshift: float | None = None
    """The redshift of the shards to train on and to validate against. With null they have only one."""

    redshifts: tuple[float, ...] = ()
    """The redshifts on which a generator that is conditioned on the redshift is trained. An empty list stands for all.
    """

    separate_boxes: bool = False
    """Take each training simulation at only one of these redshifts, and the same number of simulations at each."""

    cosmology: Cosmology = field(default_factory=Cosmology)
    simulate: Simulate = field(default_factory=Simulate)
    preprocess: Preprocess = field(default_factory=Preprocess)
    input: Input = field(default_factory=Input)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    select: Select = field(default_factory=Select)
    sample: Sample = field(default_factory=Sample)
    validate: Validate = field(default_factory=Validate)
    box: Box = field(default_factory=Box)

    def __post_init__(self) -> None:
        n = self.n_training
        check(n is None or n >= 1, f"n_training: expected at least 1 or null, found {n}")
        for name in ("redshifts", "separate_boxes"):
            only = "redshift" in self.model.condition or not getattr(self, name)
            check(only, f"{name}: expected it only with redshift in model.condition: a generator of several redshifts")
        cosmological = self.cosmology.__dataclass_fields__
        for name in self.simulate.latin_hypercube:
            check(name in cosmological, f"simulate.latin_hypercube: expected {', '.join(cosmological)}, found {name}")
        n_latents = self.model.latent_dimension
        check(
            not self.select.orient or n_latents >= 6,
            f"select.orient: expected a model.latent_dimension of 6 or more, found {n_latents}",
        )
        wrong = [name for name in self.sample.condition if name not in self.model.condition]
        check(not wrong, f"sample.condition: expected numbers of model.condition, found {', '.join(wrong)}")
        check(
            not (self.sample.rejection and self.model.condition),
            "sample.rejection: expected false with model.condition, as the acceptance would differ by condition",
        )
        check(
            self.input.is_used or self.train.energy_score == 0,
            f"train.energy_score: expected 0 without input.n_steps, found {self.train.energy_score}",
        )
        if self.input.is_used:
            self._check_local()

    def _check_local(self) -> None:
        """Raise a SettingsError where a setting does not go with a local generator."""
        for name, value, expected in (
            ("model.condition", list(self.model.condition), "[], as redshift and cosmology come with the input"),
            ("preprocess.snapshots", list(self.preprocess.snapshots), "[], as the input needs the initial modes"),
            ("simulate.initial_conditions", self.simulate.initial_conditions, "null, as the input makes its own"),
            ("train.random_crops", self.train.random_crops, "false, as crops are always random"),
            ("select.orient", self.select.orient, "false, as volumes have the orientation of their input"),
            ("select.generator", self.select.generator, "null"),
            ("sample.rejection", self.sample.rejection, "false"),
            ("sample.latents_only", self.sample.latents_only, "false, as there are no latents"),
            ("sample.from_latents", self.sample.from_latents, "null, as there are no latents"),
        ):
            check(not value, f"{name}: expected {expected} with input.n_steps; found {value}")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.output)

    @property
    def data_folder(self) -> Path:
        """The run's folder that holds the simulations and shards; several experiments can have one."""
        return Path(self.data) if self.data else self.folder

    @property
    def quick(self) -> "Experiment":
        """The quick simulations of the same boxes, from which a local generator starts: an experiment of their own."""
        settings = dataclasses.replace(
            self.simulate,
            n_steps=self.input.n_steps or self.simulate.n_steps,
            redshift_initial=self.input.redshift_initial,
            redshifts=self.simulate.redshifts[-1:],
            mesh_factor=self.input.mesh_factor,
            write="shards",
            gadget2=None,
        )
        gridding = dataclasses.replace(self.preprocess, output=None)
        folder = str(self.data_folder / "input")
        return Experiment(
            f"{self.name}, input", folder, cosmology=self.cosmology, simulate=settings, preprocess=gridding
        )

    @property
    def simulations_folder(self) -> Path:
        """Where `simulate`, or GADGET-2, writes ``box-000/snapshot_000`` and so on."""
        return Path(self.simulate.gadget2) if self.simulate.gadget2 else self.data_folder / "simulations"

    @property
    def simulated(self) -> tuple[Path, ...]:
        """The files of `simulate` that `preprocess` reads."""
        return tuple(
            self.simulations_folder / f"box-{i:03d}" / f"snapshot_{output:03d}"
            for i in range(self.simulate.n_simulations)
            for output in self.gridded_outputs
        )

    @property
    def gridded_outputs(self) -> range:
        """The simulated redshifts that become subvolumes: the last; all for a generator conditioned on the redshift."""
        n = len(self.simulate.redshifts)
        return range(n) if "redshift" in self.model.condition else range(n - 1, n)

    @property
    def straight_to_shards(self) -> bool:
        """Whether the simulated boxes become subvolumes with no snapshots between."""
        return not self.preprocess.snapshots and self.simulate.write == "shards"

    @property
    def snapshots(self) -> tuple[str, ...]:
        """The snapshots that `preprocess` reads: the user's snapshots, or those that `simulate` wrote."""
        if "redshift" in self.model.condition and not self.preprocess.snapshots:
            return (str(self.simulations_folder / "box-{simulation:03d}" / "snapshot_{snapshot:03d}"),)
        return self.preprocess.snapshots or tuple(map(str, self.simulated))

    @property
    def shards_folder(self) -> Path:
        """Where `preprocess` writes."""
        return Path(self.preprocess.output) if self.preprocess.output else self.data_folder / "shards"

    @property
    def train_folder(self) -> Path:
        """Checkpoints, every epoch's generator, metrics."""
        return self.folder / "train"

    @property
    def generator_path(self) -> Path:
        """The released generator's weights; its settings lie beside it as ``.json``."""
        return self.folder / "generator" / "generator.safetensors"

    @property
    def drawn_from(self) -> Path:
        """The released generator that `sample` draws from: this run's own, the one in the package, or another."""
        if self.sample.generator is None:
            return self.generator_path
        return generator_file(self.sample.generator)

    @property
    def box_folder(self) -> Path:
        """Where `box` writes."""
        return Path(self.box.output) if self.box.output else self.folder / f"box-{self.box.seed}-{self.box.number}"

    @property
    def discriminator_path(self) -> Path:
        """The discriminator of rejection sampling, beside the released generator."""
        return self.generator_path.with_name("discriminator.safetensors")

    @property
    def latents_path(self) -> Path:
        """The archive of latents."""
        return self.folder / "latents.h5"

    @property
    def rejection_path(self) -> Path:
        """Which proposals of rejection sampling were accepted."""
        return self.folder / "rejection.npz"

    @property
    def samples_folder(self) -> Path:
        """Generated shards."""
        return self.folder / "samples"

    @property
    def statistics_path(self) -> Path:
        """The statistics that `validate` measured."""
        return self.folder / "statistics.h5"

    @property
    def report_folder(self) -> Path:
        """The page and its figures."""
        return self.folder / "report"

    def trained_on(self, simulations: Iterable[int]) -> list[int]:
        """Return which of the simulations are trained on.

        Raises
        ------
        ValueError
            when fewer than ``n_training`` are left beside those held out.
        """
        free = sorted(set(simulations) - set(self.held_out))
        wanted = len(free) if self.n_training is None else self.n_training
        check(wanted <= len(free), f"n_training: expected at most the {len(free)} not held out, found {wanted}")
        return free[:wanted]

    def freeze(self) -> Path:
        """Write the experiment, every setting in it, to ``config.yaml`` in the run's folder; return its path.

        A file there that says the same is left as it is.
        """
        path = self.folder / "config.yaml"
        with contextlib.suppress(settings.SettingsError):
            if path.exists() and settings.load(Experiment, path) == self:
                return path
        with whole_file(path) as temporary:
            temporary.write_text(yaml.safe_dump(settings.to_tree(self), sort_keys=False, allow_unicode=True))
        return path

    def section(self, *names: str) -> dict[str, Any]:
        """Return sections as plain data, for a stage's receipt."""
        tree = settings.to_tree(self)
        for section, name in CONDITIONAL:
            default = getattr(type(getattr(self, section))(), name)
            if getattr(getattr(self, section), name) == default:
                del tree[section][name]
        return {name: tree[name] for name in names}
