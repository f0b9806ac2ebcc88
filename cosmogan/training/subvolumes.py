"""Choose the subvolumes that are trained on, and read the conditions that belong to each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cosmogan import shards
from cosmogan.config import Experiment, Model
from cosmogan.nbody.gadget import CRITICAL_DENSITY
from cosmogan.shards.schema import in_words, same_redshift
from hpc.settings import to_tree


def open_shards(experiment: Experiment) -> shards.Folder:
    """Open the simulated subvolumes: at all redshifts when the generator is conditioned on it, else at one."""
    if "redshift" in experiment.model.condition:
        return shards.open(experiment.shards_folder)
    return shards.open_one(experiment.shards_folder, experiment.redshift)


def of_quick_simulation(experiment: Experiment) -> dict[str, Any]:
    """Return what a local generator's settings say of the simulations that it starts from, and of their cosmology."""
    quick, settings = experiment.quick.simulate, experiment.input
    about = {
        **to_tree(settings),
        "redshift": quick.redshifts[-1],
        "particles_per_cell": quick.n_particles / experiment.preprocess.n_mesh,  # along a side
        "transfer": quick.transfer_found,
    }
    return {"input": about, "cosmology": to_tree(experiment.cosmology)}


def column(folder: shards.Folder, name: str) -> np.ndarray:
    """Return a number of every row, (n,): its redshift, or a parameter of its simulation.

    Raises
    ------
    ValueError
        when a shard does not carry it: names those that it has.
    """
    if name == "redshift":
        return folder.redshifts
    for shard in folder.shards:
        if name not in shard.parameters:
            names = ", ".join(["redshift", *shard.parameters])
            raise ValueError(
                f"model.condition: {shard.path} does not carry {name}, it has {names}; give it in "
                "preprocess.parameters and preprocess again, or condition on what is there"
            )
    return np.repeat([shard.parameters[name] for shard in folder.shards], [shard.rows for shard in folder.shards])


def values(names: Sequence[str], folder: shards.Folder) -> np.ndarray:
    """Return the condition of every row, (n, names) float64."""
    return np.stack([column(folder, name) for name in names], axis=1).astype(float)


def trained_rows(experiment: Experiment, folder: shards.Folder) -> np.ndarray:
    """Return the rows that are trained on.

    Those of the simulations that are not held out, at ``redshifts``; with ``separate_boxes`` simulation number i of
    these at redshift number i modulo their number alone.

    Raises
    ------
    ValueError
        when there are fewer simulations than ``n_training``, or one of ``redshifts`` is not there.
    """
    simulations = experiment.trained_on(folder.simulations.tolist())
    rows = folder.rows_of(simulations)
    if "redshift" not in experiment.model.condition:
        return rows
    redshifts = folder.redshifts[rows]
    wanted = [_nearest(folder, z) for z in experiment.redshifts] or list(folder.redshift_values)
    kept = np.isin(redshifts, wanted)
    if experiment.separate_boxes:
        turn = np.searchsorted(simulations, folder.simulations[rows]) % len(wanted)
        kept = redshifts == np.array(wanted)[turn]
    return rows[kept]


def _nearest(folder: shards.Folder, redshift: float) -> float:
    """Return the folder's value of a redshift."""
    for value in folder.redshift_values:
        if same_redshift(value, redshift):
            return value
    raise ValueError(f"redshifts: {folder.path} has {in_words(folder.redshift_values)}, found {redshift:g}")


def to_sample(experiment: Experiment) -> list[dict[str, float]]:
    """Return the conditions that `sample` draws, by name; one that is empty for an unconditional generator.

    It is ``sample.condition``; without it all of the held-out simulations, or, with none held out, of all.
    """
    names = experiment.model.condition
    if experiment.sample.condition or not names:
        return [dict(experiment.sample.condition)]
    folder = open_shards(experiment)
    rows = folder.rows_of(list(experiment.held_out)) if experiment.held_out else np.arange(len(folder))
    conditions = np.unique(values(names, folder)[rows], axis=0)
    return [dict(zip(names, condition, strict=True)) for condition in conditions.tolist()]


def geometry_of(geometry: dict[str, Any], condition: dict[str, float]) -> shards.Geometry:
    """Return the geometry of subvolumes that are drawn under a condition; nan where nothing says a cell's mass."""
    fields: dict[str, Any] = {name: float("nan") if value is None else value for name, value in geometry.items()}
    drawn = shards.Geometry(**fields)
    if "redshift" in condition:
        drawn = dataclasses.replace(drawn, redshift=condition["redshift"])
    if "omega_m" in condition:
        mass = CRITICAL_DENSITY * condition["omega_m"] * drawn.cell_size**3
        drawn = dataclasses.replace(drawn, mean_cell_mass=mass)
    return drawn


def open_compared(experiment: Experiment) -> tuple[shards.Folder, shards.Folder]:
    """Open simulated and generated subvolumes at the one redshift at which all statistics are compared.

    For a generator of all redshifts it is the setting ``redshift``, or else the latest that was drawn.
    """
    folders = experiment.shards_folder, experiment.samples_folder
    if "redshift" not in experiment.model.condition:
        return shards.open_one(folders[0], experiment.redshift), shards.open_one(folders[1])
    drawn = shards.open(experiment.samples_folder)
    redshift = drawn.redshift_values[0] if experiment.redshift is None else experiment.redshift
    return shards.open(folders[0], redshift), shards.open(folders[1], redshift)


def kappa_at(model: Model, redshift: float) -> float:
    """Return the scaling's kappa at a redshift."""
    return model.kappa * (1 + redshift) ** -model.kappa_redshift if model.kappa_redshift else model.kappa
