"""Draw the shards of generated subvolumes that are missing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch

from cosmogan import shards
from cosmogan.config import Sample
from cosmogan.gan.released import Released
from cosmogan.sampling.plan import SamplingStage
from cosmogan.shards import latents_file
from cosmogan.training import subvolumes
from cosmogan.training.local_samples import LocalSamples
from hpc import hdf5, mpi
from hpc.files import checksum
from hpc.log import Progress, say
from hpc.part import Part, share_of, title

Generator = Released | LocalSamples


def source(settings: Sample, generator: Generator) -> dict[str, Any]:
    """Return the origin of the densities, beside their seed and index."""
    origin = {"generator": generator.settings["sha256"], "latent_scale": generator.latent_scale}
    if settings.from_latents is not None:
        origin["latents"] = checksum(settings.from_latents)
    return origin


class _Shard(NamedTuple):
    """The samples of one shard: where they come from, their geometry, condition and latents."""

    source: dict[str, Any]
    geometry: shards.Geometry
    values: np.ndarray | None  # of the conditions, (1, names); None for an unconditional generator
    latents: latents_file.Latents


def _all(stage: SamplingStage, generator: Generator, latents: latents_file.Latents) -> dict[Path, _Shard]:
    """Return all shards: for each condition the same latents."""
    settings, every = stage.experiment.sample, {}
    for i, condition in enumerate(stage.conditions):
        origin, geometry = source(settings, generator), subvolumes.geometry_of(generator.geometry, condition)
        if condition:
            origin |= {"parameters": {name: x for name, x in condition.items() if name != "redshift"}}
        prefix = f"condition-{i:03d}-" if len(stage.conditions) > 1 else ""
        for start in range(0, len(latents.index), settings.samples_per_shard):
            path = stage.target / f"{prefix}samples-{start:08d}.h5"
            values = generator.conditions.vector(condition) if generator.conditions and condition else None
            rows = slice(start, start + settings.samples_per_shard)
            every[path] = _Shard(origin, geometry, values, latents.rows(rows))
    return every


def write(
    stage: SamplingStage, generator: Generator, latents: latents_file.Latents, comm: mpi.Comm, part: Part | None
) -> None:
    """Draw this rank's shards, and, of the whole, list them all in the manifest."""
    if comm.rank == 0:
        (stage.target / "manifest.json").unlink(missing_ok=True)  # a folder that has one is complete
    settings, every = stage.experiment.sample, _all(stage, generator, latents)
    for line in sorted({line for shard in every.values() for line in _warnings(generator, shard.values)}):
        say(f"sample: warning: {line}", comm.rank)
    mine = dict(share_of(list(every.items()), part)[comm.rank :: comm.size])
    missing = {path: shard for path, shard in mine.items() if not _is_whole(path, shard.source, shard.latents)}
    n = sum(len(shard.latents.index) for shard in missing.values())
    with Progress(title(stage.name, part), n, "volumes", comm.rank) as progress:
        for path, shard in missing.items():
            with shards.create(path, len(shard.latents.index), shard.geometry, "generated", shard.source) as file:
                _fill(file, generator, shard, settings.batch_size, progress)
    if part is not None:
        return
    gathered = comm.gather([shards.describe(path) for path in mine])
    if gathered is not None:
        listed = sorted((line for lines in gathered for line in lines), key=lambda line: line["file"])
        geometry, origin = next(iter(every.values())).geometry, source(settings, generator)
        shards.write_manifest(stage.target, geometry, "generated", listed, origin)


def _warnings(generator: Generator, values: np.ndarray | None) -> list[str]:
    return [] if values is None or generator.conditions is None else generator.conditions.outside(values)


def _fill(file: h5py.File, generator: Generator, shard: _Shard, batch_size: int, progress: Progress) -> None:
    """Draw one shard."""
    latents = shard.latents
    file["seed"][:], file["index"][:] = latents.seed, latents.index
    for first in range(0, len(latents.index), batch_size):
        rows = latents.rows(slice(first, first + batch_size))
        local = isinstance(generator, LocalSamples)
        batch = generator.latents(int(rows.seed[0]), rows.index) if local else torch.from_numpy(rows.latent)
        file["density"][first : first + len(batch)] = generator(batch, shard.values).cpu().numpy()
        progress.advance(len(batch))


def _is_whole(path: Path, source: dict[str, Any], latents: latents_file.Latents) -> bool:
    """Say whether a shard is there already with just these samples."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as file:
            hdf5.check_all(file)
            same = json.loads(file.attrs["source"]) == source and np.array_equal(file["index"][:], latents.index)
            return bool(same and np.array_equal(file["seed"][:], latents.seed))
    except (OSError, KeyError, hdf5.Missing):
        return False
