"""State the networks, the scaling of the density and the latent prior."""

from dataclasses import dataclass
from typing import Literal

from cosmogan.config.check import check


@dataclass(frozen=True)
class Model:
    """The networks, the scaling of the density and the latent prior. `preprocess.subvolume` sets the networks' size."""

    kappa: float = 45.0
    """The density κ, in units of the mean, whose scaled value 2ρ/(ρ + κ) − 1 is 0 (eq. 5 of the paper)."""

    width: int = 32
    """The number of channels of the layer next to the density. It doubles at each halving of the side."""

    latent_dimension: int = 100
    """The number of independent numbers in a latent vector."""

    prior: Literal["student_t", "gaussian", "cauchy", "gaussian_mixture"] = "student_t"
    """The distribution of the latent numbers (docs/training.md)."""

    degrees_of_freedom: float = 10.0
    """The degrees of freedom ν of the prior `student_t`."""

    mixture_fraction: float = 0.1
    """The fraction of the numbers of `gaussian_mixture` that come from its wide Gaussian."""

    mixture_width: float = 3.0
    """The standard deviation of the wide Gaussian of `gaussian_mixture`; that of the other one is 1."""

    density_bias: bool = False
    """Add a bias in the two layers next to the density, which the paper's networks lack. Fakes then start at the mean
    density. The discriminator then sees the level of the density, which its BatchNorm removes otherwise.
    """

    discriminator_kappa: tuple[float, ...] = ()
    """Further κ, in units of the mean density, with which the discriminator sees the scaled density, one channel each.
    A κ far below `kappa` resolves nearly empty cells. The paper's networks have none.
    """

    discriminator_log: float | None = None
    """The density, in units of the mean, that is added before the discriminator sees the logarithm of the density in a
    channel of its own, as 0.01. With null there is no such channel.
    """

    discriminator_power: tuple[float, ...] = ()
    """Densities, in units of the mean, as `[1, 3000]`. For each the discriminator also sees ln P(k) of the density that
    saturates there.
    """

    resize: bool = False
    """Let the generator's last layer double the cells and convolve them by 3³, in place of a transposed convolution by
    4³.
    """

    condition: tuple[str, ...] = ()
    """Names of the numbers on which both networks are conditioned: `redshift`, or any number of the simulations, as
    `omega_m` (docs/conditions.md).
    """

    kappa_redshift: float = 0.0
    """The exponent p of κ (1 + z)^−p, by which κ falls with the redshift z of a condition."""

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
