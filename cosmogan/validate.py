"""Measure generated subvolumes against held-out ones, and held-out ones against themselves."""

import argparse
import contextlib
import json

import numpy as np

from cosmogan import cli, report, shards
from cosmogan.config import Experiment
from cosmogan.shards import statistics_file
from cosmogan.training import subvolumes
from cosmogan.validation import baselines, external
from cosmogan.validation.comparison import Comparison
from hpc import lock, mpi
from hpc.log import say
from hpc.rundir import Receipt

TEXT = """\
Measure power spectra, their covariance, cross power, bispectra, voxel PDFs, mean densities and peaks of generated and
of held-out subvolumes, with errors and the noise floor that held-out boxes set against one another; and look for copies
of training volumes. Any number of ranks gives the same file; stopped, the same command goes on. With --samples it
judges anyone's volumes, with no config at all, and writes the report."""
EXAMPLE = """\
mpirun -n 64 python -m cosmogan.validate configs/feder2020.yaml
  python -m cosmogan.validate --samples theirs.npy --reference runs/demo --box-size 64"""


def done(experiment: Experiment) -> bool:
    """Say whether these subvolumes were measured with these settings."""
    folders = (experiment.shards_folder, experiment.samples_folder)
    complete = experiment.statistics_path.exists() and all(shards.is_complete(folder) for folder in folders)
    return complete and _receipt(experiment, baselines.compared(experiment)).done()


def validate(experiment: Experiment, comm: mpi.Comm) -> None:
    """Measure both sets and write the file of statistics.

    Raises
    ------
    ValueError
        when a set is missing or too small, the two are of different geometry, a density is impossible, or the engine
        is not installed.
    """
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"validate: done: {experiment.statistics_path}", comm.rank)
        return
    compared = baselines.compared(experiment)
    with cli.at_work(experiment, "validate", comm.rank):
        measured(experiment, compared, comm)


def measured(experiment: Experiment, compared: Comparison, comm: mpi.Comm) -> None:
    """Measure what is compared and write the experiment's file of statistics."""
    from cosmogan.validation import conditional, measure, proposals  # import torch

    for line in compared.warnings:
        say(f"WARNING: {line}", comm.rank)
    receipt = _receipt(experiment, compared)
    if comm.rank == 0:
        receipt.begin(keep=False)
    folder = experiment.folder / "validate"
    tree = measure.everything(compared, folder, comm) | conditional.everything(experiment, comm)
    if comm.rank == 0 and "mocks" in compared.beside:
        recipe = compared.beside["mocks"].source.recipe
        tree |= {"mocks_off": recipe.off, "mocks_clipped": recipe.clipped}
    tree |= proposals.everything(experiment, compared, folder, comm)
    if comm.rank == 0:
        for line in json.loads(tree["warnings"])[len(compared.warnings) :]:
            say(f"WARNING: {line}")
        statistics_file.write(experiment.statistics_path, tree | _latents(experiment, compared))
        receipt.finish(n_held_out=tree["n_held_out"], n_generated=tree["n_generated"])
        measure.forget(folder)
        for line in _beside(tree):
            say(f"validate: {line}")
        sizes = f"{tree['n_generated']} generated against {tree['n_held_out']} held-out subvolumes"
        say(f"validate: {sizes}: {experiment.statistics_path}")
    comm.barrier()


def _receipt(experiment: Experiment, compared: Comparison) -> Receipt:
    """Return the record of what the statistics depend on."""
    recipe = compared.recipe
    if experiment.model.condition:
        recipe["told"] = subvolumes.record(experiment)
    return Receipt(experiment.folder, "validate", recipe)


def _beside(tree: statistics_file.Tree) -> list[str]:
    """Return what there is to say of the mapped Gaussian mocks."""
    if "mocks_off" not in tree:
        return ["no mapped Gaussian mocks: they take whole boxes of an unconditional training set"]
    return [
        f"{tree['n_mocks']} mapped Gaussian mocks, P(k) off the training set's by {100 * tree['mocks_off']:.1f} % rms "
        f"over modes before subvolumes are cut; negative power clipped at {100 * tree['mocks_clipped']:.0f} % of k"
    ]


def _latents(experiment: Experiment, compared: Comparison) -> statistics_file.Tree:
    """Return the norms of the samples' latents, as the network takes them, where the released generator drew them."""
    from cosmogan.gan import released

    folder, path = compared.generated.source, experiment.drawn_from
    if not isinstance(folder, shards.Folder) or not (path.exists() and path.with_suffix(".json").exists()):
        return {}
    generator = released.load(path)
    if folder.source.get("generator") != generator.settings["sha256"]:
        return {}
    seed, index = folder.column("seed"), folder.column("index")
    norm = np.empty(len(folder))
    for one in np.unique(seed):
        norm[seed == one] = generator.latents(int(one), index[seed == one]).double().norm(dim=1).numpy()
    return {"latents": {"norm": norm}}


def main() -> None:
    """Run the command line."""
    parser = cli.parser("cosmogan.validate", TEXT, EXAMPLE)
    external.add_options(parser)
    arguments = parser.parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = mpi.world("validate.batch_size")
    with mpi.abort_on_error(comm):
        if arguments.samples is None:
            validate(cli.read_experiment(arguments, comm.rank), comm)
        else:
            judge(arguments, comm)


def judge(arguments: argparse.Namespace, comm: mpi.Comm) -> None:
    """Measure anyone's samples, and write the report."""
    experiment = external.experiment_of(arguments)
    compared = external.compare(arguments, experiment)
    complete = experiment.statistics_path.exists() and _receipt(experiment, compared).done()
    if not comm.bcast(complete if comm.rank == 0 else None):
        with lock.alone(experiment.folder, "validate") if comm.rank == 0 else contextlib.nullcontext():
            measured(experiment, compared, comm)
    report.report(experiment, comm)


if __name__ == "__main__":
    main()
