"""State how generated and held-out subvolumes are measured."""

from dataclasses import dataclass
from typing import Literal

from cosmogan.config.check import check


@dataclass(frozen=True)
class Validate:
    """The statistics of generated against held-out subvolumes."""

    engine: Literal["native", "pylians", "nbodykit"] = "native"
    """The code that measures: this package's own (`native`), Pylians or nbodykit."""

    k_bins: Literal["linear", "paper"] = "linear"
    """The bins of k: of equal width (`linear`), or the paper's logarithmic ones per Mpc (`paper`)."""

    n_k: int | None = None
    """The number of linear bins. With null each is as wide as the fundamental wavenumber of the subvolume."""

    window: Literal["none", "ngp", "cic", "tsc", "pcs"] = "none"
    """The mass assignment whose window is divided out of spectra and bispectra."""

    shot_noise: float = 0.0
    """The power of shot noise that is subtracted, the volume per particle [(Mpc/h)³]."""

    batch_size: int = 64
    """The number of subvolumes that are measured at once, and kept as one block when `validate` is stopped."""

    seed: int = 1
    """The seed of the pairs of the cross power and of all other random choices."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Compute on a GPU (`cuda`), on the CPU, or (`auto`) on a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self.n_k is None or self.n_k >= 1, f"n_k: expected at least 1 bin or null, found {self.n_k}")
        check(self.n_k is None or self.k_bins == "linear", f"n_k: expected null with k_bins: paper, found {self.n_k}")
        check(self.shot_noise >= 0, f"shot_noise: expected no negative power, found {self.shot_noise}")
        check(self.batch_size >= 1, f"batch_size: expected at least 1, found {self.batch_size}")
