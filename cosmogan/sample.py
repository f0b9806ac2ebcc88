"""Draw subvolumes from the released generator into sharded HDF5: (seed, index) → one volume."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan import cli, shards
from cosmogan.config import GENERATORS, SMALLEST_GENERATOR, Experiment, configs_folder
from cosmogan.sampling import drawing
from cosmogan.shards import latents_file
from cosmogan.shards.show import show
from cosmogan.training import subvolumes
from hpc import memory, mpi
from hpc.log import say
from hpc.part import Part, title
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
    return written and experiment.drawn_from.exists() and _receipt(experiment).done()


def parts(experiment: Experiment) -> int:
    """Return how many shards there are to share out; 1 when the work is one piece.

    Where the conditions of a conditional generator are not known yet, for want of simulations, as if it were one.
    """
    settings = experiment.sample
    if _in_one_piece(experiment):
        return 1
    known = (experiment.shards_folder / "manifest.json").exists() or not experiment.model.condition
    told = len(subvolumes.to_sample(experiment)) if known else 1
    n = settings.n_samples if settings.from_latents is None else latents_file.length(Path(settings.from_latents))
    return told * -(-n // settings.samples_per_shard)


def _in_one_piece(experiment: Experiment) -> bool:
    """Say whether all is one file, or what is accepted of a sequence of samples."""
    return experiment.sample.latents_only or experiment.sample.rejection


def sample(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Write all shards that are not there yet and the manifest, or a part's shards; or, when asked, only the latents.

    Raises
    ------
    ValueError
        when there is no generator, or it is damaged, of another model or for other subvolumes than the experiment says,
        or ``sample.from_latents`` is no archive of its latents, or there are no parts.
    """
    settings = experiment.sample
    if part is not None and _in_one_piece(experiment):
        raise ValueError(f"--part: found {part.number}/{part.of} with --latents or sample.rejection: done in one piece")
    target = experiment.latents_path if settings.latents_only else experiment.samples_folder
    if comm.bcast(done(experiment) if comm.rank == 0 else None):
        say(f"sample: done: {target}", comm.rank)
    else:
        with cli.at_work(experiment, "sample", comm.rank, part=part):
            _draw(experiment, target, comm, part)
    if settings.figure is not None and part is None and comm.rank == 0:
        from cosmogan.reporting import figures_shards  # imports matplotlib

        show(target, partial(figures_shards.write, Path(settings.figure)))


