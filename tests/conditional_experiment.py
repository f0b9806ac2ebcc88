"""A tiny conditional experiment: lognormal subvolumes whose amplitude grows with time, written in a moment."""

from pathlib import Path

import numpy as np
import small_experiment
import yaml

from cosmogan import config, shards

REDSHIFTS = (3.0, 1.0, 0.0)
ROWS = 32  # subvolumes of a simulation


def write_shards(folder: Path, redshifts=REDSHIFTS, simulations: int = 3, varied: bool = False) -> None:
    """Write a shard for each simulation and redshift; with ``varied`` each simulation has its own Ω_m."""
    lines = []
    for number in range(simulations):
        field = np.random.default_rng(number).normal(size=(ROWS, 8, 8, 8))
        for axis in (1, 2, 3):
            field = (field + np.roll(field, 1, axis)) / np.sqrt(2)
        parameters = {"omega_m": 0.2 + 0.1 * number if varied else 0.3, "h": 0.7}
        for output, redshift in enumerate(redshifts):
            amplitude = 1 / (1 + redshift)
            geometry = shards.Geometry(redshift, 128.0, 32, 8, 515.0 * parameters["omega_m"])
            path = folder / f"simulation-{number:03d}-snapshot-{output:03d}.h5"
            with shards.create(path, ROWS, geometry, "simulated", {"parameters": parameters}) as file:
                file["density"][:] = np.exp(amplitude * field - amplitude**2 / 2)
                file["simulation"][:], file["corner"][:] = number, 0
            lines.append(shards.describe(path))
    shards.write_manifest(folder, geometry, "simulated", lines, {})


def load(folder: Path, **changed) -> config.Experiment:
    """Write the shards, unless they are there, and load an experiment of one epoch; simulation 2 is held out."""
    if not (folder / "shards").exists():
        write_shards(folder / "shards", varied="omega_m" in changed.get("condition", ()))
    tree = small_experiment.tree(folder, epochs=1)
    tree["model"]["condition"] = changed.pop("condition", ["redshift"])
    tree["sample"]["n_samples"] = 8
    path = folder / "conditional.yaml"
    path.write_text(yaml.safe_dump(tree | changed))
    return config.load(path)
