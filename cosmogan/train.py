"""Train the networks, on one process or many: the shell around `cosmogan.training.session`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cosmogan import cli, config
from cosmogan.shards.schema import in_bytes
from cosmogan.training import subvolumes
from hpc import memory, rundir, staging
from hpc.log import say
from hpc.watch import end_with_launcher

TEXT = """\
Train the generator and the discriminator on the subvolumes of all simulations that are not held out. The network that
comes out depends on the settings alone, not on the number of processes. Stopped by SIGTERM, SIGUSR1 or Ctrl-C it saves
a checkpoint at the next step; the same command goes on from there. Also starts under srun, submitit, or alone."""
EXAMPLE = "torchrun --standalone --nproc-per-node 2 -m cosmogan.train configs/demo.yaml"
# What may differ when training goes on: where it runs, how far, and how often it saves.
FREE = ("epochs", "device", "cuda_graphs", "cache", "checkpoint_minutes", "keep_checkpoints", "preview_minutes")
FREE += ("stage_to", "on_collapse", "max_restarts", "allow_changed")
# What may never differ: the step would stand for other samples, or the networks for others.
FIXED = ("train.batch_size", "train.epoch_repeats", "train.loss", "train.n_critic")
SOME = 32  # subvolumes whose mean density is looked at


def receipt(experiment: config.Experiment) -> rundir.Receipt:
    """Return the record of this training: the settings and the data that its result depends on."""
    manifest = experiment.shards_folder / "manifest.json"
    names = ("model", "train", "held_out", "n_training", "redshift")
    if "redshift" in experiment.model.condition:
        names += ("redshifts", "separate_boxes")
    recipe = experiment.section(*names)
    recipe["train"] = {name: value for name, value in recipe["train"].items() if name not in FREE}
    if manifest.exists():
        geometry = rundir.read_json(manifest).get("geometry")
        recipe["data"] = {"geometry": geometry, "manifest_sha256": rundir.checksum(manifest)}
    return rundir.Receipt(experiment.folder, "train", recipe)


def done(experiment: config.Experiment) -> bool:
    """Say whether training ran to its end with these settings, and its generators are there; loads nothing heavy."""
    return _finished(experiment) and any(experiment.train_folder.glob("generators/epoch-*"))


def _finished(experiment: config.Experiment) -> bool:
    made = receipt(experiment)
    return made.done() and made.results()["epochs"] >= experiment.train.epochs


def work(experiment: config.Experiment, processes: Any) -> None:
    """Train on this process's part of every batch.

    Raises
    ------
    ValueError
        when only the generators of a training that is finished are gone; and what `prepare` and the session raise.
    """
    if done(experiment):
        say(f"train: finished ({experiment.train.epochs} epochs); nothing to do", processes.rank)
        return
    if _finished(experiment) and any(experiment.train_folder.glob("checkpoints/step-*")):
        raise ValueError(
            f"{experiment.train_folder}/generators: training is finished, but there are none; "
            f"delete {experiment.train_folder} to train again"
        )
    from hpc import distributed

    distributed.join(experiment.train.device)
    with contextlib.ExitStack() as held:
        mine = processes.rank == 0
        processes.each(mine, lambda: held.enter_context(cli.at_work(experiment, "train", processes.rank)))
        _train(experiment, processes, held.enter_context(staged(experiment, processes)))


def _train(experiment: config.Experiment, processes: Any, copies: Mapping[Path, Path]) -> None:
    """Train to the end, or until a signal."""
    from cosmogan.training import session
    from hpc import distributed

    trainer, data, preview = prepare(experiment, processes, copies)
    made = receipt(experiment)
    if processes.rank == 0:
        made.begin(keep=experiment.train_folder.exists(), allowed=allowed(experiment))
    processes.barrier()
    try:
        session.run(trainer, data, experiment.train_folder, preview)
    except session.Interrupted as stop:
        where = f"at step {trainer.step} of {trainer.steps}"
        say(f"train: stopped by {stop} {where}; a checkpoint is saved, the same command goes on", processes.rank)
        status = 128 + stop.number  # not 0: a chain of stages must not go on
        distributed.leave(status)
        raise SystemExit(status) from None
    if processes.rank == 0:
        made.finish(
            epochs=experiment.train.epochs, steps=trainer.steps, n_seen=trainer.n_seen, restarts=trainer.restarts
        )
    say(f"train: finished {experiment.train.epochs} epochs, {trainer.steps} steps", processes.rank)
    distributed.leave()


@contextlib.contextmanager
def staged(experiment: config.Experiment, processes: Any) -> Iterator[Mapping[Path, Path]]:
    """Copy the shards that are trained on to each node, by ``train.stage_to``, and give where the copies are."""
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


def training_rows(experiment: config.Experiment, folder: Any) -> Any:
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


def allowed(experiment: config.Experiment) -> tuple[str, ...]:
    """Return the settings that may differ from those that training was begun with.

    Raises
    ------
    ValueError
        when one of them never may.
    """
    names = experiment.train.allow_changed
    for name in names:
        if any(f"{fixed}.".startswith(f"{name}.") for fixed in FIXED):
            raise ValueError(f"train.allow_changed: {name} never may change; train in another `output`")
    return names


def check_densities(folder: Any, rows: Any, subvolume: int) -> None:
    """Refuse shards of another subvolume size or unit than the model expects.

    Raises
    ------
    ValueError
        names the folder, what was found and what was expected.
    """
    found = folder.geometry.subvolume
    if found != subvolume:
        raise ValueError(
            f"{folder.path}: subvolumes of {found}³ cells, expected preprocess.subvolume = {subvolume}; "
            "preprocess again, or set preprocess.subvolume"
        )
    some = folder.read(rows[:: -(-len(rows) // SOME)])
    mean = float(some.mean(dtype=float))
    if not 0.5 < mean < 2 or some.min() < 0:
        raise ValueError(
            f"{folder.path}: densities with a mean of {mean:.3g} and a minimum of {some.min():.3g}, expected a mean "
            "near 1 and none below 0: in units of the mean density"
        )


def neighbours(folder: Any, rows: Any) -> Any:
    """Return in which of the rows random crops lie, (n, 8).

    Raises
    ------
    ValueError
        when they are not whole boxes.
    """
    import numpy as np

    from cosmogan.training import crops

    kinds = np.stack([folder.simulations[rows], folder.redshifts[rows]], axis=1)
    _, boxes = np.unique(kinds, axis=0, return_inverse=True)
    geometry = folder.geometry
    found = crops.neighbours(boxes.ravel(), folder.corners[rows], geometry.n_mesh, geometry.subvolume)
    missing = (found < 0).any(axis=1)
    if missing.any():
        simulation, redshift = kinds[missing][0]
        raise ValueError(
            f"{folder.path}: simulation {simulation:.0f} at redshift {redshift:g} does not have each of its "
            f"{(geometry.n_mesh // geometry.subvolume) ** 3} subvolumes once, by their corners; train.random_crops "
            "expects whole boxes: preprocess them, or set train.random_crops: false"
        )
    return found


def prepare(
    experiment: config.Experiment, processes: Any, copies: Mapping[Path, Path] | None = None
) -> tuple[Any, Any, Any]:
    """Return the trainer at its first step, the training set, and what draws previews.

    Parameters
    ----------
    experiment, processes : what is trained, and where
    copies : of shards, from which they are read
    """
    import torch

    from cosmogan.training import dataset
    from cosmogan.training.preview import Preview
    from cosmogan.training.trainer import Trainer

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
    trainer = Trainer(experiment.model, settings, subvolume, epoch_steps, processes, device)
    n_bytes = len(rows) * subvolume**3 * 4
    cache = dataset.cache(settings.cache, n_bytes, device, processes.size)
    around = neighbours(folder, rows) if settings.random_crops else None
    if settings.random_crops and cache is None:
        raise ValueError(
            f"train.random_crops: the {in_bytes(n_bytes)} of the training set, once a process, are more than half of "
            f"this host's memory; use fewer processes a host or n_training, or set train.cache: host if they do fit"
        )
    told, kappa = subvolumes.of_training(experiment, folder, rows), experiment.model.kappa
    data = dataset.TrainingSet(folder.read, rows, subvolume, device, cache, told, around)
    if told is not None:  # previews are of one condition
        trainer.shown, kappa = told.shown()
        rows = rows[told.groups[0]]
    return trainer, data, Preview(folder, rows, kappa)


def _world() -> Any:
    from hpc import distributed  # imports torch

    return distributed.find()


if __name__ == "__main__":
    end_with_launcher()
    cli.main("cosmogan.train", TEXT, EXAMPLE, work, world=_world)
