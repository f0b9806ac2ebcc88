"""State which subvolumes are drawn."""

from dataclasses import dataclass, field

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Sample:
    """The volumes that the released generator draws."""

    n_samples: int = 2000
    """The number of volumes, per condition."""

    seed: int = 1
    """The seed of the latents. Volume number i of a seed is always the same."""

    generator: FilePath | None = None
    """A released generator: the name of one in the package, as `web-32`, or a `.safetensors` file. With null it is this
    run's own.
    """

    figure: FilePath | None = None
    """The file of a figure of slabs and the voxel PDF of the volumes. Its name ends in .png or .pdf. With null there is
    none.
    """

    batch_size: int = 64
    """The number of volumes that are drawn at once."""

    samples_per_shard: int = 500
    """The number of volumes per file."""

    latents_only: bool = False
    """Write the latents and no volumes (`--latents`)."""

    from_latents: FilePath | None = None
    """A file of latents whose volumes are drawn (`--from-latents FILE`). With null the latents follow from `seed`."""

    condition: dict[str, float] = field(default_factory=dict)
    """The values of the conditions, as `{redshift: 0.5}` (`--redshift Z`). An empty mapping stands for all conditions
    of the held-out simulations in turn, `n_samples` each.
    """

    rejection: bool = False
    """Keep only the samples that rejection sampling with the discriminator accepts (appendix A of the paper;
    docs/sampling.md).
    """

    rejection_epochs: int = 5
    """The number of epochs for which the discriminator is first trained against the released generator."""

    rejection_bound: int = 2000
    """The number of samples whose largest logit is the bound d_M of rejection sampling."""

    rejection_epsilon: float = 0.01
    """The number ε of eq. (A5)."""

    rejection_gamma: float = 0.0
    """The number γ of eq. (A5). The larger it is, the fewer samples are accepted."""

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
