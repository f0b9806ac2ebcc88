"""Read an experiment, which holds the settings of every command, in the order in which data flows.

Lengths are comoving Mpc/h, wavenumbers h/Mpc, masses 1e10 Msun/h.
"""

import math
from pathlib import Path

from cosmogan.config.box import Box
from cosmogan.config.cosmology import Cosmology
from cosmogan.config.experiment import CONDITIONAL, GENERATORS, PACKAGE, SMALLEST_GENERATOR, Experiment, generator_file
from cosmogan.config.input import Input
from cosmogan.config.model import Model
from cosmogan.config.preprocess import Preprocess
from cosmogan.config.sample import Sample
from cosmogan.config.select import Select
from cosmogan.config.simulate import Simulate
from cosmogan.config.train import Train
from cosmogan.config.validate import Validate
from hpc import settings

__all__ = [
    "CONDITIONAL",
    "GENERATORS",
    "SMALLEST_GENERATOR",
    "Box",
    "Cosmology",
    "Experiment",
    "Input",
    "Model",
    "Preprocess",
    "Sample",
    "Select",
]
__all__ += ["Simulate", "Train", "Validate", "configs_folder", "default_config", "generator_file", "load"]


def configs_folder() -> Path:
    """Return the folder of the experiments that come with the package."""
    packaged = PACKAGE / "configs"
    return packaged if packaged.is_dir() else PACKAGE.parent / "configs"


def default_config() -> Path:
    """Return ``cosmogan.yaml`` of the working folder, or else the demo experiment."""
    own = Path("cosmogan.yaml")
    return own if own.exists() else configs_folder() / "demo.yaml"


def load(path: Path | str, overrides: list[str] | tuple[str, ...] = ()) -> Experiment:
    """Read an experiment.

    Raises
    ------
    SettingsError
        one line that names the file, the setting, what was found and what was expected.
    """
    experiment = settings.load(Experiment, path, overrides, configs_folder())
    n = math.inf if experiment.preprocess.snapshots else experiment.simulate.n_simulations
    for number in experiment.held_out:
        if not 0 <= number < n:
            raise settings.SettingsError(f"{path}: held_out: expected simulations from 0 to {n - 1}, found {number}")
    if not experiment.preprocess.snapshots:
        try:
            experiment.trained_on(range(experiment.simulate.n_simulations))
        except ValueError as error:
            raise settings.SettingsError(f"{path}: {error}") from None
    return experiment
