"""Summarise the densities of a folder in one pass over them, in batches."""

from dataclasses import dataclass, field

import numpy as np

from cosmogan.shards.folder import Folder
from hpc.log import Progress

BATCH_BYTES = 8e6  # of densities held at once, with about eight times as much beside them
LOWEST, HIGHEST, PER_DECADE = -6, 8, 10  # bins of log10 density; what lies beyond is counted in the last ones


def edges() -> np.ndarray:
    """Return the edges of the bins of density, (nbins + 1,), in units of the mean."""
    return np.logspace(LOWEST, HIGHEST, (HIGHEST - LOWEST) * PER_DECADE + 1)


@dataclass
class Tally:
    """The densities of one redshift, all in units of the mean density of the universe."""

    n: int = 0  # subvolumes
    n_voxels: int = 0
    n_empty: int = 0  # voxels of density 0
    n_bad: int = 0  # voxels that are not finite, or negative
    least: float = np.inf
    densest: float = -np.inf
    counts: np.ndarray = field(default_factory=lambda: np.zeros((HIGHEST - LOWEST) * PER_DECADE, np.int64))
    mean: float = 0.0
    _squares: float = 0.0  # sum of squared differences of the subvolumes' means from their mean

    def add(self, density: np.ndarray) -> None:
        """Count a batch of subvolumes, (b, m, m, m)."""
        good = density[np.isfinite(density) & (density > 0)]
        place = np.clip((np.log10(good) - LOWEST) * PER_DECADE, 0, len(self.counts) - 1).astype(np.int32)
        self.counts += np.bincount(place, minlength=len(self.counts))
        n_empty = int(np.count_nonzero(density == 0))
        self.n_voxels += density.size
        self.n_empty += n_empty
        self.n_bad += density.size - good.size - n_empty
        self.least = min(self.least, float(density.min()))
        self.densest = max(self.densest, float(density.max()))
        self._merge(density.mean(axis=(1, 2, 3), dtype=np.float64))

    @property
    def scatter(self) -> float:
        """Standard deviation of the subvolumes' means; nan for a single one."""
        return float(np.sqrt(self._squares / (self.n - 1))) if self.n > 1 else float("nan")

    @property
    def pdf(self) -> np.ndarray:
        """The fraction of voxels a decade of density, (nbins,)."""
        return self.counts * (PER_DECADE / max(self.n_voxels, 1))

    def _merge(self, means: np.ndarray) -> None:
        """Take up more means by the rule of Chan, Golub & LeVeque (1983), which loses no digits."""
        n, shift = len(means), means.mean() - self.mean
        self._squares += ((means - means.mean()) ** 2).sum() + shift**2 * self.n * n / (self.n + n)
        self.mean += float(shift * n / (self.n + n))
        self.n += n


def tally(folder: Folder) -> dict[float, Tally]:
    """Return a summary of each redshift's densities, read in batches."""
    tallies = {redshift: Tally() for redshift in folder.redshift_values}
    size = max(int(BATCH_BYTES / (4 * folder.geometry.subvolume**3)), 1)
    with Progress(f"show {folder.path.name}", len(folder), "subvolumes") as progress:
        for redshift in folder.redshift_values:
            rows = np.flatnonzero(folder.redshifts == redshift)
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                tallies[redshift].add(folder.read(part))
                progress.advance(len(part))
    return tallies
