"""Set up a training: the trainer, its data, and copies of the shards on each node."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from cosmogan import config
from cosmogan.gan import local
from cosmogan.gan.conditions import TrainingConditions
from cosmogan.shards import Folder
from cosmogan.shards.schema import in_bytes
from cosmogan.training import crops, dataset, pairs, subvolumes
from cosmogan.training.design import LatentDesign, LocalDesign
from cosmogan.training.preview import Preview
from cosmogan.training.trainer import Trainer
from hpc import memory, staging
from hpc.distributed import Processes
from hpc.log import say

N_CHECKED = 32  # subvolumes whose mean density is checked


@contextlib.contextmanager
def staged(experiment: config.Experiment, processes: Processes) -> Iterator[Mapping[Path, Path]]:
    """Copy the shards that are trained on to each node, by ``train.stage_to``; yield where each copy is."""
    place = experiment.train.stage_to
    if place is None:
        yield {}
        return
    folder = subvolumes.open_shards(experiment)
    sums = {line["file"]: line["sha256"] for line in folder.manifest["shards"]}
    paths = [shard.path for shard in folder.shards_of(training_rows(experiment, folder))]
    say(f"train: copying {len(paths)} shards to {place} on each node", processes.rank)
    files = {path: sums[path.name] for path in paths}
    with staging.staged(files, place, "train.stage_to", processes) as copies:
        yield copies


def training_rows(experiment: config.Experiment, folder: Folder) -> np.ndarray:
    """Return the rows of the simulations that are trained on.

    Raises
    ------
    ValueError
        when there are fewer simulations than ``n_training``, or fewer rows than make a batch.
    """
    rows = subvolumes.trained_rows(experiment, folder)
    if len(rows) < experiment.train.batch_size:
        raise ValueError(
            f"{folder.path}: {len(rows)} subvolumes to train on (held_out: {list(experiment.held_out)}), "
            f"fewer than train.batch_size = {experiment.train.batch_size}"
        )
    return rows


def training_conditions(experiment: config.Experiment, folder: Folder, rows: np.ndarray) -> TrainingConditions | None:
    """Return the conditions of the rows that are trained on; None for an unconditional model."""
    names = experiment.model.condition
    if not names:
        return None
    values = subvolumes.values(names, folder)[rows]
    return TrainingConditions(experiment.model, values, experiment.train.fake_conditions)


def check_densities(folder: Folder, rows: np.ndarray, subvolume: int) -> None:
    """Check that shards have the subvolume size and the unit that the model expects.

    Raises
    ------
    ValueError
        names the folder, what was found and what was expected.
    """
    side = folder.geometry.subvolume
    if side != subvolume:
        raise ValueError(
            f"{folder.path}: subvolumes of {side}³ cells, expected preprocess.subvolume = {subvolume}; "
            "preprocess again, or set preprocess.subvolume"
        )
    densities = folder.read(rows[:: -(-len(rows) // N_CHECKED)])
    mean = float(densities.mean(dtype=float))
    if not 0.5 < mean < 2 or densities.min() < 0:
        raise ValueError(
            f"{folder.path}: densities with a mean of {mean:.3g} and a minimum of {densities.min():.3g}, expected a "
            "mean near 1 and none below 0: in units of the mean density"
        )


def neighbours(folder: Folder, rows: np.ndarray) -> np.ndarray:
    """Return the rows of the subvolumes that random crops lie in, (n, 8).

    Raises
    ------
    ValueError
        when they are not whole boxes.
    """
    kinds = np.stack([folder.simulations[rows], folder.redshifts[rows]], axis=1)
    _, boxes = np.unique(kinds, axis=0, return_inverse=True)
    geometry = folder.geometry
    pieces = crops.neighbours(boxes.ravel(), folder.corners[rows], geometry.n_mesh, geometry.subvolume)
    missing = (pieces < 0).any(axis=1)
    if missing.any():
        simulation, redshift = kinds[missing][0]
        raise ValueError(
            f"{folder.path}: simulation {simulation:.0f} at redshift {redshift:g} does not have each of its "
            f"{(geometry.n_mesh // geometry.subvolume) ** 3} subvolumes once, by their corners; train.random_crops "
            "expects whole boxes: preprocess them, or set train.random_crops: false"
        )
    return pieces


def prepare(
    experiment: config.Experiment, processes: Processes, copies: Mapping[Path, Path] | None = None
) -> tuple[Trainer, dataset.Samples, Preview]:
    """Make the trainer, at its first step, the training set, and the drawer of previews.

    Parameters
    ----------
    experiment, processes : what is trained, and where
    copies : of shards, from which they are read
    """
    memory.keep_freed()
    settings = experiment.train
    device = processes.device(settings.device)
    torch.backends.cudnn.benchmark = True
    folder = subvolumes.open_shards(experiment)
    folder.read_from(copies or {})
    rows = training_rows(experiment, folder)
    subvolume = folder.geometry.subvolume
    # On one process: it opens many shards.
    processes.each(processes.rank == 0, lambda: check_densities(folder, rows, experiment.preprocess.subvolume))
    epoch_steps = settings.epoch_repeats * len(rows) // settings.batch_size
    if experiment.input.is_used:
        return _prepare_local(experiment, processes, device, folder, rows, epoch_steps)
    trainer = Trainer(LatentDesign(experiment.model, subvolume), settings, epoch_steps, processes, device)
    n_bytes = len(rows) * subvolume**3 * 4
    cache = dataset.cache(settings.cache, n_bytes, device, processes.size)
    around = neighbours(folder, rows) if settings.random_crops else None
    if settings.random_crops and cache is None:
        raise ValueError(
            f"train.random_crops: the {in_bytes(n_bytes)} of the training set, once a process, are more than half of "
            f"this host's memory; use fewer processes a host or n_training, or set train.cache: host if they do fit"
        )
    conditions, kappa = training_conditions(experiment, folder, rows), experiment.model.kappa
    data = dataset.TrainingSet(folder.read, rows, subvolume, device, cache, conditions, around)
    if conditions is not None:  # previews are of one condition
        _, kappa = conditions.of_preview()
        rows = rows[conditions.groups[0]]
    return trainer, data, Preview(folder, rows, kappa)


def _prepare_local(
    experiment: config.Experiment,
    processes: Processes,
    device: torch.device,
    folder: Folder,
    rows: np.ndarray,
    epoch_steps: int,
) -> tuple[Trainer, dataset.Samples, Preview]:
    """Do as `prepare` for a local generator."""
    model, halo, side = experiment.model, local.halo(experiment.input), folder.geometry.subvolume
    quick = subvolumes.open_shards(experiment.quick)
    simulations = np.unique(folder.simulations[rows]).tolist()
    processes.each(processes.rank == 0, lambda: pairs.check_pairs(folder, quick, simulations))
    design = LocalDesign(model, side, experiment.input)
    trainer = Trainer(design, experiment.train, epoch_steps, processes, device)
    data = pairs.PairedSet(pairs.Boxes(folder), pairs.Boxes(quick), simulations, side, halo, device)
    return trainer, data, Preview(folder, rows, model.kappa)
