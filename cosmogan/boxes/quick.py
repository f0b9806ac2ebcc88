"""Run the quick simulation that a box is drawn from."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosmogan.boxes.geometry import BoxGeometry
from cosmogan.config import Cosmology, Experiment, Simulate
from cosmogan.nbody.paint import Painter
from cosmogan.simulations import box as simulation
from hpc.log import Progress

CIC = 2  # order of the window


def experiment(settings: dict[str, Any], cosmology: Cosmology, box: BoxGeometry, seed: int) -> Experiment:
    """Return the quick simulation of a box as an experiment.

    Parameters
    ----------
    settings : the released generator's
    cosmology : of the box
    box, seed : its geometry, and the seed of its initial modes
    """
    quick = settings["input"]
    simulate = Simulate(
        box_size=box.box_size,
        n_particles=round(quick["particles_per_cell"] * box.n_mesh),
        mesh_factor=quick["mesh_factor"],
        redshift_initial=quick["redshift_initial"],
        redshifts=(quick["redshift"],),
        n_steps=quick["n_steps"],
        transfer=quick["transfer"],
        seed=seed,
    )
    return Experiment("quick", "", cosmology=cosmology, simulate=simulate)


def density(quick: Experiment, number: int, n_mesh: int, device: torch.device, progress: Progress) -> np.ndarray:
    """Return the density of a quick simulation's box, (n_mesh, n_mesh, n_mesh) float32, in units of the mean.

    Raises
    ------
    ValueError
        when it does not fit the memory.
    """
    settings, n = quick.simulate, quick.simulate.n_particles
    mesh = np.empty((n_mesh,) * 3, np.float32)
    simulation.fitting(settings, device, fixed=True)

    def save(output: int, positions: torch.Tensor, velocities: torch.Tensor) -> None:
        painter = Painter((n_mesh / settings.box_size, n_mesh, n_mesh), np.zeros(1, np.int32), CIC)
        painter.add(simulation.in_file_units(positions, settings.box_size, "Mpc/h"))
        mesh[:] = painter.density(n_mesh**3 / n**3)[0][0]

    simulation.run(quick, number, Path("-"), device, save, progress)  # of one redshift no state is kept
    return mesh
