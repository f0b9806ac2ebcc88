"""One simulated box, from random numbers to snapshots."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from cosmogan import config
from cosmogan.nbody import cosmology, gadget, lpt, particle_mesh, transfer
from hpc import rundir
from hpc.log import Progress

HALO = 1  # GADGET-2's particle type for dark matter
UNITS = {"Mpc/h": 1.0, "kpc/h": 1000.0}  # one Mpc/h in the file's length unit


def schedule(experiment: config.Experiment) -> list[np.ndarray]:
    """Return the scale factors of the steps that lead to each redshift."""
    settings = experiment.simulate
    return particle_mesh.schedule(settings.redshift_initial, settings.redshifts, settings.n_steps)


def run(
    experiment: config.Experiment,
    number: int,
    schedule: list[np.ndarray],
    paths: list[Path],
    device: torch.device,
    progress: Progress,
) -> None:
    """Simulate box ``number`` and write its snapshots to ``paths``, one for each stretch of the schedule."""
    settings, omega_m = experiment.simulate, experiment.cosmology.omega_m
    n_mesh = settings.mesh_factor * settings.n_particles
    positions, velocities = initial_conditions(experiment, number, device)
    # CIC has a kink at the nodes, where the particles' lattice would start: half-way between, a mesh as coarse as the
    # lattice follows the finer ones better (correlation 0.98 instead of 0.95 at 0.6 of its Nyquist frequency).
    half = settings.box_size / (2 * n_mesh)
    positions.add_(half).remainder_(settings.box_size)
    for steps, redshift, path in zip(schedule, settings.redshifts, paths, strict=True):
        for _ in particle_mesh.evolve(positions, velocities, steps, settings.box_size, n_mesh, omega_m):
            progress.advance(note=f"box {number}")
        write(experiment, redshift, (positions - half).remainder_(settings.box_size), velocities, path)


def initial_conditions(
    experiment: config.Experiment, number: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions [Mpc/h] and velocities dx/dD [Mpc/h] at the initial redshift, (n, 3) each."""
    settings, cosmos = experiment.simulate, experiment.cosmology
    matter = transfer.transfer(settings.transfer_found, cosmos.omega_m, cosmos.omega_b, cosmos.h, cosmos.n_s)
    power = partial(cosmology.linear_power, transfer=matter, n_s=cosmos.n_s, sigma_8=cosmos.sigma_8)
    second = settings.paired and number % 2 == 1
    modes = lpt.unit_modes(settings.n_particles, settings.seed, number - second).to(device)
    if settings.fixed_amplitudes:
        lpt.fix_amplitudes(modes)
    if second:
        modes.neg_()
    modes = lpt.linear_modes(modes, settings.box_size, power)
    return lpt.displace(modes, settings.box_size, 1 / (1 + settings.redshift_initial), cosmos.omega_m)


def write(
    experiment: config.Experiment, redshift: float, positions: torch.Tensor, velocities: torch.Tensor, path: Path
) -> None:
    """Write particles as one GADGET-2 file, in the experiment's length unit."""
    omega_m, a = experiment.cosmology.omega_m, 1 / (1 + redshift)
    size = experiment.simulate.box_size * UNITS[experiment.preprocess.length_unit]
    x = (positions * UNITS[experiment.preprocess.length_unit]).cpu().numpy()
    x[x >= size] = 0  # what rounding put on the far face
    velocities = velocities * float(cosmology.peculiar_velocity(a, omega_m) / a**0.5)  # GADGET-2 keeps v/√a [km/s]
    ids = np.arange(1, len(x) + 1, dtype=np.uint32)
    with rundir.whole_file(path) as temporary:
        gadget.write(temporary, x, velocities.cpu().numpy(), ids, header(experiment, redshift))


def header(experiment: config.Experiment, redshift: float) -> gadget.Header:
    """Return the header of a snapshot: all particles are of one type and in one file."""
    settings, cosmos = experiment.simulate, experiment.cosmology
    n = settings.n_particles**3
    mass = gadget.CRITICAL_DENSITY * cosmos.omega_m * settings.box_size**3 / n
    counts = tuple(n if kind == HALO else 0 for kind in range(gadget.N_TYPES))
    return gadget.Header(
        n_part=counts,
        mass_table=tuple(mass if count else 0.0 for count in counts),
        redshift=redshift,
        box_size=settings.box_size * UNITS[experiment.preprocess.length_unit],
        omega_m=cosmos.omega_m,
        omega_lambda=1 - cosmos.omega_m,
        h=cosmos.h,
        n_total=counts,
        n_files=1,
    )
