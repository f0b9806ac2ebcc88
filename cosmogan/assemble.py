"""Put together what `validate` measured as the tree that the file of statistics holds (`cosmogan.results`)."""

import dataclasses
import json

import numpy as np
import torch

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.results import FORMAT, N_SPLITS, Tree
from cosmogan.statistics import ensemble, fourier, pdf
from cosmogan.statistics.bispectra import Triangles
from hpc.rundir import provenance


def attributes(experiment: Experiment, simulated: shards.Folder, generated: shards.Folder) -> Tree:
    """Return what the file says of its origin."""
    geometry = simulated.geometry
    return {
        "format": FORMAT,
        "name": experiment.name,
        "engine": experiment.validate.engine,
        "seed": experiment.validate.seed,
        "kappa": experiment.model.kappa,
        "held_out": json.dumps(list(experiment.held_out)),
        "shards_sha256": simulated.checksum,
        "samples_sha256": generated.checksum,
        "versions": json.dumps(provenance()),
        "cell_size": geometry.cell_size,
        "subvolume_size": geometry.subvolume_size,
        **dataclasses.asdict(geometry),
    }


def wavenumbers(k_edges: np.ndarray, geometry: shards.Geometry) -> Tree:
    """Return the bins of a subvolume's power spectrum."""
    size, n = geometry.subvolume_size, geometry.subvolume
    made = fourier.bins(size, n, k_edges, torch.device("cpu"))
    limits = {"k_fundamental": fourier.k_fundamental(size), "k_nyquist": fourier.k_nyquist(size, n)}
    return {"k_unit": "h/Mpc", "k_edges": k_edges, "k": made.k, "n_modes": made.n_modes, **limits}


def statistics(
    values: dict[str, dict[str, np.ndarray]],
    training: dict[str, ensemble.Moments],
    k_edges: np.ndarray,
    triangles: tuple[Triangles, ...],
    geometry: shards.Geometry,
) -> Tree:
    """Put the values of all samples under their statistics, with their bins and summaries.

    Parameters
    ----------
    values : a set's name → a statistic's name → (n, d)
    training : a statistic's name → moments of the training boxes; may be empty
    """
    tree: Tree = {
        "power": {"unit": "(Mpc/h)^3", **wavenumbers(k_edges, geometry)},
        "pdf_scaled": {"unit": "fraction of voxels", "edges": pdf.scaled_edges()},
        "pdf_unscaled": {"unit": "fraction of voxels", "edges": pdf.unscaled_edges()},
        "mean_density": {"unit": "mean density of the universe"},
    }
    for i, triangle in enumerate(triangles):
        sides = {"k1": triangle.k1, "k2": triangle.k2, "theta": triangle.theta, "k3": triangle.k3}
        tree[f"bispectrum_{i}"] = {"unit": "(Mpc/h)^6", "k_unit": "h/Mpc", **sides}
        tree[f"reduced_{i}"] = {"unit": "1", "k_unit": "h/Mpc", **sides}
    for name, group in tree.items():
        group |= {label: ensemble.summary(found[name]) for label, found in values.items()}
        if name in training:
            moments = training[name]
            group["training"] = {"n": moments.n, "mean": moments.mean, "covariance": moments.covariance()}
    return tree


def noise_floor(values: dict[str, np.ndarray], seed: int) -> Tree:
    """Return each statistic's mean, and the power's variance, of one half of the samples over the other's, less 1."""
    halves = ensemble.random_halves(len(values["power"]), N_SPLITS, seed)
    floor = {name: ensemble.halves_ratio(samples, halves, ensemble.mean) for name, samples in values.items()}
    return {**floor, "power_variance": ensemble.halves_ratio(values["power"], halves, ensemble.variance)}
