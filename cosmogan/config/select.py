"""State how a generator is chosen and calibrated."""

from dataclasses import dataclass

from cosmogan.config.check import check
from hpc.paths import FilePath


@dataclass(frozen=True)
class Select:
    """The choice of the generator that is released, and its latent scale or calibration."""

    n_samples: int = 256
    """The number of volumes that each candidate draws for its score."""

    first_epoch: int = 1
    """The first epoch whose generator is a candidate."""

    bispectrum: bool = False
    """Count the bispectrum of the paper's second and third pair of sides in the score."""

    n_tune: int = 1024
    """The number of volumes that are drawn for each trial of the latent scale. With 0 the scale stays 1."""

    calibrate: bool = False
    """Calibrate the released generator to the training set, in place of its latent scale (docs/selection.md)."""

    n_calibrate: int = 1024
    """The number of volumes that are drawn to fit the calibration."""

    generator: FilePath | None = None
    """A released generator to calibrate: the name of one in the package, as `web-32`, or a `.safetensors` file. With
    null a generator of this run's training is chosen.
    """

    orient: bool = False
    """Let the released generator turn each volume into one of the 48 orientations of the cube, all equally often."""

    def __post_init__(self) -> None:
        check(self.n_samples >= 16, f"n_samples: expected at least 16, found {self.n_samples}")
        check(self.first_epoch >= 1, f"first_epoch: expected at least 1, found {self.first_epoch}")
        check(self.n_tune == 0 or self.n_tune >= 16, f"n_tune: expected 0 or at least 16, found {self.n_tune}")
        check(self.n_calibrate >= 1, f"n_calibrate: expected at least 1, found {self.n_calibrate}")
        check(
            self.generator is None or self.calibrate,
            f"generator: expected null without calibrate, which is all that is done to it; found {self.generator}",
        )
