"""The experiment: every setting, in the order in which data flows. Read by every command.

Lengths are comoving Mpc/h, wavenumbers h/Mpc, masses 1e10 Msun/h.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml

from hpc import settings
from hpc.rundir import whole_file

PRETRAINED = Path(__file__).parent / "data" / "pretrained.safetensors"  # trained by configs/pretrained.yaml

# Settings that stand in a record only where they are used: runs without them keep the records that they have.
CONDITIONAL: tuple[tuple[str, str], ...] = (
    ("model", "condition"),
    ("model", "kappa_redshift"),
    ("train", "fake_conditions"),
)
CONDITIONAL += (("sample", "condition"), ("simulate", "latin_hypercube"), ("preprocess", "parameters"))
CONDITIONAL += (("simulate", "gadget2"), ("simulate", "gadget2_files"))


def _check(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)


@dataclass(frozen=True)
class Cosmology:
    """A flat ΛCDM universe."""

    omega_m: float = 0.29
    omega_b: float = 0.047
    h: float = 0.695
    n_s: float = 0.96
    sigma_8: float = 0.82

    def __post_init__(self) -> None:
        _check(0 < self.omega_m <= 1, f"omega_m: expected a number in (0, 1], found {self.omega_m}")
        _check(
            0 < self.omega_b < self.omega_m, f"omega_b: expected a number between 0 and omega_m, found {self.omega_b}"
        )
        _check(0.1 < self.h < 2, f"h: expected H0/(100 km/s/Mpc), as 0.7, found {self.h}")
        _check(0 < self.n_s < 3, f"n_s: expected a slope near 1, as 0.96, found {self.n_s}")
        _check(0 < self.sigma_8 < 10, f"sigma_8: expected a positive number, as 0.8, found {self.sigma_8}")


@dataclass(frozen=True)
class Simulate:
    """The embedded particle-mesh simulator."""

    n_simulations: int = 4
    box_size: float = 355.84  # [Mpc/h]
    n_particles: int = 512  # a side
    mesh_factor: int = 2  # force mesh cells a side, per particle a side
    redshift_initial: float = 49.0
    redshifts: tuple[float, ...] = (0.0,)
    n_steps: int = 20
    seed: int = 1
    # `eisenstein-hu`, `class` (by nbodykit), a file of k [h/Mpc] and T(k), or `auto`: class where nbodykit is installed
    transfer: str = "auto"
    fixed_amplitudes: bool = False  # every mode of the initial conditions has its mean power: no cosmic variance in it
    initial_conditions: str | None = None  # GADGET-2 file (format 1 or 2) that the one box starts from; null: made
    write: Literal["snapshots", "shards", "both"] = "snapshots"  # shards: straight to what `preprocess` would write
    paired: bool = False  # every second box is the one before it with all its overdensities turned round
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Folder in which a real GADGET-2 runs the boxes, from what `simulate` writes there (--gadget2); null: it runs them
    gadget2: str | None = None
    gadget2_files: int = 1  # of its initial conditions, and of each snapshot; at most its processes
    # Numbers of `cosmology` that differ from box to box, each with its range: a latin hypercube of a point a box
    latin_hypercube: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ends in self.latin_hypercube.items():
            good = len(ends) == 2 and ends[0] < ends[1]
            _check(good, f"latin_hypercube.{name}: expected two rising numbers, found {list(ends)}")
        _check(self.n_simulations >= 1, f"n_simulations: expected at least 1, found {self.n_simulations}")
        _check(0 < self.box_size < math.inf, f"box_size: expected a positive length in Mpc/h, found {self.box_size}")
        _check(self.n_particles >= 2, f"n_particles: expected at least 2 a side, found {self.n_particles}")
        _check(self.mesh_factor >= 1, f"mesh_factor: expected at least 1, found {self.mesh_factor}")
        n_files = self.gadget2_files
        _check(1 <= n_files <= self.n_particles**3, f"gadget2_files: expected at least 1, found {n_files}")
        _check(
            self.gadget2 is None or (self.write == "snapshots" and self.initial_conditions is None),
            "gadget2: expected write: snapshots and no initial_conditions with it, as GADGET-2 gets its own",
        )
        _check(self.seed >= 0, f"seed: expected a number not below 0, found {self.seed}")
        _check(
            self.initial_conditions is None or self.n_simulations == 1,
            f"n_simulations: expected 1 with initial_conditions, found {self.n_simulations}",
        )
        _check(len(self.redshifts) >= 1, "redshifts: expected at least one")
        falling = all(a > b for a, b in zip(self.redshifts, self.redshifts[1:], strict=False))
        _check(falling, f"redshifts: expected a falling list, found {list(self.redshifts)}")
        n = len(self.redshifts)
        _check(self.n_steps >= n, f"n_steps: expected at least one to each redshift, {n}, found {self.n_steps}")
        _check(self.redshifts[-1] >= 0, f"redshifts: expected no negative one, found {self.redshifts[-1]}")
        _check(
            self.redshifts[0] < self.redshift_initial < math.inf,
            f"redshift_initial: expected more than the first of redshifts, found {self.redshift_initial}",
        )

    @property
    def transfer_found(self) -> str:
        """What ``transfer`` stands for on this machine: `class`, `eisenstein-hu` or a file."""
        if self.transfer != "auto":
            return self.transfer
        return "class" if find_spec("nbodykit") else "eisenstein-hu"


@dataclass(frozen=True)
class Preprocess:
    """From snapshots to sharded subvolumes."""

    # Paths, stems of multi-file snapshots, folders or globs, a simulation each; or one pattern for simulations and
    # redshifts, as "sims/box-{simulation:03d}/snapshot_{snapshot:03d}"; empty: what `simulate` wrote.
    snapshots: tuple[str, ...] = ()
    length_unit: Literal["kpc/h", "Mpc/h"] = "Mpc/h"
    particle_type: Literal["all", 0, 1, 2, 3, 4, 5] = "all"
    n_mesh: int = 512  # cells a side
    subvolume: int = 64  # cells a side
    window: Literal["ngp", "cic", "tsc", "pcs"] = "cic"  # mass assignment
    shards: int | None = None  # files a snapshot; null: one a rank
    memory_per_rank: float = 1500.0  # [MB] for a rank's own subvolumes and one round of reading and exchange
    parameters: str | None = None  # YAML file of numbers for each simulation, as 0: {sigma_8: 0.8}; docs/conditions.md
    profile: bool = False  # print what each stage took (--profile)
    output: str | None = None  # folder; null: <data>/shards

    def __post_init__(self) -> None:
        _check(self.n_mesh >= 1, f"n_mesh: expected a positive number of cells, found {self.n_mesh}")
        _check(
            self.subvolume >= 1 and self.n_mesh % self.subvolume == 0,
            f"subvolume: expected a divisor of n_mesh = {self.n_mesh}, found {self.subvolume}",
        )
        n = self.n_subvolumes
        _check(self.shards is None or 1 <= self.shards <= n, f"shards: expected 1 to {n}, found {self.shards}")
        _check(self.memory_per_rank >= 1, f"memory_per_rank: expected at least 1 MB, found {self.memory_per_rank}")

    @property
    def n_subvolumes(self) -> int:
        """Subvolumes in one simulation."""
        return (self.n_mesh // self.subvolume) ** 3


@dataclass(frozen=True)
class Model:
    """The networks, the scaling of the density and the latent prior; their size follows `preprocess.subvolume`."""

    kappa: float = 45.0  # eq. (5)
    width: int = 32  # channels of the layer next to the density; doubled at each halving of the side
    latent_dimension: int = 100
    prior: Literal["student_t", "gaussian", "cauchy", "gaussian_mixture"] = "student_t"  # see docs/training.md
    degrees_of_freedom: float = 10.0  # of student_t
    mixture_fraction: float = 0.1  # of gaussian_mixture: share of the values that come from its wide Gaussian
    mixture_width: float = 3.0  # standard deviation of the wide one; the other's is 1
    # A bias in the two layers next to the density: fakes start at the mean density, and the discriminator, whose
    # BatchNorm takes off what all samples share, can tell the level of the density. Not in the paper's networks.
    density_bias: bool = False
    # What both networks are told: redshift, or any numbers of the simulations, as omega_m; docs/conditions.md
    condition: tuple[str, ...] = ()
    kappa_redshift: float = 0.0  # kappa falls with the redshift: kappa (1 + z)^-this

    def __post_init__(self) -> None:
        _check(self.kappa > 0, f"kappa: expected a positive density, found {self.kappa}")
        _check(self.width >= 1, f"width: expected at least 1, found {self.width}")
        _check(self.latent_dimension >= 1, f"latent_dimension: expected at least 1, found {self.latent_dimension}")
        _check(
            self.degrees_of_freedom > 0,
            f"degrees_of_freedom: expected a positive number, found {self.degrees_of_freedom}",
        )
        _check(
            0 <= self.mixture_fraction <= 1,
            f"mixture_fraction: expected a number in [0, 1], found {self.mixture_fraction}",
        )
        _check(self.mixture_width > 0, f"mixture_width: expected a positive number, found {self.mixture_width}")
        names = list(self.condition)
        _check(len(set(names)) == len(names), f"condition: expected every name once, found {names}")
        _check(
            self.kappa_redshift == 0 or "redshift" in names,
            f"kappa_redshift: expected 0 without redshift in model.condition, found {self.kappa_redshift}",
        )


@dataclass(frozen=True)
class Train:
    """Adversarial training."""

    epochs: int = 150
    batch_size: int = 16  # over all processes
    batch_norm_group: int = 4  # samples that BatchNorm normalises together
    generator_rate: float = 1e-4
    discriminator_rate: float = 5e-5
    betas: tuple[float, ...] = (0.5, 0.999)
    loss: Literal["bce", "wasserstein"] = "bce"  # with wasserstein the discriminator is a critic, with no BatchNorm
    gradient_penalty: float = 10.0  # weight of the critic's penalty
    n_critic: int = 1  # batches, and discriminator steps, for each step of the generator
    gate: float = 0.2  # the discriminator rests while its mean score of fakes is not above this; 0: never
    rate_end: float = 1.0  # rates are held for half the epochs, then fall linearly to this fraction
    rate_decay: float = 1.0  # multiplies both rates after every decay_every steps of the generator
    decay_every: int = 1000
    ema: int | None = None  # moving average of the generator's weights, e-folding in samples seen; null: none
    epoch_repeats: int = 1  # passes over the training set that make one epoch
    seed: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "tf32", "bf16", "float64"] = "auto"  # auto: tf32 where the GPU has it
    cache: Literal["auto", "none", "host", "device"] = "auto"  # where the densities stay once they are read
    stage_to: str | None = None  # folder on each node to copy the shards to first, as $TMPDIR; null: not copied
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    preview_minutes: float | None = 10.0  # between small figures of where the generator stands; null: none
    on_collapse: Literal["stop", "restart"] = "stop"
    max_restarts: int = 3
    # Where the conditions of fakes come from: those of the training samples beside them, or evenly from their range.
    fake_conditions: Literal["training", "uniform"] = "training"
    allow_changed: tuple[str, ...] = ()  # settings that may differ when training goes on, as train.generator_rate

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, f"epochs: expected at least 1, found {self.epochs}")
        _check(self.batch_size >= 1, f"batch_size: expected at least 1, found {self.batch_size}")
        _check(
            self.batch_norm_group >= 1 and self.batch_size % self.batch_norm_group == 0,
            f"batch_norm_group: expected a divisor of batch_size = {self.batch_size}, found {self.batch_norm_group}",
        )
        _check(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            f"betas: expected two numbers in [0, 1), found {self.betas}",
        )
        for name in ("generator_rate", "discriminator_rate", "rate_end", "rate_decay"):
            _check(0 <= getattr(self, name) <= 1, f"{name}: expected a number in [0, 1], found {getattr(self, name)}")
        _check(self.gradient_penalty >= 0, f"gradient_penalty: expected no negative one, found {self.gradient_penalty}")
        for name in ("n_critic", "decay_every"):
            _check(getattr(self, name) >= 1, f"{name}: expected at least 1, found {getattr(self, name)}")
        _check(0 <= self.gate <= 1, f"gate: expected a score in [0, 1], found {self.gate}")
        _check(
            self.loss == "bce" or self.gate == 0,
            f"gate: expected 0 with loss: wasserstein, as a critic gives no score in [0, 1]; found {self.gate}",
        )
        _check(
            self.ema is None or self.ema > 0, f"ema: expected a positive number of samples or null, found {self.ema}"
        )
        _check(self.epoch_repeats >= 1, f"epoch_repeats: expected at least 1, found {self.epoch_repeats}")
        _check(
            self.checkpoint_minutes > 0,
            f"checkpoint_minutes: expected a positive time, found {self.checkpoint_minutes}",
        )
        _check(self.keep_checkpoints >= 1, f"keep_checkpoints: expected at least 1, found {self.keep_checkpoints}")
        _check(
            self.preview_minutes is None or self.preview_minutes > 0,
            f"preview_minutes: expected a positive time or null, found {self.preview_minutes}",
        )
        _check(self.max_restarts >= 0, f"max_restarts: expected no negative number, found {self.max_restarts}")


@dataclass(frozen=True)
class Select:
    """Which epoch's generator is released, and its latent scale."""

    n_samples: int = 256  # generated a candidate
    first_epoch: int = 1  # earlier ones are not scored
    bispectrum: bool = False  # two of the paper's pairs of sides count in the score, too
    n_tune: int = 1024  # generated for each trial of the latent scale; 0 leaves it at 1
    bound_density: bool = False  # the released generator makes no cell denser than the training set's densest

    def __post_init__(self) -> None:
        _check(self.n_samples >= 16, f"n_samples: expected at least 16, found {self.n_samples}")
        _check(self.first_epoch >= 1, f"first_epoch: expected at least 1, found {self.first_epoch}")
        _check(self.n_tune == 0 or self.n_tune >= 16, f"n_tune: expected 0 or at least 16, found {self.n_tune}")


