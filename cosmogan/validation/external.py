"""Compare anyone's samples with a reference, with no config: ``validate --samples``."""

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cosmogan import config, shards
from cosmogan.config import Experiment
from cosmogan.training import subvolumes
from cosmogan.validation.array_file import UNITS, ArrayFile
from cosmogan.validation.comparison import Comparison, Volumes, VolumeSource, check_same_geometry, independent, of_rows
from hpc import paths, settings
from hpc.settings import SettingsError

N_SAMPLED = 32  # volumes of each set whose mean density shows their unit
UNIT_FACTOR = 3.0  # between the two sets' mean densities; beyond it they are of different units
WINDOW = (
    "; a mesh whose mass-assignment window was divided out falls below 0: give it with its window, and say "
    "validate.window=cic, or what it is, which divides it out of the spectra"
)
# What may be wrong with densities below 0, by the unit that they were said to be in.
HINTS = {"density": "; if that is what they are, say --units delta or --units log10" + WINDOW, "delta": WINDOW}


class OwnSets(Experiment):
    """An experiment that is no run: its folder gets no ``config.yaml``, by which the folder of a run is known."""

    def freeze(self) -> Path:
        """Return where a run's settings would be."""
        return self.folder / "config.yaml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe someone's samples to the command line."""
    group = parser.add_argument_group(
        "anyone's samples, with no CONFIG; a FILE is .npy, .h5 or .h5:dataset, (n, m, m, m)"
    )
    group.add_argument(
        "--samples", type=paths.argument, metavar="FILE", help="generated volumes, or a folder of shards"
    )
    what = "real volumes, a folder of shards, or the folder of a run: the simulations that it holds out"
    group.add_argument("--reference", type=paths.argument, metavar="FILE", help=what)
    group.add_argument(
        "--training", type=paths.argument, metavar="FILE", help="what the generator has seen, to look for copies"
    )
    group.add_argument("--box-size", type=float, metavar="L", help="side of a volume in a FILE [Mpc/h]")
    what = "of the numbers in a FILE: ρ/ρ̄, ρ/ρ̄ - 1, log10 ρ/ρ̄, or the mass of a cell [1e10 Msun/h]; default density"
    group.add_argument("--units", choices=list(UNITS), default="density", help=what)
    group.add_argument(
        "--output",
        type=paths.argument,
        metavar="DIR",
        help="folder of the report; default: validation/<name of the samples>",
    )


def experiment_of(arguments: argparse.Namespace) -> Experiment:
    """Return an experiment that has but a name, a folder, and the settings on the command line.

    Raises
    ------
    SettingsError
        when a CONFIG or no reference is given, the output is the folder of a run, or a setting is wrong.
    """
    overrides = [word for word in (arguments.config, *arguments.overrides) if word is not None]
    for word in overrides:
        if "=" not in word:
            raise SettingsError(f"{word}: --samples takes no CONFIG, only section.key=value")
    if arguments.reference is None:
        raise SettingsError("--samples: expected --reference FILE with it: real volumes to compare with")
    name = _name(arguments.samples)
    tree = {"name": name, "output": arguments.output or f"validation/{name}"}
    if _is_run(tree["output"]):
        raise SettingsError(
            f"--output: expected a folder of its own, found {tree['output']}, that of a run (config.yaml)"
        )
    if _is_run(arguments.reference):
        theirs, simulated = _run(arguments.reference)
        kappa = subvolumes.kappa_at(theirs.model, simulated.geometry.redshift)
        tree |= {"cosmology": {"h": theirs.cosmology.h}, "model": {"kappa": kappa}}
    for override in overrides:
        settings.apply(tree, override)
    return settings.build(OwnSets, tree, source="--samples")


def _name(samples: str) -> str:
    """Return the name of samples: of their file or folder, with the dataset where one is given."""
    path, _, dataset = samples.partition(":")
    return "-".join([Path(path).stem, *filter(None, dataset.split("/"))])


