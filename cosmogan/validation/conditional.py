"""Measure a conditional generator at every condition, and along the redshift."""

import json
import math
from typing import Any

import numpy as np
import torch

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.gan import released, scaling
from cosmogan.nbody import cosmology
from cosmogan.shards.statistics_file import N_SPLITS, Tree
from cosmogan.statistics import fourier, power
from cosmogan.training import subvolumes
from cosmogan.validation import comparison, summaries
from hpc import mpi
from hpc.distributed import Processes
from hpc.log import Progress

BATCH = 32
N_STEPS = 31  # redshifts from the earliest to the latest, evenly in the growth factor
N_LATENTS = 32  # whose volumes are followed along them
PERCENTILES = (16, 50, 84)


def everything(experiment: Experiment, comm: mpi.Comm) -> Tree:
    """Return groups for the file of statistics, on rank 0; an empty tree elsewhere, and for an unconditional model.

    ``conditions`` has P(k) and mean density at every condition of which there are samples; ``sequence`` how
    volumes change when their latents are kept and the redshift falls.
    """
    if not experiment.model.condition:
        return {}
    groups: Tree = {"conditions": _conditions(experiment, comm)}
    if comm.rank > 0:
        return {}
    if "redshift" in experiment.model.condition and experiment.drawn_from.exists():
        groups["sequence"] = _sequence(experiment)
    return groups


def _conditions(experiment: Experiment, comm: mpi.Comm) -> Tree:
    """Return the statistics at each condition, stacked, on rank 0."""
    simulated, generated = subvolumes.open_shards(experiment), shards.open(experiment.samples_folder)
    names, omega_m = experiment.model.condition, experiment.cosmology.omega_m
    of_simulated, of_generated = (subvolumes.values(names, folder) for folder in (simulated, generated))
    held_out = simulated.rows_of(list(experiment.held_out))
    trained = np.unique(of_simulated[subvolumes.trained_rows(experiment, simulated)], axis=0)
    conditions = np.unique(of_generated, axis=0)
    measured = {}
    with Progress("validate: conditions", len(conditions[comm.rank :: comm.size]), "conditions", comm.rank) as progress:
        for i in range(comm.rank, len(conditions), comm.size):
            rows = held_out[_same(of_simulated[held_out], conditions[i])]
            nbody = _measured(simulated, rows)
            drawn = _measured(generated, np.flatnonzero(_same(of_generated, conditions[i])))
            held = comparison.of_rows(simulated, rows)
            floor = _noise_floor(held, nbody, drawn[0].shape[1], experiment.validate.seed)
            is_trained = int(_same(trained, conditions[i]).any())
            measured[i] = _compared(nbody, drawn) | {"noise_floor": floor, "trained": is_trained}
            progress.advance()
    parts = comm.gather(measured)
    if parts is None:
        return {}
    whole = {i: group for part in parts for i, group in part.items()}
    stacked = {name: np.stack([whole[i][name] for i in range(len(conditions))]) for name in whole[0]}
    size, n = simulated.geometry.subvolume_size, simulated.geometry.subvolume
    bins = fourier.bins(size, n, fourier.linear_edges(size, n), torch.device("cpu"))
    omegas = conditions[:, names.index("omega_m")] if "omega_m" in names else np.full(len(conditions), omega_m)
    about = {"names": json.dumps(list(names)), "k_nyquist": fourier.k_nyquist(size, n)}
    return {**about, "k": bins.k, "values": conditions, "omega_m": omegas, **stacked}