@dataclass(frozen=True)
class Sample:
    """What the released generator draws."""

    n_samples: int = 2000
    seed: int = 1
    generator: str | None = None  # drawn from: a released one's .safetensors, or `pretrained`; null: this run's own
    figure: str | None = None  # slabs and the voxel PDF of what was drawn: a name that ends in .png or .pdf
    batch_size: int = 64
    samples_per_shard: int = 500
    latents_only: bool = False  # write the latents and no volumes (--latents)
    from_latents: str | None = None  # draw the volumes of such a file (--from-latents FILE)
    condition: dict[str, float] = field(default_factory=dict)  # what a conditional generator is told (--redshift Z);
    # empty: in turn all conditions of the held-out simulations, n_samples each
    rejection: bool = False  # keep what the discriminator does not reject (appendix A); docs/training.md
    rejection_epochs: int = 5  # by which the discriminator is trained on, against the released generator
    rejection_bound: int = 2000  # samples whose largest logit stands for the largest of all
    rejection_epsilon: float = 0.01  # eq. (A5)
    rejection_gamma: float = 0.0  # eq. (A5): fewer are accepted the larger it is

    def __post_init__(self) -> None:
        for name in ("n_samples", "batch_size", "samples_per_shard", "rejection_epochs", "rejection_bound"):
            _check(getattr(self, name) >= 1, f"{name}: expected at least 1, found {getattr(self, name)}")
        _check(
            self.rejection_epsilon > 0, f"rejection_epsilon: expected a positive number, found {self.rejection_epsilon}"
        )
        _check(
            self.from_latents is None or not (self.latents_only or self.rejection),
            "from_latents: a file of latents says what is drawn; expected neither latents_only nor rejection with it",
        )
        _check(
            self.figure is None or self.figure.endswith((".png", ".pdf")),
            f"figure: expected a name that ends in .png or .pdf, found {self.figure}",
        )
        _check(not (self.figure and self.latents_only), "figure: latents make none; expected no latents_only with it")
        _check(not (self.generator and self.rejection), "rejection: needs the run that trained; expected no generator")


