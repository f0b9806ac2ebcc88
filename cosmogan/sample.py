"""Draw subvolumes from the released generator into sharded HDF5: (seed, index) → one volume."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cosmogan import command, shards
from cosmogan.config import Experiment
from hpc import mpi
from hpc.log import Progress, say
from hpc.rundir import Receipt, checksum

TEXT = """\
Draw subvolumes from the released generator. Number i of a seed is the same volume on any number of ranks and in any
batch; shards that are whole are kept, so the same command goes on after an interruption."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.sample experiment.yaml sample.n_samples=2000"


def done(experiment: Experiment) -> bool:
    """Say whether all samples are there, drawn from the generator that is released now."""
    return (
        experiment.generator_path.exists()
        and shards.is_complete(experiment.samples_folder)
        and _receipt(experiment).done()
    )


def sample(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write all shards that are not there yet, and the manifest."""
    folder, settings = experiment.samples_folder, experiment.sample
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"sample: done: {folder}", comm.rank)
        return
    import torch

    from cosmogan.gan import released
    from hpc.distributed import Processes

    if comm.size > 1:
        torch.set_num_threads(1)  # one rank a core
    device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
    generator = released.load(experiment.generator_path, device)
    receipt = _receipt(experiment)
    if comm.rank == 0:
        (folder / "manifest.json").unlink(missing_ok=True)  # a folder that has one is complete
        receipt.begin(keep=False)
    geometry = shards.Geometry(**generator.geometry)
    starts = range(0, settings.n_samples, settings.samples_per_shard)
    mine = starts[comm.rank :: comm.size]
    with Progress("sample", len(mine) * settings.samples_per_shard, "volumes", comm.rank) as progress:
        lines = [_shard(experiment, generator, geometry, start, progress) for start in mine]
    gathered = comm.gather(lines)
    if gathered is not None:
        listed = sorted((line for part in gathered for line in part), key=lambda line: line["file"])
        shards.write_manifest(folder, geometry, "generated", listed, _source(experiment, generator))
        receipt.finish(samples=settings.n_samples)
        say(f"sample: drew {settings.n_samples} volumes of {geometry.subvolume}³ cells: {folder}")
    comm.barrier()


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the samples depend on; the batch changes nothing."""
    settings, path = experiment.sample, experiment.generator_path
    recipe = {
        "generator": checksum(path) if path.exists() else None,
        "settings": checksum(path.with_suffix(".json")) if path.with_suffix(".json").exists() else None,
        "n_samples": settings.n_samples,
        "seed": settings.seed,
        "samples_per_shard": settings.samples_per_shard,
    }
    return Receipt(experiment.folder, "sample", recipe)


def _source(experiment: Experiment, generator: Any) -> dict[str, Any]:
    """Return what the densities come from, beside their seed and index."""
    return {"generator": generator.settings["sha256"], "latent_scale": generator.latent_scale}


def _shard(
    experiment: Experiment, generator: Any, geometry: shards.Geometry, start: int, progress: Progress
) -> dict[str, Any]:
    """Draw one shard unless it is there, and return its line of the manifest."""
    settings, source = experiment.sample, _source(experiment, generator)
    index = np.arange(start, min(start + settings.samples_per_shard, settings.n_samples))
    path = experiment.samples_folder / f"samples-{start:08d}.h5"
    if not _is_whole(path, source, settings.seed, index):
        with shards.create(path, len(index), geometry, "generated", source) as file:
            file["seed"][:] = settings.seed
            file["index"][:] = index
            for first in range(0, len(index), settings.batch_size):
                batch = index[first : first + settings.batch_size]
                density = generator.sample(len(batch), settings.seed, int(batch[0]), settings.batch_size)
                file["density"][first : first + len(batch)] = density
                progress.advance(len(batch))
    return shards.describe(path)


def _is_whole(path: Path, source: dict[str, Any], seed: int, index: np.ndarray) -> bool:
    """Say whether a shard is there already with just these samples."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as file:
            same = json.loads(file.attrs["source"]) == source and np.array_equal(file["index"][:], index)
            return bool(same and np.all(file["seed"][:] == seed))
    except (OSError, KeyError):
        return False


if __name__ == "__main__":
    command.main("cosmogan.sample", TEXT, EXAMPLE, sample)