def _draw(experiment: Experiment, target: Path, comm: mpi.Comm, part: Part | None) -> None:
    import torch

    from cosmogan.gan import released
    from hpc.distributed import Processes

    settings = experiment.sample
    memory.keep_freed()
    if comm.size > 1:
        torch.set_num_threads(1)  # one rank a core
    device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
    generator = released.load(experiment.drawn_from, device)
    _check_fits(experiment, generator.settings)
    latents = _latents(experiment, generator, comm)
    receipt = _receipt(experiment)
    if comm.rank == 0 and part is None:
        receipt.begin(keep=False)
    if not settings.latents_only:
        drawing.write(experiment, generator, latents, comm, part)
    elif comm.rank == 0:
        latents_file.write(target, latents, {**drawing.source(experiment, generator), **generator.settings["model"]})
    if part is not None:
        say(f"{title('sample', part)}: its shards are there: {target}", comm.rank)
    elif comm.rank == 0:
        receipt.finish(samples=len(latents.index))
        what = "latents" if settings.latents_only else f"volumes of {generator.geometry['subvolume']}³ cells"
        told = len(subvolumes.to_sample(experiment)) if not settings.latents_only else 1
        each = f" under each of {told} conditions" if told > 1 else ""
        say(f"sample: drew {len(latents.index)} {what}{each}: {target}")
    comm.barrier()


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the samples depend on; the batch changes nothing."""
    path = experiment.drawn_from
    recipe = experiment.section("model", "sample")
    files = {"generator": path, "settings": path.with_suffix(".json")}
    if experiment.sample.from_latents is not None:
        files["latents"] = Path(experiment.sample.from_latents)
    recipe |= {name: checksum(file) if file.exists() else None for name, file in files.items()}
    if experiment.model.condition:
        recipe["told"] = subvolumes.to_sample(experiment)
    for name in ("batch_size", "generator", "figure"):  # the generator is known by its checksum
        del recipe["sample"][name]
    return Receipt(experiment.folder, "sample", recipe)


def _check_fits(experiment: Experiment, generator: dict[str, Any]) -> None:
    """Raise a ValueError when the released generator is not the one that the experiment describes."""
    path = experiment.drawn_from.with_suffix(".json")
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
    geometry = generator["geometry"]
    drawn = {**geometry, "cell_size": geometry["box_size"] / geometry["n_mesh"]}
    for name, wanted in _wanted(experiment).items():
        found = drawn[name]
        if not np.isclose(found, wanted, rtol=1e-6, atol=1e-9):
            raise ValueError(f"{path}: the generator draws {name} {found:g}, CONFIG asks for {wanted:g}")


def _wanted(experiment: Experiment) -> dict[str, float]:
    """Return what the experiment says of the subvolumes: by its shards, or, where there are none, by its settings."""
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


def _latents(experiment: Experiment, generator: Any, comm: mpi.Comm) -> latents_file.Latents:
    """Return what is to be drawn: the first samples of a seed, those of them that are accepted, or an archive's."""
    settings = experiment.sample
    if settings.from_latents is not None:
        return latents_file.read(
            Path(settings.from_latents), generator.settings["sha256"], generator.model.latent_dimension
        )
    index = np.arange(settings.n_samples)
    if settings.rejection:
        from cosmogan.sampling import rejection

        index = rejection.accepted(experiment, generator, comm)
    drawn = generator.latents(settings.seed, index).numpy()
    return latents_file.Latents(drawn, np.full(len(index), settings.seed), index)


class _Pretrained(argparse.Action):
    """Draw from a generator in the package, by the settings that it was made with."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, name: Any, option_string: Any = None) -> None:
        namespace.without_config = configs_folder() / f"{name}.yaml"
        setattr(namespace, "sample.generator", name)


def with_names(words: list[str]) -> list[str]:
    """Return a command line whose ``--pretrained`` has its generator's name in the same word.

    Without one it is the smallest; what follows the option otherwise is CONFIG or an override.
    """
    named = []
    for word in words:
        if named and named[-1] == "--pretrained" and word in GENERATORS:
            named[-1] += f"={word}"
        else:
            named.append(word)
    return [f"--pretrained={SMALLEST_GENERATOR}" if word == "--pretrained" else word for word in named]


def _options(parser: argparse.ArgumentParser) -> None:
    cli.part_option(parser)
    what = (
        f"draw from a generator in the package: {', '.join(GENERATORS)}; default {SMALLEST_GENERATOR}; needs no CONFIG"
    )
    parser.add_argument("--pretrained", action=_Pretrained, choices=GENERATORS, metavar="NAME", help=what)
    parser.add_argument("-n", dest="sample.n_samples", type=int, metavar="N", help="how many")
    what = "draw slabs and the voxel PDF of them: .png or .pdf"
    parser.add_argument("--figure", dest="sample.figure", metavar="FILE", help=what)
    what = "write only the latents, to <output>/latents.h5"
    parser.add_argument("--latents", dest="sample.latents_only", action="store_true", help=what)
    what = "of the volumes, for a generator that is told it; any other condition as sample.condition.omega_m=0.3"
    parser.add_argument("--redshift", dest="sample.condition.redshift", type=float, metavar="Z", help=what)
    what = "draw the volumes of such a file, with the generator that it belongs to"
    parser.add_argument("--from-latents", dest="sample.from_latents", metavar="FILE", help=what)


if __name__ == "__main__":
    world = partial(mpi.world, "sample.batch_size")
    sys.argv[1:] = with_names(sys.argv[1:])
    cli.main("cosmogan.sample", TEXT, EXAMPLE, sample, world, options=_options)
