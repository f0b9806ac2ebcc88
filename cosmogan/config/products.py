"""Settings of what is made of a training: the choice of a generator, samples, statistics."""

from dataclasses import dataclass, field
from typing import Literal

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Select:
    """Which epoch's generator is released, and its latent scale."""

    n_samples: int = 256  # generated a candidate
    first_epoch: int = 1  # earlier ones are not scored
    bispectrum: bool = False  # two of the paper's pairs of sides count in the score, too
    n_tune: int = 1024  # generated for each trial of the latent scale; 0 leaves it at 1
    calibrate: bool = False  # what it draws is calibrated to the training set; docs/selection.md
    n_calibrate: int = 1024  # generated to fit the calibration
    generator: FilePath | None = None  # calibrate this one, a name or a .safetensors; null: choose one of this training
    orient: bool = False  # the released generator turns its volumes into all 48 orientations of the cube alike

    def __post_init__(self) -> None:
        check(self.n_samples >= 16, f"n_samples: expected at least 16, found {self.n_samples}")
        check(self.first_epoch >= 1, f"first_epoch: expected at least 1, found {self.first_epoch}")
        check(self.n_tune == 0 or self.n_tune >= 16, f"n_tune: expected 0 or at least 16, found {self.n_tune}")
        check(self.n_calibrate >= 1, f"n_calibrate: expected at least 1, found {self.n_calibrate}")
        check(
            self.generator is None or self.calibrate,
            f"generator: expected null without calibrate, which is all that is done to it; found {self.generator}",
        )


@dataclass(frozen=True)
class Sample:
    """What the released generator draws."""

    n_samples: int = 2000
    seed: int = 1
    generator: FilePath | None = None  # one of the package by name, or a .safetensors file; null: this run's own
    figure: FilePath | None = None  # slabs and the voxel PDF of what was drawn: a name that ends in .png or .pdf
    batch_size: int = 64
    samples_per_shard: int = 500
    latents_only: bool = False  # write the latents and no volumes (--latents)
    from_latents: FilePath | None = None  # draw the volumes of such a file (--from-latents FILE)
    condition: dict[str, float] = field(default_factory=dict)  # what a conditional generator is told (--redshift Z);
    # empty: in turn all conditions of the held-out simulations, n_samples each
    rejection: bool = False  # keep what the discriminator does not reject (appendix A); docs/sampling.md
    rejection_epochs: int = 5  # by which the discriminator is trained on, against the released generator
    rejection_bound: int = 2000  # samples whose largest logit stands for the largest of all
    rejection_epsilon: float = 0.01  # eq. (A5)
    rejection_gamma: float = 0.0  # eq. (A5): fewer are accepted the larger it is

    def __post_init__(self) -> None:
        for name in ("n_samples", "batch_size", "samples_per_shard", "rejection_epochs", "rejection_bound"):
            check(getattr(self, name) >= 1, f"{name}: expected at least 1, found {getattr(self, name)}")
        check(
            self.rejection_epsilon > 0, f"rejection_epsilon: expected a positive number, found {self.rejection_epsilon}"
        )
        check(
            self.from_latents is None or not (self.latents_only or self.rejection),
            "from_latents: a file of latents says what is drawn; expected neither latents_only nor rejection with it",
        )
        check(
            self.figure is None or self.figure.endswith((".png", ".pdf")),
            f"figure: expected a name that ends in .png or .pdf, found {self.figure}",
        )
        check(not (self.figure and self.latents_only), "figure: latents make none; expected no latents_only with it")
        check(not (self.generator and self.rejection), "rejection: needs the run that trained; expected no generator")


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
        check(self.n_k is None or self.n_k >= 1, f"n_k: expected at least 1 bin or null, found {self.n_k}")
        check(self.n_k is None or self.k_bins == "linear", f"n_k: expected null with k_bins: paper, found {self.n_k}")
        check(self.shot_noise >= 0, f"shot_noise: expected no negative power, found {self.shot_noise}")
        check(self.batch_size >= 1, f"batch_size: expected at least 1, found {self.batch_size}")
