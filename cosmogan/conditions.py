"""Conditional runs, between the libraries: which subvolumes are trained on, and the numbers that belong to each."""

from typing import TYPE_CHECKING

import numpy as np

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.shards.schema import in_words, same_redshift

if TYPE_CHECKING:  # which imports torch
    from cosmogan.gan.conditions import TrainingConditions


def open_shards(experiment: Experiment) -> shards.Folder:
    """Open the simulated subvolumes: at all redshifts when the generator is told the redshift, else at one."""
    if "redshift" in experiment.model.condition:
        return shards.open(experiment.shards_folder)
    return shards.open_one(experiment.shards_folder, experiment.redshift)


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
            there = ", ".join(["redshift", *shard.parameters])
            raise ValueError(
                f"model.condition: {shard.path} does not carry {name}, it has {there}; give it in "
                "preprocess.parameters and preprocess again, or condition on what is there"
            )
    return np.repeat([shard.parameters[name] for shard in folder.shards], [shard.rows for shard in folder.shards])


def values(experiment: Experiment, folder: shards.Folder) -> np.ndarray:
    """Return the condition of every row, (n, numbers) float64."""
    return np.stack([column(folder, name) for name in experiment.model.condition], axis=1).astype(float)


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


def of_training(experiment: Experiment, folder: shards.Folder, rows: np.ndarray) -> "TrainingConditions | None":
    """Return the conditions of the rows that are trained on; None for an unconditional model."""
    if not experiment.model.condition:
        return None
    from cosmogan.gan.conditions import TrainingConditions

    found = values(experiment, folder)[rows]
    return TrainingConditions(experiment.model, found, experiment.train.fake_conditions)
