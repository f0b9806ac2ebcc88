"""A tiny experiment for the tests of training and what follows it: lognormal subvolumes, written in a moment."""

from pathlib import Path

import numpy as np
import yaml

from cosmogan import config, shards

GEOMETRY = shards.Geometry(redshift=0.0, box_size=128.0, n_mesh=32, subvolume=8, mean_cell_mass=515.0)
STEPS = 3 * 16  # three epochs of 128 subvolumes in batches of 8
CORNERS = 8 * np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1)


def write_shards(folder: Path, simulations: int = 3, seed: int = 0) -> None:
    """Write one shard of 64 smooth lognormal subvolumes a simulation."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(simulations):
        field = random.normal(size=(64, 8, 8, 8))
        for axis in (1, 2, 3):
            field = (field + np.roll(field, 1, axis)) / np.sqrt(2)
        path = folder / f"simulation-{number:03d}.h5"
        with shards.create(path, 64, GEOMETRY, "simulated", {}) as file:
            file["density"][:] = np.exp(field - 0.5)
            file["simulation"][:] = number
            file["corner"][:] = CORNERS
        lines.append(shards.describe(path))
    shards.write_manifest(folder, GEOMETRY, "simulated", lines, {})


def tree(folder: Path, model: dict | None = None, **train) -> dict:
    """Return an experiment of three epochs, `STEPS`, in ``folder``; simulation 2 is held out."""
    return {
        "name": "small",
        "output": str(folder / "run"),
        "held_out": [2],
        "preprocess": {"n_mesh": 32, "subvolume": 8, "output": str(folder / "shards")},
        "model": {"kappa": 4.0, "width": 4, "latent_dimension": 6, "density_bias": True} | (model or {}),
        "train": {"epochs": 3, "batch_size": 8, "batch_norm_group": 4, "ema": 100, "epoch_repeats": 1, "seed": 3}
        | train,
        "select": {"n_samples": 32, "n_tune": 16},
        "sample": {"n_samples": 20, "samples_per_shard": 8, "batch_size": 5},
    }


def write(folder: Path, **train) -> Path:
    """Write the shards, unless they are there, and the YAML file; return its path."""
    if not (folder / "shards").exists():
        write_shards(folder / "shards")
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(tree(folder, **train)))
    return path


def load(folder: Path, **train) -> config.Experiment:
    """Write and load the experiment."""
    return config.load(write(folder, **train))
