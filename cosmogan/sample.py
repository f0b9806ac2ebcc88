"""Draw subvolumes from the released generator into sharded HDF5: (seed, index) → one volume."""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from cosmogan import archive, command, conditions, shards
from cosmogan.config import Experiment
from hpc import memory, mpi
from hpc.log import Progress, say
from hpc.rundir import Receipt, checksum
from hpc.settings import differences

TEXT = """\
Draw subvolumes from the released generator. Number i of a seed is the same volume on any number of ranks and in any
batch; shards that are whole are kept, so the same command goes on after an interruption."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.sample experiment.yaml sample.n_samples=2000"


def done(experiment: Experiment) -> bool:
    """Say whether all samples are there, drawn from the generator that is released now."""
    if experiment.sample.latents_only:
        written = experiment.latents_path.exists()
    else:
        written = shards.is_complete(experiment.samples_folder)
    return written and experiment.generator_path.exists() and _receipt(experiment).done()


def sample(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write all shards that are not there yet and the manifest; or, when asked, only the latents.

    Raises
    ------
    ValueError
        when there is no generator, or it is damaged, of another model or for other subvolumes than the experiment says,
        or ``sample.from_latents`` is no archive of its latents.
    """
    settings = experiment.sample
    target = experiment.latents_path if settings.latents_only else experiment.samples_folder
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"sample: done: {target}", comm.rank)
        return
    import torch

    from cosmogan.gan import released
    from hpc.distributed import Processes

    memory.keep_freed()
    if comm.size > 1:
        torch.set_num_threads(1)  # one rank a core
    device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
    generator = released.load(experiment.generator_path, device)
    _check_fits(experiment, generator.settings)
    latents = _latents(experiment, generator, comm)
    receipt = _receipt(experiment)
    if comm.rank == 0:
        receipt.begin(keep=False)
    if not settings.latents_only:
        _write_shards(experiment, generator, latents, comm)
    elif comm.rank == 0:
        archive.write(target, latents, {**_source(experiment, generator), **generator.settings["model"]})
    if comm.rank == 0:
        receipt.finish(samples=len(latents.index))
        what = "latents" if settings.latents_only else f"volumes of {generator.geometry['subvolume']}³ cells"
        told = len(conditions.to_sample(experiment)) if not settings.latents_only else 1
        each = f" under each of {told} conditions" if told > 1 else ""
        say(f"sample: drew {len(latents.index)} {what}{each}: {target}")
    comm.barrier()


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the samples depend on; the batch changes nothing."""
    path = experiment.generator_path
    recipe = experiment.section("model", "sample")
    files = {"generator": path, "settings": path.with_suffix(".json")}
    if experiment.sample.from_latents is not None:
        files["latents"] = Path(experiment.sample.from_latents)
    recipe |= {name: checksum(file) if file.exists() else None for name, file in files.items()}
    if experiment.model.condition:
        recipe["told"] = conditions.to_sample(experiment)
    del recipe["sample"]["batch_size"]
    return Receipt(experiment.folder, "sample", recipe)


def _check_fits(experiment: Experiment, generator: dict[str, Any]) -> None:
    """Raise a ValueError when the released generator is not the one that the experiment describes."""
    path = experiment.generator_path.with_suffix(".json")
    model = experiment.section("model")["model"]
    known = {name: value for name, value in generator["model"].items() if name in model}
    changed = list(differences(known, {name: model[name] for name in known}, "model."))
    if changed:
        raise ValueError(
            f"{path}: trained with other settings than CONFIG's ({'; '.join(changed[:3])}): "
            "sample with the settings of its training, or train and select with these"
        )
    told = generator["model"].get("condition", []), list(experiment.model.condition)
    if told[0] != told[1]:
        raise ValueError(
            f"{path}: the generator is told {told[0] or 'nothing'}, CONFIG's model.condition is {told[1]}: "
            "another kind of generator"
        )
    for name, wanted in _wanted(experiment).items():
        found = generator["geometry"][name]
        if not np.isclose(found, wanted, rtol=1e-6, atol=1e-9):
            raise ValueError(f"{path}: the generator draws {name} {found:g}, CONFIG asks for {wanted:g}")


def _wanted(experiment: Experiment) -> dict[str, float]:
    """Return what the experiment says of the subvolumes: by its shards, or, where there are none, by its settings."""
    if (experiment.shards_folder / "manifest.json").exists():
        geometry = conditions.open_shards(experiment).geometry
        names = ("subvolume", "box_size", "n_mesh", "redshift")
        return {name: getattr(geometry, name) for name in names if name not in experiment.model.condition}
    settings = experiment.simulate
    own = {} if experiment.preprocess.snapshots else {"redshift": settings.redshifts[-1], "box_size": settings.box_size}
    if "redshift" in experiment.model.condition:
        own.pop("redshift", None)
    return {"subvolume": experiment.preprocess.subvolume, "n_mesh": experiment.preprocess.n_mesh, **own}


def _latents(experiment: Experiment, generator: Any, comm: mpi.Comm) -> archive.Latents:
    """Return what is to be drawn: the first samples of a seed, those of them that are accepted, or an archive's."""
    settings = experiment.sample
    if settings.from_latents is not None:
        return archive.read(Path(settings.from_latents), generator.settings["sha256"], generator.model.latent_dimension)
    index = np.arange(settings.n_samples)
    if settings.rejection:
        from cosmogan import reject

        index = reject.accepted(experiment, generator, comm)
    drawn = generator.latents(settings.seed, index).numpy()
    return archive.Latents(drawn, np.full(len(index), settings.seed), index)


