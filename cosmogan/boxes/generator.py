"""Draw boxes from a released local generator."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from cosmogan import config
from cosmogan.boxes import geometry, quick
from cosmogan.boxes.geometry import BoxGeometry, Tile
from cosmogan.gan import local_generator
from cosmogan.gan.local_generator import LocalGenerator
from hpc.log import Progress


class BoxGenerator:
    """A released local generator, which draws periodic boxes of any size.

    Attributes
    ----------
    local : the generator of tiles
    settings : the JSON beside its weights
    cosmology : of the simulations that it was trained on
    """

    def __init__(self, generator: LocalGenerator) -> None:
        self.local, self.settings = generator, generator.settings
        self.cosmology = config.Cosmology(**self.settings["cosmology"])

    def geometry(self, wanted: config.Box) -> BoxGeometry:
        """Return the geometry of a box; see `cosmogan.boxes.geometry.geometry`."""
        return geometry.geometry(wanted, self.settings["geometry"])

    def quick_simulation(self, box: BoxGeometry, seed: int, cosmology: config.Cosmology) -> config.Experiment:
        """Return the quick simulation that a box is drawn from."""
        return quick.experiment(self.settings, cosmology, box, seed)

    def box(
        self,
        box_size: float | None = None,
        n_mesh: int | None = None,
        seed: int = 1,
        number: int = 0,
        region: tuple[int, ...] = (),
        **cosmology: float,
    ) -> np.ndarray:
        """Draw a box in memory: the quick simulation first, then tile by tile.

        Parameters
        ----------
        box_size : [Mpc/h]; None: it follows from n_mesh, or is that of the training boxes
        n_mesh : cells a side; None: as large as in training
        seed, number : of the initial modes and of the generator's random numbers
        region : first cell on each axis, and cells along each; empty: the whole box
        cosmology : where it differs from the training's, as ``sigma_8=0.8``

        Returns
        -------
        (n_mesh, n_mesh, n_mesh) float32, or of the region's shape: density in units of the mean

        Raises
        ------
        ValueError
            when cells are far from those of the training, or the simulation does not fit the memory.
        """
        box = self.geometry(config.Box(box_size, n_mesh, seed, number, region))
        simulated = self.quick_simulation(box, seed, dataclasses.replace(self.cosmology, **cosmology))
        with Progress("box: quick simulation", simulated.simulate.n_steps, "steps") as progress:
            field = quick.density(simulated, number, box.n_mesh, self.local.device, progress)
        density = np.empty(box.shape, np.float32)
        first = [start for start, _ in box.region]
        tiles = [tile for column in box.columns() for tile in box.tiles(column)]
        with Progress("box", len(tiles), "tiles") as progress:
            for tile in tiles:
                pairs = zip(tile.wanted, first, strict=True)
                x, y, z = (slice(start - origin, stop - origin) for (start, stop), origin in pairs)
                density[x, y, z] = self.tile(field, tile, seed, number)
                progress.advance()
        return density

    def tile(self, field: np.ndarray, tile: Tile, seed: int, number: int) -> np.ndarray:
        """Return the wanted part of a tile: the same, bit for bit, whatever else is drawn.

        Parameters
        ----------
        field : (n, n, n) density of the quick simulation; only what the tile sees of it is read
        tile : of the same mesh
        seed, number : of the box
        """
        halo = self.local.halo
        n = field.shape[0]
        pairs = zip(tile.corner, tile.shape, strict=True)
        x, y, z = (np.arange(first - halo, first + cells + halo) % n for first, cells in pairs)
        cells = (x[:, None, None] * n + y[:, None]) * n + z
        around = torch.from_numpy(field[np.ix_(x, y, z)])
        refined = self.local.refine(around[None], self.local.noise(seed, [number], cells[None]))
        return refined[0][tile.cut].cpu().numpy()


def load(path: Path | str, device: torch.device | str = "cpu", sha256: str | None = None) -> BoxGenerator:
    """Read a released local generator, to draw boxes.

    Raises
    ------
    ValueError
        when a file is missing, damaged, or not a local generator's; the message names it.
    """
    return BoxGenerator(local_generator.load(path, device, sha256))
