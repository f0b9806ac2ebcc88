"""Measure generated subvolumes against held-out ones, and held-out ones against themselves."""

import math

from cosmogan import command, results, shards
from cosmogan.config import Experiment
from hpc import mpi
from hpc.log import say
from hpc.rundir import Receipt

TEXT = """\
Measure power spectra, their covariance, cross power, bispectra, voxel PDFs and mean densities of generated and of
held-out subvolumes, with the noise floor that held-out ones set against themselves. Any number of ranks gives the same
file."""
EXAMPLE = "mpirun -n 64 python -m cosmogan.validate configs/feder2020.yaml"


def done(experiment: Experiment) -> bool:
    """Say whether these subvolumes were measured with these settings."""
    folders = (experiment.shards_folder, experiment.samples_folder)
    complete = experiment.statistics_path.exists() and all(shards.is_complete(folder) for folder in folders)
    return complete and _receipt(experiment, *_open(experiment)).done()


def validate(experiment: Experiment, comm: mpi.Comm) -> None:
    """Measure both sets and write the file of statistics.

    Raises
    ------
    ValueError
        when a set is missing or too small, the two are of different geometry, or the engine is not installed.
    """
    path = experiment.statistics_path
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"validate: done: {path}", comm.rank)
        return
    simulated, generated = _open(experiment)
    check_same_geometry(simulated, generated)
    from cosmogan import measure  # imports torch

    receipt = _receipt(experiment, simulated, generated)
    if comm.rank == 0:
        receipt.begin(keep=False)
    tree = measure.everything(experiment, simulated, generated, comm)
    if comm.rank == 0:
        results.write(path, tree)
        receipt.finish(n_held_out=tree["n_held_out"], n_generated=tree["n_generated"])
        say(f"validate: {tree['n_generated']} generated against {tree['n_held_out']} held-out subvolumes: {path}")
    comm.barrier()


def _open(experiment: Experiment) -> tuple[shards.Folder, shards.Folder]:
    """Open both sets at one redshift."""
    return shards.open_one(experiment.shards_folder, experiment.redshift), shards.open_one(experiment.samples_folder)


def check_same_geometry(first: shards.Folder, second: shards.Folder) -> None:
    """Raise a ValueError that names both folders when their subvolumes cannot be compared."""
    for name in ("cell_size", "subvolume", "mean_cell_mass", "redshift"):
        found = [getattr(folder.geometry, name) for folder in (first, second)]
        if not math.isclose(*found, rel_tol=1e-6, abs_tol=1e-9):
            raise ValueError(
                f"{second.path}: expected the {name} of {first.path}, {found[0]:g}, found {found[1]:g}; "
                "these are not subvolumes of one kind"
            )


def _receipt(experiment: Experiment, simulated: shards.Folder, generated: shards.Folder) -> Receipt:
    """Return the record of what the statistics depend on."""
    recipe = {
        **experiment.section("validate"),
        "kappa": experiment.model.kappa,
        "held_out": list(experiment.held_out),
        "redshift": experiment.redshift,
        "shards": simulated.checksum,
        "samples": generated.checksum,
    }
    return Receipt(experiment.folder, "validate", recipe)


if __name__ == "__main__":
    command.main("cosmogan.validate", TEXT, EXAMPLE, validate)
