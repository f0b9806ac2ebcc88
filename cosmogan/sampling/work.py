"""Draw what an experiment asks for from its released generator."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosmogan.gan import local_generator, released
from cosmogan.sampling import drawing, rejection
from cosmogan.sampling.drawing import Generator
from cosmogan.sampling.plan import SamplingStage
from cosmogan.shards import latents_file
from cosmogan.training import subvolumes
from cosmogan.training.local_samples import LocalSamples
from cosmogan.training.pairs import Boxes
from hpc import memory, mpi
from hpc.distributed import Processes
from hpc.part import Part
from hpc.settings import differences
from hpc.stage import Outcome


def sample(stage: SamplingStage, comm: mpi.Comm, part: Part | None) -> Outcome:
    """Write the shards that are missing, or a part's, or only the latents.

    Raises
    ------
    ValueError
        when there is no generator, or it is damaged, of another model or for other subvolumes than the experiment says,
        or ``sample.from_latents`` is no archive of its latents.
    """
    experiment, only_latents = stage.experiment, stage.experiment.sample.latents_only
    memory.keep_freed()
    if comm.size > 1:
        torch.set_num_threads(1)  # one rank a core
    device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
    local = experiment.input.is_used
    generator = _local(stage, device) if local else released.load(experiment.drawn_from, device)
    _check_fits(stage, generator.settings)
    latents = _latents(stage, generator, comm)
    if comm.rank == 0 and part is None:
        stage.receipt.begin(keep=False)
    if not only_latents:
        drawing.write(stage, generator, latents, comm, part)
    elif comm.rank == 0:
        about = {**drawing.source(experiment.sample, generator), **generator.settings["model"]}
        latents_file.write(stage.target, latents, about)
    if part is not None:
        return Outcome({}, (f"its shards are there: {stage.target}",))
    n, n_conditions = len(latents.index), 1 if only_latents else len(stage.conditions)
    what = "latents" if only_latents else f"volumes of {generator.geometry['subvolume']}³ cells"
    each = f" under each of {n_conditions} conditions" if n_conditions > 1 else ""
    return Outcome({"samples": n}, (f"drew {n} {what}{each}: {stage.target}",))


def _local(stage: SamplingStage, device: torch.device) -> LocalSamples:
    """Return the local generator, to be drawn from the quick simulations of the held-out boxes, or of all."""
    experiment = stage.experiment
    folder = subvolumes.open_shards(experiment.quick)
    rows = folder.rows_of(list(experiment.held_out)) if experiment.held_out else np.arange(len(folder))
    return LocalSamples(local_generator.load(experiment.drawn_from, device), Boxes(folder), rows)


def _check_fits(stage: SamplingStage, generator: dict[str, Any]) -> None:
    """Raise a ValueError when the released generator is not the one that the experiment describes."""
    experiment = stage.experiment
    path = experiment.drawn_from.with_suffix(".json")
    model = experiment.section("model")["model"]
    trained = {name: value for name, value in generator["model"].items() if name in model}
    changed = list(differences(trained, {name: model[name] for name in trained}, "model."))
    if changed:
        raise ValueError(
            f"{path}: trained with other settings than CONFIG's ({'; '.join(changed[:3])}): "
            "sample with the settings of its training, or train and select with these"
        )
    names, wanted_names = generator["model"].get("condition", []), list(experiment.model.condition)
    if names != wanted_names:
        raise ValueError(
            f"{path}: the generator is conditioned on {names or 'nothing'}, "
            f"CONFIG's model.condition is {wanted_names}: another kind of generator"
        )
    geometry = generator["geometry"]
    drawn = {**geometry, "cell_size": geometry["box_size"] / geometry["n_mesh"]}
    for name, wanted in _wanted(stage).items():
        if not np.isclose(drawn[name], wanted, rtol=1e-6, atol=1e-9):
            raise ValueError(f"{path}: the generator draws {name} {drawn[name]:g}, CONFIG asks for {wanted:g}")


def _wanted(stage: SamplingStage) -> dict[str, float]:
    """Return the geometry of the experiment's subvolumes: of its shards, or, where there are none, by its settings."""
    experiment = stage.experiment
    if (experiment.shards_folder / "manifest.json").exists():
        geometry = subvolumes.open_shards(experiment).geometry
        names = ("subvolume", "cell_size", "redshift")
        return {name: getattr(geometry, name) for name in names if name not in experiment.model.condition}
    settings = experiment.simulate
    n_mesh = experiment.preprocess.n_mesh
    simulated = {"redshift": settings.redshifts[-1], "cell_size": settings.box_size / n_mesh}
    own = {} if experiment.preprocess.snapshots else simulated
    if "redshift" in experiment.model.condition:
        own.pop("redshift", None)
    return {"subvolume": experiment.preprocess.subvolume, **own}


def _latents(stage: SamplingStage, generator: Generator, comm: mpi.Comm) -> latents_file.Latents:
    """Return the latents to draw: the first of a seed, the accepted ones among them, or those of an archive."""
    settings = stage.experiment.sample
    if settings.from_latents is not None:
        path, sha256 = Path(settings.from_latents), generator.settings["sha256"]
        return latents_file.read(path, sha256, generator.model.latent_dimension)
    if isinstance(generator, LocalSamples):  # what it takes is larger than what it draws: made when it is drawn
        index = np.arange(settings.n_samples)
        return latents_file.Latents(np.empty((len(index), 0)), np.full(len(index), settings.seed), index)
    accepted = rejection.accepted(stage, generator, comm) if settings.rejection else None
    index = np.arange(settings.n_samples) if accepted is None else accepted
    drawn = generator.latents(settings.seed, index).numpy()
    return latents_file.Latents(drawn, np.full(len(index), settings.seed), index)