def _same(values: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Say which conditions (n, names) are the given condition (names,)."""
    return np.isclose(values, condition, rtol=1e-3, atol=2e-3).all(axis=1)


def _measured(folder: shards.Folder, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return P(k) (n, nk) and mean density (n,) of some volumes."""
    size = folder.geometry.subvolume_size
    spectra, means = [], []
    for start in range(0, len(rows), BATCH):
        density = torch.from_numpy(folder.read(rows[start : start + BATCH]))
        spectra.append(power.power_spectrum(density, size).power)
        means.append(density.mean(dim=(1, 2, 3), dtype=torch.float64).numpy())
    if not spectra:
        return np.empty((0, 0)), np.empty(0)
    return np.concatenate(spectra), np.concatenate(means)


def _compared(nbody: tuple[np.ndarray, np.ndarray], generated: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Return the statistics of both sets at one condition; nan without N-body volumes."""
    columns: dict[str, Any] = {}
    nk = generated[0].shape[1]
    for name, (spectra, density) in {"nbody": nbody, "generated": generated}.items():
        if len(spectra) < 2:
            spectra, density = np.full((2, nk), np.nan), np.full(2, np.nan)
        columns |= {
            f"{name}_mean": spectra.mean(0),
            f"{name}_error": spectra.std(0, ddof=1) / math.sqrt(len(spectra)),
            f"{name}_percentiles": np.percentile(spectra, PERCENTILES, axis=0),
            f"{name}_density": density.mean(),
        }
    return columns


def _noise_floor(volumes: comparison.Volumes, pair: tuple[np.ndarray, np.ndarray], nk: int, seed: int) -> np.ndarray:
    """Return mean P(k) of one half of some N-body volumes over the other half's, less 1, (N_SPLITS, nk).

    nan for ways to halve them that there are not.
    """
    spectra, density = pair
    floor = np.full((N_SPLITS, nk), np.nan)
    if len(volumes) > 1:
        values = {"power": spectra, "mean_density": density[:, None]}
        ratios = summaries.noise_floor(values, volumes, seed)["power"]
        floor[: len(ratios)] = ratios
    return floor


def growing_redshifts(early: float, late: float, omega_m: float, n: int) -> np.ndarray:
    """Return n falling redshifts, evenly spaced in the linear growth factor."""
    a = np.linspace(1 / (1 + early), 1 / (1 + late), 2048)
    growth = cosmology.growth(a, omega_m)
    z = 1 / np.interp(np.linspace(growth[0], growth[-1], n), growth, a) - 1
    z[[0, -1]] = early, late
    return z


def _sequence(experiment: Experiment) -> Tree:
    """Return how volumes change when their latents are kept and the redshift falls."""
    generator = released.load(experiment.drawn_from, Processes().device(experiment.train.device))
    conditions, size, n = generator.conditions, _size(generator), generator.geometry["subvolume"]
    assert conditions is not None
    at = conditions.names.index("redshift")
    redshifts = growing_redshifts(conditions.high[at], conditions.low[at], experiment.cosmology.omega_m, N_STEPS)
    values = np.repeat([conditions.distinct[len(conditions.distinct) // 2]], N_STEPS, axis=0)  # the other numbers stay
    values[:, at] = redshifts
    latents = generator.latents(experiment.validate.seed, np.arange(N_LATENTS))
    spectra, steps, slabs, before = [], [], [], None
    with Progress("validate: sequence", N_STEPS, "redshifts") as progress:
        for condition in values:
            density = generator(latents, condition[None])
            scaled = scaling.scale(density, experiment.model.kappa)
            if before is not None:
                steps.append(float(((scaled - before) ** 2).mean(dtype=torch.float64).sqrt()))
            before = scaled
            spectra.append(power.power_spectrum(density, size).power.mean(0))
            slabs.append(density[0, : max(n // 8, 1)].mean(dim=0).cpu().numpy())
            progress.advance()
    mean = np.array(spectra)
    below = fourier.bins(size, n, fourier.linear_edges(size, n), torch.device("cpu")).k <= fourier.k_nyquist(size, n)
    of_power = np.sqrt((np.diff(np.log(mean[:, below]), axis=0) ** 2).mean(axis=1))
    measured = {"redshifts": redshifts, "power": mean, "slabs": np.array(slabs), "size": size, "n_latents": N_LATENTS}
    return {**measured, "field_step": np.array(steps), "power_step": of_power}


def _size(generator: released.Released) -> float:
    """Return the side of a generator's volumes [Mpc/h]."""
    geometry = generator.geometry
    return geometry["subvolume"] * geometry["box_size"] / geometry["n_mesh"]
