"""Small folders of shards: with random densities, and with those of a known array."""

import numpy as np

from cosmogan import shards

GEOMETRY = shards.Geometry(redshift=0.5, box_size=32.0, n_mesh=16, subvolume=4, mean_cell_mass=8.0)
VALUES = np.arange(8 * 64, dtype=np.float32).reshape(8, 4, 4, 4)


def fill(path, number, n, redshift=0.5):
    """Write one simulation's shard; return its line of the manifest."""
    with shards.create(path, n, at(redshift), "simulated", {"files": [f"sims/box{number}/snapshot_006"]}) as file:
        file["density"][:] = np.random.default_rng(number).lognormal(size=(n, 4, 4, 4))
        file["density"][0, 0, 0, :2] = 0
        file["simulation"][:] = number
        file["corner"][:] = 4 * np.arange(n)[:, None]
    return shards.describe(path)


def write(folder):
    """Write three simulations of 5 subvolumes, in a shard each."""
    lines = [fill(folder / f"s{i}.h5", i, 5) for i in range(3)]
    shards.write_manifest(folder, GEOMETRY, "simulated", lines, {"snapshots": []})
    return folder


def at(redshift):
    return shards.Geometry(redshift, 32.0, 16, 4, 8.0)


def write_values(folder, redshifts=(0.5, 0.5)):
    """Write the rows of VALUES, + 1000 … in later pairs: simulations 0 and 1, 3 and 5 rows, a redshift a shard."""
    lines = []
    for i, redshift in enumerate(redshifts):
        part = slice(0, 3) if i % 2 == 0 else slice(3, 8)
        path = folder / f"s{i}.h5"
        with shards.create(path, len(VALUES[part]), at(redshift), "simulated", {"files": [f"box{i % 2}/snap"]}) as file:
            file["density"][:] = VALUES[part] + 1000 * (i // 2)
            file["simulation"][:] = i % 2
            file["corner"][:] = np.arange(8)[part][:, None]
        lines.append(shards.describe(path))
    shards.write_manifest(folder, at(redshifts[0]), "simulated", lines, {"files": ["a"]})
    return folder


def write_boxes(folder, boxes, m, without=None):
    """Write whole boxes (n, N, N, N), a shard of subvolumes of m³ cells each; one row may be left out."""
    n_mesh = boxes.shape[-1]
    geometry = shards.Geometry(0.0, float(n_mesh), n_mesh, m, 8.0)
    side = n_mesh // m
    corners = m * np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1)
    corners = np.delete(corners, [] if without is None else without, axis=0)
    lines = []
    for number, box in enumerate(boxes):
        path = folder / f"box{number}.h5"
        with shards.create(path, len(corners), geometry, "simulated", {}) as file:
            file["density"][:] = [box[x : x + m, y : y + m, z : z + m] for x, y, z in corners]
            file["simulation"][:] = number
            file["corner"][:] = corners
        lines.append(shards.describe(path))
    shards.write_manifest(folder, geometry, "simulated", lines, {})
    return folder