@dataclass(frozen=True)
class Validate:
    """Statistics of generated against held-out subvolumes."""

    engine: Literal["native", "pylians", "nbodykit"] = "native"
    k_bins: Literal["linear", "paper"] = "linear"  # paper: its logarithmic bins per Mpc
    n_k: int | None = None  # of the linear bins; null: each a k_fundamental wide
    window: Literal["none", "ngp", "cic", "tsc", "pcs"] = "none"  # mass assignment to divide out of spectra
    shot_noise: float = 0.0  # box volume over the number of particles [(Mpc/h)^3], taken off spectra and bispectra
    batch_size: int = 64  # subvolumes measured at once, and kept as one block when validate is stopped
    seed: int = 1  # pairs of the cross power, and what else is drawn at random
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        _check(self.n_k is None or self.n_k >= 1, f"n_k: expected at least 1 bin or null, found {self.n_k}")
        _check(self.n_k is None or self.k_bins == "linear", f"n_k: expected null with k_bins: paper, found {self.n_k}")
        _check(self.shot_noise >= 0, f"shot_noise: expected no negative power, found {self.shot_noise}")
        _check(self.batch_size >= 1, f"batch_size: expected at least 1, found {self.batch_size}")


@dataclass(frozen=True)
class Experiment:
    """One experiment, from simulations to a report, in one folder."""

    name: str
    output: str  # the run's folder
    data: str | None = None  # run folder with the simulations and shards; null: this one's own
    held_out: tuple[int, ...] = ()  # numbers of the simulations that only validation sees
    n_training: int | None = None  # simulations to train on, the first of those not held out; null: all of these
    redshift: float | None = None  # of the shards to learn from and to validate against; null: the only one there is
    redshifts: tuple[float, ...] = ()  # those that a generator told the redshift is trained on; empty: all
    separate_boxes: bool = False  # of each training simulation only one of these redshifts, the same number of each
    cosmology: Cosmology = field(default_factory=Cosmology)
    simulate: Simulate = field(default_factory=Simulate)
    preprocess: Preprocess = field(default_factory=Preprocess)
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    select: Select = field(default_factory=Select)
    sample: Sample = field(default_factory=Sample)
    validate: Validate = field(default_factory=Validate)

    def __post_init__(self) -> None:
        n = self.n_training
        _check(n is None or n >= 1, f"n_training: expected at least 1 or null, found {n}")
        for name in ("redshifts", "separate_boxes"):
            only = "redshift" in self.model.condition or not getattr(self, name)
            _check(only, f"{name}: expected it only with redshift in model.condition: a generator of several redshifts")
        cosmological = self.cosmology.__dataclass_fields__
        for name in self.simulate.latin_hypercube:
            _check(name in cosmological, f"simulate.latin_hypercube: expected {', '.join(cosmological)}, found {name}")
        wrong = [name for name in self.sample.condition if name not in self.model.condition]
        _check(not wrong, f"sample.condition: expected numbers of model.condition, found {', '.join(wrong)}")
        _check(
            not (self.sample.rejection and self.model.condition),
            "sample.rejection: expected false with model.condition, as the acceptance would differ by condition",
        )

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.output)

    @property
    def data_folder(self) -> Path:
        """The run's folder that holds the simulations and shards; several experiments can have one."""
        return Path(self.data) if self.data else self.folder

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
        """Which simulated redshifts become subvolumes: the last, or all when a generator is told the redshift."""
        n = len(self.simulate.redshifts)
        return range(n) if "redshift" in self.model.condition else range(n - 1, n)

    @property
    def straight_to_shards(self) -> bool:
        """Whether the simulated boxes become subvolumes with no snapshots between."""
        return not self.preprocess.snapshots and self.simulate.write == "shards"

    @property
    def snapshots(self) -> tuple[str, ...]:
        """What `preprocess` reads: the user's snapshots, or those that `simulate` wrote."""
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
        return PRETRAINED if self.sample.generator == "pretrained" else Path(self.sample.generator)

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
        """What `validate` measured."""
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
        _check(wanted <= len(free), f"n_training: expected at most the {len(free)} not held out, found {wanted}")
        return free[:wanted]

    def freeze(self) -> Path:
        """Write the experiment, every setting in it, to ``config.yaml`` in the run's folder; return its path."""
        path = self.folder / "config.yaml"
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


def configs_folder() -> Path:
    """Return the folder of the experiments that come with the package."""
    here = Path(__file__).parent
    packaged = here / "configs"
    return packaged if packaged.is_dir() else here.parent / "configs"


def default_config() -> Path:
    """Return ``cosmogan.yaml`` of the working folder, or else the demo experiment."""
    own = Path("cosmogan.yaml")
    return own if own.exists() else configs_folder() / "demo.yaml"


def load(path: Path | str, overrides: list[str] | tuple[str, ...] = ()) -> Experiment:
    """Read an experiment.

    Raises
    ------
    SettingsError
        one line that names the file, the setting, what was found and what was expected.
    """
    experiment = settings.load(Experiment, path, overrides)
    n = math.inf if experiment.preprocess.snapshots else experiment.simulate.n_simulations
    for number in experiment.held_out:
        if not 0 <= number < n:
            raise settings.SettingsError(f"{path}: held_out: expected simulations from 0 to {n - 1}, found {number}")
    if not experiment.preprocess.snapshots:
        try:
            experiment.trained_on(range(experiment.simulate.n_simulations))
        except ValueError as error:
            raise settings.SettingsError(f"{path}: {error}") from None
    return experiment
