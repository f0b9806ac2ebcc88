"""Settings of the networks and of their training."""

from dataclasses import dataclass
from typing import Literal

from cosmogan.config.check import check


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
    # The discriminator sees the density scaled with these kappas too, a channel each: one far below kappa lets it tell
    # empty cells apart. Not in the paper's networks.
    discriminator_kappa: tuple[float, ...] = ()
    # The discriminator sees the logarithm of the density, too, with this density added to it, as 0.01; null: not.
    discriminator_log: float | None = None
    # The discriminator sees ln P(k), too: of the density that saturates at each of these, as [1, 3000].
    discriminator_power: tuple[float, ...] = ()
    # The generator's last layer doubles cells and convolves them by 3³, in place of a transposed convolution by 4³.
    resize: bool = False
    # What both networks are told: redshift, or any numbers of the simulations, as omega_m; docs/conditions.md
    condition: tuple[str, ...] = ()
    kappa_redshift: float = 0.0  # kappa falls with the redshift: kappa (1 + z)^-this

    def __post_init__(self) -> None:
        check(self.kappa > 0, f"kappa: expected a positive density, found {self.kappa}")
        for name in ("discriminator_kappa", "discriminator_power"):
            kappas = getattr(self, name)
            check(all(kappa > 0 for kappa in kappas), f"{name}: expected positive densities, found {list(kappas)}")
        floor = self.discriminator_log
        check(
            floor is None or 0 < floor < self.kappa,
            f"discriminator_log: expected null or a density between 0 and kappa = {self.kappa}, found {floor}",
        )
        check(self.width >= 1, f"width: expected at least 1, found {self.width}")
        check(self.latent_dimension >= 1, f"latent_dimension: expected at least 1, found {self.latent_dimension}")
        check(
            self.degrees_of_freedom > 0,
            f"degrees_of_freedom: expected a positive number, found {self.degrees_of_freedom}",
        )
        check(
            0 <= self.mixture_fraction <= 1,
            f"mixture_fraction: expected a number in [0, 1], found {self.mixture_fraction}",
        )
        check(self.mixture_width > 0, f"mixture_width: expected a positive number, found {self.mixture_width}")
        names = list(self.condition)
        check(len(set(names)) == len(names), f"condition: expected every name once, found {names}")
        check(
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
    # With wasserstein the discriminator is a critic, with no BatchNorm; nor has it any with relativistic: that compares
    # real and fake samples in pairs, and r1 then weighs the penalty R2 at fake samples, too.
    loss: Literal["bce", "wasserstein", "relativistic"] = "bce"
    # The discriminator's loss that is aimed at, as 1.0 (1.386: at chance): above it its rate is raised and the
    # generator's lowered, below it its rate is lowered, by up to 8 each; null: rates as they are set.
    discriminator_loss: float | None = None
    gradient_penalty: float = 10.0  # weight of the critic's penalty
    r1: float = 0.0  # weight γ of the R1 penalty γ/2 |gradient of D|² at real samples
    n_critic: int = 1  # batches, and discriminator steps, for each step of the generator
    gate: float = 0.2  # the discriminator rests while its mean score of fakes is not above this; 0: never
    rate_end: float = 1.0  # rates are held for half the epochs, then fall linearly to this fraction
    rate_decay: float = 1.0  # multiplies both rates after every decay_every steps of the generator
    decay_every: int = 1000
    ema: int | None = None  # moving average of the generator's weights, e-folding in samples seen; null: none
    epoch_repeats: int = 1  # passes over the training set that make one epoch
    random_crops: bool = False  # in place of each subvolume a crop of its periodic box at a random offset
    seed: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "tf32", "bf16", "float64"] = "auto"  # auto: tf32 where the GPU has it
    # Launch a step's work as a few CUDA graphs, not kernel by kernel; null: wherever it runs on a GPU.
    cuda_graphs: bool | None = None
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
        check(self.epochs >= 1, f"epochs: expected at least 1, found {self.epochs}")
        check(self.batch_size >= 1, f"batch_size: expected at least 1, found {self.batch_size}")
        check(
            self.batch_norm_group >= 1 and self.batch_size % self.batch_norm_group == 0,
            f"batch_norm_group: expected a divisor of batch_size = {self.batch_size}, found {self.batch_norm_group}",
        )
        check(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            f"betas: expected two numbers in [0, 1), found {self.betas}",
        )
        for name in ("generator_rate", "discriminator_rate", "rate_end", "rate_decay"):
            check(0 <= getattr(self, name) <= 1, f"{name}: expected a number in [0, 1], found {getattr(self, name)}")
        aim = self.discriminator_loss
        check(
            aim is None or (aim > 0 and self.loss != "wasserstein"),
            f"discriminator_loss: expected null, or a positive number with loss: bce or relativistic; found {aim}",
        )
        check(self.gradient_penalty >= 0, f"gradient_penalty: expected no negative one, found {self.gradient_penalty}")
        check(self.r1 >= 0, f"r1: expected no negative weight, found {self.r1}")
        for name in ("n_critic", "decay_every"):
            check(getattr(self, name) >= 1, f"{name}: expected at least 1, found {getattr(self, name)}")
        check(0 <= self.gate <= 1, f"gate: expected a score in [0, 1], found {self.gate}")
        check(
            self.loss == "bce" or self.gate == 0,
            f"gate: expected 0 with loss: {self.loss}, which gives no score in [0, 1]; found {self.gate}",
        )
        check(self.ema is None or self.ema > 0, f"ema: expected a positive number of samples or null, found {self.ema}")
        check(
            self.cache != "none" or not self.random_crops,
            "cache: expected auto, host or device with random_crops, whose boxes are held in memory; found none",
        )
        check(self.epoch_repeats >= 1, f"epoch_repeats: expected at least 1, found {self.epoch_repeats}")
        check(
            self.checkpoint_minutes > 0,
            f"checkpoint_minutes: expected a positive time, found {self.checkpoint_minutes}",
        )
        check(self.keep_checkpoints >= 1, f"keep_checkpoints: expected at least 1, found {self.keep_checkpoints}")
        check(
            self.preview_minutes is None or self.preview_minutes > 0,
            f"preview_minutes: expected a positive time or null, found {self.preview_minutes}",
        )
        check(self.max_restarts >= 0, f"max_restarts: expected no negative number, found {self.max_restarts}")
