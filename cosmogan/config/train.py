"""State how the networks are trained."""

from dataclasses import dataclass
from typing import Literal

from cosmogan.config.check import check


@dataclass(frozen=True)
class Train:
    """Adversarial training."""

    epochs: int = 150
    """The number of epochs."""

    batch_size: int = 16
    """The number of samples per batch, over all processes."""

    batch_norm_group: int = 4
    """The number of samples that BatchNorm normalises together. It divides `batch_size`."""

    generator_rate: float = 1e-4
    """The learning rate of the generator's Adam."""

    discriminator_rate: float = 5e-5
    """The learning rate of the discriminator's Adam."""

    betas: tuple[float, ...] = (0.5, 0.999)
    """The decay rates β₁ and β₂ of both Adams."""

    loss: Literal["bce", "wasserstein", "relativistic"] = "bce"
    """The loss: cross-entropy (`bce`, the paper's), WGAN-GP (`wasserstein`), or relativistic pairs of real and fake
    samples (`relativistic`). The discriminator has BatchNorm with `bce` only. With `relativistic`, `r1` is also the
    weight of the penalty R2 at fake samples.
    """

    discriminator_loss: float | None = None
    """The discriminator's loss to aim at, as 1.0; at chance it is 1.386. While the loss is above it, the
    discriminator's rate is raised and the generator's lowered; while it is below, the discriminator's rate is lowered;
    each by up to a factor of 8. With null both rates stay as they are set.
    """

    gradient_penalty: float = 10.0
    """The weight λ of the gradient penalty of `wasserstein`."""

    r1: float = 0.0
    """The weight γ of the R1 penalty, γ/2 |∇D|² at real samples. With 0 it is not computed."""

    energy_score: float = 0.0
    """The weight of the energy score in a local generator's loss, beside the discriminator's part. It compares draws
    with the simulation of the same box, and makes them scatter as the simulation does (docs/boxes.md).
    """

    n_critic: int = 1
    """The number of batches, and of the discriminator's steps, per step of the generator."""

    gate: float = 0.2
    """The discriminator is not updated while its mean score of fakes is at most this. With 0 it always is."""

    rate_end: float = 1.0
    """Both rates are constant for half of the epochs, then fall linearly to this fraction."""

    rate_decay: float = 1.0
    """The factor by which both rates are multiplied after every `decay_every` steps of the generator."""

    decay_every: int = 1000
    """The number of the generator's steps between two decays of the rates."""

    ema: int | None = None
    """The number of samples seen over which the EMA of the generator's weights forgets by a factor of e. With null
    there is no EMA.
    """

    epoch_repeats: int = 1
    """The number of passes over the training set per epoch."""

    random_crops: bool = False
    """Train on crops of the periodic boxes at random offsets in place of the fixed subvolumes."""

    seed: int = 1
    """The seed of the weights, latents, order, orientations and crops."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Compute on a GPU (`cuda`), on the CPU, or (`auto`) on a GPU where there is one."""

    precision: Literal["auto", "float32", "tf32", "bf16", "float64"] = "auto"
    """The precision of the computation. `auto` is TF32 on GPUs that have it, else float32."""

    cuda_graphs: bool | None = None
    """Launch the work of a step as a few CUDA graphs, not kernel by kernel. With null it is done on GPUs."""

    cache: Literal["auto", "none", "host", "device"] = "auto"
    """Where the densities stay once they are read: on the GPU (`device`), in the memory of the host, or nowhere
    (`none`). `auto` takes the first of these that it fills by at most half.
    """

    stage_to: str | None = None
    """A folder on each node's own disk to which the shards are first copied, as `$TMPDIR`. With null they are read
    where they are.
    """

    checkpoint_minutes: float = 10.0
    """The time between two checkpoints within an epoch [minutes]."""

    keep_checkpoints: int = 2
    """The number of the newest checkpoints that are kept."""

    preview_minutes: float | None = 10.0
    """The time between two figures of the generator's samples [minutes]. With null there are none."""

    on_collapse: Literal["stop", "restart"] = "stop"
    """What happens when training has collapsed: it ends with an error (`stop`), or returns to the last good epoch and
    continues with another seed (`restart`).
    """

    max_restarts: int = 3
    """The number of such restarts at most."""

    fake_conditions: Literal["training", "uniform"] = "training"
    """Where the conditions of fakes come from: from the training samples of the same batch (`training`), or evenly from
    their range (`uniform`).
    """

    allow_changed: tuple[str, ...] = ()
    """Names of settings that may differ from those of the checkpoint when training resumes, as `train.generator_rate`.
    """

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
        check(self.energy_score >= 0, f"energy_score: expected no negative weight, found {self.energy_score}")
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