def _source(experiment: Experiment, generator: Any) -> dict[str, Any]:
    """Return what the densities come from, beside their seed and index."""
    source = {"generator": generator.settings["sha256"], "latent_scale": generator.latent_scale}
    if experiment.sample.from_latents is not None:
        source["latents"] = checksum(experiment.sample.from_latents)
    return source


class _Part(NamedTuple):
    """What one shard holds."""

    source: dict[str, Any]
    geometry: shards.Geometry
    values: np.ndarray | None  # what a conditional generator is told
    latents: archive.Latents


def _parts(experiment: Experiment, generator: Any, latents: archive.Latents) -> dict[Path, _Part]:
    """Return all shards: for each condition the same latents."""
    size, found = experiment.sample.samples_per_shard, {}
    told = conditions.to_sample(experiment)
    for i, condition in enumerate(told):
        source, geometry = _source(experiment, generator), conditions.geometry_of(generator.geometry, condition)
        if condition:
            source |= {"parameters": {name: x for name, x in condition.items() if name != "redshift"}}
        prefix = f"condition-{i:03d}-" if len(told) > 1 else ""
        for start in range(0, len(latents.index), size):
            path = experiment.samples_folder / f"{prefix}samples-{start:08d}.h5"
            values = generator.conditions.vector(condition) if condition else None
            found[path] = _Part(source, geometry, values, latents.rows(slice(start, start + size)))
    return found


def _write_shards(experiment: Experiment, generator: Any, latents: archive.Latents, comm: mpi.Comm) -> None:
    """Draw this rank's shards, and list them all in the manifest."""
    if comm.rank == 0:
        (experiment.samples_folder / "manifest.json").unlink(missing_ok=True)  # a folder that has one is complete
    parts = _parts(experiment, generator, latents)
    for line in sorted({line for part in parts.values() for line in _warnings(generator, part.values)}):
        say(f"sample: warning: {line}", comm.rank)
    mine = dict(list(parts.items())[comm.rank :: comm.size])
    missing = {path: part for path, part in mine.items() if not _is_whole(path, part.source, part.latents)}
    n = sum(len(part.latents.index) for part in missing.values())
    with Progress("sample", n, "volumes", comm.rank) as progress:
        for path, part in missing.items():
            with shards.create(path, len(part.latents.index), part.geometry, "generated", part.source) as file:
                _fill(file, generator, part, experiment.sample.batch_size, progress)
    gathered = comm.gather([shards.describe(path) for path in mine])
    if gathered is not None:
        listed = sorted((line for lines in gathered for line in lines), key=lambda line: line["file"])
        source = _source(experiment, generator)
        shards.write_manifest(
            experiment.samples_folder, next(iter(parts.values())).geometry, "generated", listed, source
        )


def _warnings(generator: Any, values: np.ndarray | None) -> list[str]:
    return [] if values is None else generator.conditions.outside(values)


def _fill(file: h5py.File, generator: Any, part: _Part, batch_size: int, progress: Progress) -> None:
    """Draw one shard."""
    import torch

    latents = part.latents
    file["seed"][:], file["index"][:] = latents.seed, latents.index
    for first in range(0, len(latents.index), batch_size):
        batch = torch.from_numpy(latents.latent[first : first + batch_size])
        file["density"][first : first + len(batch)] = generator.volumes(batch, part.values).cpu().numpy()
        progress.advance(len(batch))


def _is_whole(path: Path, source: dict[str, Any], latents: archive.Latents) -> bool:
    """Say whether a shard is there already with just these samples."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as file:
            same = json.loads(file.attrs["source"]) == source and np.array_equal(file["index"][:], latents.index)
            return bool(same and np.array_equal(file["seed"][:], latents.seed))
    except (OSError, KeyError):
        return False


def _options(parser: argparse.ArgumentParser) -> None:
    what = "write only the latents, to <output>/latents.h5"
    parser.add_argument("--latents", dest="sample.latents_only", action="store_true", help=what)
    what = "of the volumes, for a generator that is told it; any other condition as sample.condition.omega_m=0.3"
    parser.add_argument("--redshift", dest="sample.condition.redshift", type=float, metavar="Z", help=what)
    what = "draw the volumes of such a file, with the generator that it belongs to"
    parser.add_argument("--from-latents", dest="sample.from_latents", metavar="FILE", help=what)


if __name__ == "__main__":
    command.main("cosmogan.sample", TEXT, EXAMPLE, sample, options=_options)
