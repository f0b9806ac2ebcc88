"""Measure all sets that are compared, and write the file of statistics."""

import json

import numpy as np

from cosmogan import shards
from cosmogan.gan import released
from cosmogan.shards import statistics_file
from cosmogan.validation import conditional, measure, proposals, whole_boxes
from cosmogan.validation.baselines import Mocks
from cosmogan.validation.plan import ValidationStage
from hpc import mpi
from hpc.log import say
from hpc.stage import Outcome


def validate(stage: ValidationStage, comm: mpi.Comm) -> Outcome:
    """Measure all sets and write the experiment's file of statistics.

    Raises
    ------
    ValueError
        when a set is too small, a density is impossible, or the engine is not installed.
    """
    experiment, compared = stage.experiment, stage.compared
    for line in compared.warnings:
        say(f"WARNING: {line}", comm.rank)
    if comm.rank == 0:
        stage.receipt.begin(keep=False)
    tree = measure.everything(compared, stage.folder, comm) | conditional.everything(experiment, comm)
    mocks = compared.beside["mocks"].source if "mocks" in compared.beside else None
    if comm.rank == 0 and isinstance(mocks, Mocks):
        tree |= {"mocks_off": mocks.boxes.recipe.off, "mocks_clipped": mocks.boxes.recipe.clipped}
    tree |= proposals.everything(experiment, compared, stage.folder, comm)
    tree |= whole_boxes.everything(experiment, comm)
    if comm.rank > 0:
        return Outcome({}, ())
    for line in json.loads(tree["warnings"])[len(compared.warnings) :]:
        say(f"WARNING: {line}")
    statistics_file.write(experiment.statistics_path, tree | _latents(stage))
    measure.forget(stage.folder)
    sizes = f"{tree['n_generated']} generated against {tree['n_held_out']} held-out subvolumes"
    results = {"n_held_out": tree["n_held_out"], "n_generated": tree["n_generated"]}
    return Outcome(results, (*_beside(tree), f"{sizes}: {experiment.statistics_path}"))


def _beside(tree: statistics_file.Tree) -> list[str]:
    """Return the lines about the mapped Gaussian mocks."""
    if "mocks_off" not in tree:
        return ["no mapped Gaussian mocks: they take whole boxes of an unconditional training set"]
    return [
        f"{tree['n_mocks']} mapped Gaussian mocks, P(k) off the training set's by {100 * tree['mocks_off']:.1f} % rms "
        f"over modes before subvolumes are cut; negative power clipped at {100 * tree['mocks_clipped']:.0f} % of k"
    ]


def _latents(stage: ValidationStage) -> statistics_file.Tree:
    """Return the norms of the samples' latents, as the network takes them, where the released generator drew them."""
    folder, path = stage.compared.generated.source, stage.experiment.drawn_from
    if not isinstance(folder, shards.Folder) or not (path.exists() and path.with_suffix(".json").exists()):
        return {}
    if stage.experiment.input.is_used:
        return {}
    generator = released.load(path)
    if folder.source.get("generator") != generator.settings["sha256"]:
        return {}
    seeds, index = folder.column("seed"), folder.column("index")
    norm = np.empty(len(folder))
    for seed in np.unique(seeds):
        norm[seeds == seed] = generator.latents(int(seed), index[seeds == seed]).double().norm(dim=1).numpy()
    return {"latents": {"norm": norm}}
