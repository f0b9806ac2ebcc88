"""Experiments on given snapshots, for tests of preprocess."""

from pathlib import Path

import h5py
import numpy as np
import yaml

from cosmogan import shards


def write_config(folder: Path, snapshots, **settings) -> Path:
    """An experiment on given snapshots: 32³ cells in subvolumes of 8³, unless ``settings`` say otherwise."""
    tree = {"name": "test", "output": str(folder / "run")}
    tree["preprocess"] = {"snapshots": [str(s) for s in snapshots], "n_mesh": 32, "subvolume": 8} | settings
    folder.mkdir(exist_ok=True)
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def grid(folder: Path, simulation: int = 0) -> np.ndarray:
    """Put a simulation's subvolumes back together."""
    opened = shards.Folder(folder)
    n, m = opened.geometry.n_mesh, opened.geometry.subvolume
    mesh = np.full((n, n, n), np.nan, np.float32)
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            for density, corner, number in zip(file["density"], file["corner"], file["simulation"], strict=True):
                if number == simulation:
                    mesh[tuple(slice(c, c + m) for c in corner)] = density
    return mesh


def real(data):
    return data / "g2_32_mpc_f1" / "snapshot_006"