def compare(arguments: argparse.Namespace, experiment: Experiment) -> Comparison:
    """Compare samples with a reference.

    Raises
    ------
    ValueError
        when one cannot be read, or they are of different shape, cell size or unit: names both.
    """
    reference, training = _reference(arguments)
    mass, hint = reference.source.geometry.mean_cell_mass, HINTS.get(arguments.units, "")
    generated = independent(_open(arguments.samples, arguments, mass), hint)
    if arguments.training is not None:
        training = independent(_open(arguments.training, arguments, mass), hint)
    density = _sample(reference)
    if density.min() == density.max():
        raise ValueError(f"{reference.source.path}: all cells have the density {density.max():g}: nothing to compare")
    mean = density.mean()
    for other in (generated, training):
        if other is not None:
            check_same_geometry(reference.source, other.source)
            _check_same_unit(reference, mean, other)
    settings = experiment.validate, experiment.model.kappa, experiment.cosmology.h
    return Comparison(experiment.name, reference, generated, training, *settings, tuple(_other_unit(reference, mean)))


def _reference(arguments: argparse.Namespace) -> tuple[Volumes, Volumes | None]:
    """Open the reference; where it is a run, its held-out simulations and those that it trained on."""
    if not _is_run(arguments.reference):
        source = _open(arguments.reference, arguments, math.nan)
        volumes = independent(source, HINTS.get(arguments.units, ""))
        boxes = (
            source.simulations if isinstance(source, shards.Folder) and source.kind == "simulated" else volumes.boxes
        )
        return dataclasses.replace(volumes, boxes=boxes), None
    run, simulated = _run(arguments.reference)
    if not run.held_out:
        raise ValueError(
            f"{arguments.reference}: held_out: expected simulations to compare with, found none; with --reference "
            f"{simulated.path} all are compared with"
        )
    trained_on = run.trained_on(simulated.simulations.tolist())
    held_out = simulated.rows_of(list(run.held_out))
    return of_rows(simulated, held_out), of_rows(simulated, simulated.rows_of(trained_on))


def _is_run(name: str) -> bool:
    return (Path(name) / "config.yaml").exists()


def _run(name: str) -> tuple[Experiment, shards.Folder]:
    """Open a run, which may have been moved, and its simulated subvolumes."""
    run, moved = config.load(Path(name) / "config.yaml"), Path(name) / "shards"
    return run, shards.open_one(moved if moved.exists() else run.shards_folder, run.redshift)


def _open(name: str, arguments: argparse.Namespace, mean_cell_mass: float) -> VolumeSource:
    """Open a folder of shards, or a file."""
    if Path(name).is_dir():
        if not (Path(name) / "manifest.json").exists():
            raise ValueError(f"{name}: expected a file, a folder of shards (manifest.json), or of a run (config.yaml)")
        return shards.open_one(name)
    if arguments.box_size is None or not 0 < arguments.box_size < math.inf:
        raise SettingsError(
            f"--box-size: expected the side of the volumes of {name} in Mpc/h, found {arguments.box_size}"
        )
    return ArrayFile(name, arguments.box_size, arguments.units, mean_cell_mass)


def _sample(volumes: Volumes) -> np.ndarray:
    """Read a few volumes, evenly spaced in their order."""
    if len(volumes) == 0:
        raise ValueError(f"{volumes.source.path}: holds no volumes to compare")
    return volumes.read(np.unique(np.linspace(0, len(volumes) - 1, N_SAMPLED).astype(int)))


def _check_same_unit(reference: Volumes, mean: float, other: Volumes) -> None:
    """Raise a ValueError when the mean densities are so different that they must be of different units."""
    other_mean = _sample(other).mean()
    if not mean / UNIT_FACTOR < other_mean < mean * UNIT_FACTOR:
        raise ValueError(
            f"{other.source.path}: found a mean density of {other_mean:.4g}, expected about that of "
            f"{reference.source.path}, {mean:.4g}: these are of different units; say which with --units"
        )


def _other_unit(reference: Volumes, mean: float) -> Iterator[str]:
    """Yield a line when densities cannot be in units of the mean density."""
    if not 1 / UNIT_FACTOR < mean < UNIT_FACTOR:
        yield (
            f"{reference.source.path} has a mean density of {mean:.4g}, expected about 1: unless these are dense or "
            "empty regions, say --units, or divide both files by the mean of the whole simulations"
        )
