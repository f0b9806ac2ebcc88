"""Simulate one box, from random numbers to its particles at each redshift."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cosmogan import config
from cosmogan.nbody import cosmology, gadget, lpt, particle_mesh, transfer
from cosmogan.simulations.simulated import UNITS
from hpc import memory
from hpc.files import whole_file
from hpc.log import Progress, say

Save = Callable[[int, torch.Tensor, torch.Tensor], None]  # the redshift's number, positions, velocities


def schedule(settings: config.Simulate) -> list[np.ndarray]:
    """Return the scale factors of the steps that lead to each redshift."""
    return particle_mesh.schedule(settings.redshift_initial, settings.redshifts, settings.n_steps)


def fitting(settings: config.Simulate, device: torch.device, fixed: bool = False) -> config.Simulate:
    """Return the settings as they fit the device's memory: on a small GPU with a coarser force mesh.

    Parameters
    ----------
    fixed : no other mesh may be taken: others work on the same boxes, or have begun with it

    Raises
    ------
    ValueError
        when it does not fit.
    """
    gpu = device.type == "cuda"
    n, factor, free = settings.n_particles, settings.mesh_factor, memory.available(device)
    coarsest, own = (particle_mesh.memory(n**3, f * n, gpu) for f in (1, factor))
    if own <= free:
        return settings
    shortage = f"needs {own / 1e9:.3g} GB, found {free / 1e9:.3g} GB free on {device}"
    if gpu and coarsest <= free and not fixed:
        say(f"warning: simulate.mesh_factor: {factor} {shortage}; taking 1, whose small scales are less accurate")
        return dataclasses.replace(settings, mesh_factor=1)
    fits = next((m for m in range(n, 1, -1) if particle_mesh.memory(m**3, factor * m, gpu) <= free), 1)
    coarser = f", simulate.mesh_factor=1 ({coarsest / 1e9:.3g} GB)" if coarsest <= free else ""
    raise ValueError(
        f"simulate.n_particles: {n}³ particles with a force mesh of {factor * n}³ cells: {shortage}; "
        f"expected at most {fits}³ particles{coarser}, or more memory"
    )


def run(
    experiment: config.Experiment,
    number: int,
    state: Path,
    device: torch.device,
    save: Save,
    progress: Progress,
) -> None:
    """Simulate box ``number``.

    Parameters
    ----------
    experiment : with the box's own cosmology
    state : file that holds the particles between two redshifts, and from which an interrupted box resumes
    save : called at each redshift with positions in [0, L] [Mpc/h] and velocities dx/dD [Mpc/h], (n, 3) each
    progress : advanced by the steps
    """
    settings, omega_m = experiment.simulate, experiment.cosmology.omega_m
    n_mesh = settings.mesh_factor * settings.n_particles
    # CIC has a kink at the nodes, where the particles' lattice would start: half-way between, a mesh as coarse as the
    # lattice follows the finer ones better (correlation 0.98 instead of 0.95 at 0.6 of its Nyquist frequency).
    half = settings.box_size / (2 * n_mesh)
    stretches = schedule(settings)
    first = next_output(state)
    if first > 0:
        positions, velocities = _read_state(state, device)
        progress.advance(sum(len(steps) - 1 for steps in stretches[:first]), f"box {number}")
    else:
        positions, velocities = initial_conditions(experiment, number, device)
        positions.add_(half).remainder_(settings.box_size)
    for output, steps in list(enumerate(stretches))[first:]:
        for _ in particle_mesh.evolve(positions, velocities, steps, settings.box_size, n_mesh, omega_m):
            progress.advance(note=f"box {number}")
        save(output, (positions - half).remainder_(settings.box_size), velocities)
        if output < len(stretches) - 1:
            _write_state(state, output + 1, positions, velocities)
    state.unlink(missing_ok=True)


def next_output(state: Path) -> int:
    """Return the number of the redshift at which a box resumes from its state; 0 when there is none."""
    if not state.exists():
        return 0
    with np.load(state) as file:
        return int(file["next_output"])


def _write_state(path: Path, following: int, positions: torch.Tensor, velocities: torch.Tensor) -> None:
    x, v = positions.cpu().numpy(), velocities.cpu().numpy()
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, next_output=following, positions=x, velocities=v)


def _read_state(path: Path, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(path) as file:
        positions, velocities = (torch.from_numpy(file[name]).to(device) for name in ("positions", "velocities"))
    return positions, velocities


def initial_conditions(
    experiment: config.Experiment, number: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions [Mpc/h] and velocities dx/dD [Mpc/h] at the initial redshift, (n, 3) each."""
    settings, cosmos = experiment.simulate, experiment.cosmology
    if settings.initial_conditions is not None:
        return _read_initial_conditions(experiment, Path(settings.initial_conditions), device)
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


def _read_initial_conditions(
    experiment: config.Experiment, path: Path, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the particles of a GADGET-2 file of format 1 or 2, as `initial_conditions` does.

    Raises
    ------
    ValueError
        when it is not of the experiment's box, number of particles, cosmology and initial redshift.
    """
    settings, unit, file = experiment.simulate, UNITS[experiment.preprocess.length_unit], gadget.open_file(path)
    for name, value, expected in (
        ("simulate.n_particles", sum(file.header.n_part) ** (1 / 3), settings.n_particles),
        ("simulate.box_size", file.header.box_size / unit, settings.box_size),
        ("simulate.redshift_initial", file.header.redshift, settings.redshift_initial),
        ("cosmology.omega_m", file.header.omega_m, experiment.cosmology.omega_m),
        ("the number of files", file.header.n_files, 1),
    ):
        if not np.isclose(value, expected, rtol=1e-4):
            raise ValueError(f"{path}: simulate.initial_conditions: expected {name} = {expected:g}, found {value:g}")
    positions = np.empty((sum(file.header.n_part), 3), file.position_dtype)
    file.read_positions(positions, "all", 0)
    a = 1 / (1 + settings.redshift_initial)
    to_growth = a**0.5 / cosmology.peculiar_velocity(a, experiment.cosmology.omega_m)
    x = torch.from_numpy((positions / unit).astype(np.float32)).to(device).remainder_(settings.box_size)
    return x, torch.from_numpy(gadget.read_velocities(file) * np.float32(to_growth)).to(device)


def in_file_units(positions: torch.Tensor, box_size: float, length_unit: str) -> np.ndarray:
    """Return positions (n, 3) [Mpc/h] as a file holds them: in its length unit, in [0, L)."""
    unit = UNITS[length_unit]
    x = (positions * unit).cpu().numpy()
    x[x >= box_size * unit] = 0  # positions that rounding put on the far face
    return x


def gadget_velocities(velocities: torch.Tensor, a: float, omega_m: float) -> np.ndarray:
    """Return velocities dx/dD [Mpc/h] as GADGET-2 keeps them, v/√a [km/s]."""
    return (velocities * float(cosmology.peculiar_velocity(a, omega_m) / a**0.5)).cpu().numpy()
