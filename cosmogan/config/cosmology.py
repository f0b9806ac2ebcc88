"""State the cosmology of the simulations."""

from dataclasses import dataclass

from cosmogan.config.check import check


@dataclass(frozen=True)
class Cosmology:
    """A flat ΛCDM universe."""

    omega_m: float = 0.29
    """The density parameter of all matter today."""

    omega_b: float = 0.047
    """The density parameter of baryons today; it is part of `omega_m`."""

    h: float = 0.695
    """The Hubble constant in units of 100 km/s/Mpc."""

    n_s: float = 0.96
    """The slope of the primordial power spectrum."""

    sigma_8: float = 0.82
    """The linear rms overdensity in spheres of 8 Mpc/h at redshift 0."""

    def __post_init__(self) -> None:
        check(0 < self.omega_m <= 1, f"omega_m: expected a number in (0, 1], found {self.omega_m}")
        check(
            0 < self.omega_b < self.omega_m, f"omega_b: expected a number between 0 and omega_m, found {self.omega_b}"
        )
        check(0.1 < self.h < 2, f"h: expected H0/(100 km/s/Mpc), as 0.7, found {self.h}")
        check(0 < self.n_s < 3, f"n_s: expected a slope near 1, as 0.96, found {self.n_s}")
        check(0 < self.sigma_8 < 10, f"sigma_8: expected a positive number, as 0.8, found {self.sigma_8}")
