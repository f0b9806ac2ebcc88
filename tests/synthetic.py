"""Made-up runs: lognormal boxes cut into subvolumes and written as `preprocess` and `sample` write them."""

from pathlib import Path

import numpy as np
import yaml

from cosmogan import shards

N_MESH, SUBVOLUME, CELL = 48, 16, 4.0
GEOMETRY = shards.Geometry(
    redshift=0.0, box_size=N_MESH * CELL, n_mesh=N_MESH, subvolume=SUBVOLUME, mean_cell_mass=515.0, window=2
)


def lognormal_box(seed, amplitude=1.0, n=N_MESH):
    """A box whose logarithm is Gaussian with P(k) ~ 1/k², (n, n, n) float64, of mean 1."""
    axis = np.fft.fftfreq(n, 1 / n)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + np.arange(n // 2 + 1) ** 2)
    white = np.fft.rfftn(np.random.default_rng(seed).standard_normal((n, n, n)))
    field = np.fft.irfftn(white * np.where(q > 0, 1 / np.maximum(q, 1), 0), s=(n, n, n), axes=(0, 1, 2))
    field *= amplitude / field.std()
    return np.exp(field - amplitude**2 / 2)


def cut(box, m=SUBVOLUME):
    """Cut a box into subvolumes, (n³/m³, m, m, m)."""
    k = len(box) // m
    return box.reshape(k, m, k, m, k, m).transpose(0, 2, 4, 1, 3, 5).reshape(-1, m, m, m)


def write_simulated(folder, n_boxes=3, geometry=GEOMETRY):
    """Write boxes 0 … n - 1, a shard each."""
    listed = []
    for number in range(n_boxes):
        density = cut(lognormal_box(number))
        path = Path(folder) / f"shard-{number}.h5"
        with shards.create(path, len(density), geometry, "simulated", {}) as file:
            file["density"][:] = density
            file["simulation"][:], file["corner"][:] = number, 0
        listed.append(shards.describe(path))
    shards.write_manifest(Path(folder), geometry, "simulated", listed, {})


def write_generated(folder, amplitude=1.0, n_boxes=2, geometry=GEOMETRY):
    """Write "generated" subvolumes, in two shards."""
    density = np.concatenate([cut(lognormal_box(100 + i, amplitude)) for i in range(n_boxes)])
    density = np.random.default_rng(0).permutation(density)
    listed = []
    for i, part in enumerate(np.array_split(density, 2)):
        path = Path(folder) / f"shard-{i}.h5"
        with shards.create(path, len(part), geometry, "generated", {}) as file:
            file["density"][:] = part
            file["seed"][:], file["index"][:] = 1, np.arange(len(part))
        listed.append(shards.describe(path))
    shards.write_manifest(Path(folder), geometry, "generated", listed, {})


def write_few(folder, n, geometry=GEOMETRY):
    """Write ``n`` "generated" subvolumes over those that are there."""
    for path in Path(folder).glob("*.h5"):
        path.unlink()
    path = Path(folder) / "few.h5"
    with shards.create(path, n, geometry, "generated", {}) as file:
        file["density"][:] = cut(lognormal_box(100))[:n]
        file["seed"][:], file["index"][:] = 1, np.arange(n)
    shards.write_manifest(Path(folder), geometry, "generated", [shards.describe(path)], {})


def write_config(folder, **settings):
    """Write the config of a run in ``folder``/run whose last simulation is held out; return its path."""
    tree = {
        "name": "synthetic",
        "output": str(Path(folder) / "run"),
        "held_out": [2],
        "simulate": {"n_simulations": 3, "box_size": GEOMETRY.box_size},
        "preprocess": {"n_mesh": N_MESH, "subvolume": SUBVOLUME},
        "model": {"kappa": 4.0},
        "validate": {"batch_size": 8},
        **settings,
    }
    path = Path(folder) / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def write_run(folder, amplitude=1.0):
    """Write both sets and the config of a run; return the config's path."""
    write_simulated(Path(folder) / "run" / "shards")
    write_generated(Path(folder) / "run" / "samples", amplitude)
    return write_config(folder)
