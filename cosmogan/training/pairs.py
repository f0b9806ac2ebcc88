"""Give training samples of a local generator: crops of boxes, with the input around them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from cosmogan.gan import latent
from cosmogan.gan.symmetry import each_oriented
from cosmogan.shards import Folder
from cosmogan.training.crops import to_device
from cosmogan.training.dataset import Batch, Share, symmetries
from hpc import memory

SAME_MODES = 0.9  # correlation of two runs of one box on its largest scales, at the least
LARGE_SCALES = 3.0  # fundamentals


class Boxes:
    """Whole periodic boxes of a folder of shards, each read once, when it is first wanted.

    Parameters
    ----------
    folder : of simulated subvolumes

    Raises
    ------
    ValueError
        when a box does not have each of its subvolumes once.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder, self.n_mesh = folder, folder.geometry.n_mesh
        self._held: dict[int, torch.Tensor] = {}
        wanted = (self.n_mesh // folder.geometry.subvolume) ** 3
        for simulation in np.unique(folder.simulations).tolist():
            corners = folder.corners[folder.rows_of([simulation])]
            n = len(np.unique(corners, axis=0))
            if n != wanted or len(corners) != wanted:
                raise ValueError(
                    f"{folder.path}: simulation {simulation}: expected each of its {wanted} subvolumes once, found "
                    f"{len(corners)}, {n} of them distinct; preprocess again"
                )

    def box(self, simulation: int) -> torch.Tensor:
        """Return the density of a box, (n_mesh, n_mesh, n_mesh) float32."""
        if simulation not in self._held:
            rows, m = self.folder.rows_of([simulation]), self.folder.geometry.subvolume
            box = torch.empty(*[self.n_mesh] * 3)
            for corner, density in zip(self.folder.corners[rows].tolist(), self.folder.read(rows), strict=True):
                x, y, z = (slice(c, c + m) for c in corner)
                box[x, y, z] = torch.from_numpy(density)
            self._held[simulation] = box
        return self._held[simulation]

    def crops(self, simulations: np.ndarray, corners: np.ndarray, side: int) -> torch.Tensor:
        """Return cubes of boxes, which are periodic, (n, side, side, side) float32.

        Parameters
        ----------
        simulations : (n,) int
        corners : (n, 3) int, first cells; they may lie beyond the box
        side : cells a side
        """
        cubes = []
        cells = torch.from_numpy((corners[:, :, None] + np.arange(side)) % self.n_mesh)
        for simulation, (x, y, z) in zip(simulations.tolist(), cells, strict=True):
            cubes.append(self.box(simulation)[x[:, None, None], y[:, None], z])
        return torch.stack(cubes)


class PairedSet:
    """Gives crops of boxes beside the input around them; sample n is the same for any number of processes.

    Boxes come in turn, in a new random order each time round. A crop begins at any cell of its box, and has any of the
    48 orientations.

    Parameters
    ----------
    target, quick : the boxes to imitate, and those to start from
    simulations : that are trained on
    side, halo : cells a side of a crop, and of the input beyond it
    device : where samples go
    """

    def __init__(
        self, target: Boxes, quick: Boxes, simulations: Sequence[int], side: int, halo: int, device: torch.device
    ) -> None:
        self._target, self._quick, self._simulations = target, quick, np.array(simulations)
        self._side, self._halo, self._device = side, halo, device
        self._reader = ThreadPoolExecutor(1)

    def batches(self, seed: int, first: int, stride: int, part: Share) -> Iterator[Batch]:
        """Yield this process's part of batch after batch; the next is cut meanwhile. Arguments as `TrainingSet`'s."""
        first += part.offset
        coming = self._reader.submit(self._samples, seed, first, part.size)
        while True:
            batch = coming.result()
            first += stride
            coming = self._reader.submit(self._samples, seed, first, part.size)
            yield batch

    def fakes(self, seed: int, first: int, n: int) -> Batch:
        """Return what consecutive fakes are drawn for: the real samples in their place."""
        return self._samples(seed, first, n)

    def _samples(self, seed: int, first: int, n: int) -> Batch:
        """Return samples number ``first`` on, each in an orientation of its own, with the input around them."""
        simulations, corners = self.places(seed, first, n)
        turns, side, halo = symmetries(seed, first, n), self._side, self._halo
        cubes = (
            self._target.crops(simulations, corners, side),
            self._quick.crops(simulations, corners - halo, side + 2 * halo),
        )
        density, surroundings = (each_oriented(to_device(part, self._device), turns) for part in cubes)
        return Batch(density[:, None], surroundings=surroundings)

    def previews(self, n: int) -> Batch:
        """Return what the samples of a preview are drawn for."""
        return self._samples(0, 0, n)

    def places(self, seed: int, first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the simulations and first cells of samples, (n,) and (n, 3)."""
        rounds, slots = np.divmod(np.arange(first, first + n), len(self._simulations))
        orders = {
            number: np.argsort(latent.bits(seed, latent.SHUFFLE, number, (1, len(self._simulations)))[0])
            for number in set(rounds.tolist())
        }
        places = np.array([orders[number][slot] for number, slot in zip(rounds.tolist(), slots, strict=True)])
        corners = (latent.bits(seed, latent.CROP, first, (n, 3)) % self._target.n_mesh).astype(int)
        return self._simulations[places], corners


def check_pairs(target: Folder, quick: Folder, simulations: Sequence[int]) -> None:
    """Check that two folders hold the same boxes, by their geometry and by the large scales of the first box.

    Raises
    ------
    ValueError
        names what differs.
    """
    for name in ("n_mesh", "subvolume", "cell_size"):
        values = [getattr(folder.geometry, name) for folder in (target, quick)]
        if abs(values[0] - values[1]) > 1e-6 * values[0]:
            raise ValueError(f"{quick.path}: expected {name} = {values[0]:g}, as in {target.path}, found {values[1]:g}")
    bytes_wanted = 2 * len(simulations) * 4.0 * target.geometry.n_mesh**3
    free = memory.available(torch.device("cpu"))
    if bytes_wanted > free:
        raise ValueError(
            f"{target.path}: {len(simulations)} boxes and their inputs take {bytes_wanted / 1e9:.3g} GB, found "
            f"{free / 1e9:.3g} GB free; set n_training"
        )
    boxes = [Boxes(folder).box(simulations[0]) for folder in (target, quick)]
    same = large_scale_correlation(*boxes)
    if not same > SAME_MODES:
        raise ValueError(
            f"{quick.path}: simulation {simulations[0]}: expected the initial modes of {target.path}, found a "
            f"correlation of {same:.2f} on the largest scales; simulate again"
        )


def large_scale_correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the correlation of two boxes' modes longer than a third of the box."""
    n = first.shape[0]
    modes = [torch.fft.rfftn(field - field.mean()).flatten() for field in (first, second)]
    axis = np.fft.fftfreq(n, 1 / n)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + np.arange(n // 2 + 1) ** 2).ravel()
    large = torch.from_numpy((q > 0) & (q <= LARGE_SCALES))
    a, b = (field[large] for field in modes)
    return float((a * b.conj()).real.sum() / (a.abs().square().sum() * b.abs().square().sum()).sqrt())
