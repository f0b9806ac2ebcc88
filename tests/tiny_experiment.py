"""The smallest experiment that all stages take, from simulations to a report: three boxes of eight subvolumes."""

from pathlib import Path

import yaml


def write(folder: Path) -> Path:
    """Write the YAML file, whose run goes to the folder too; return its path."""
    boxes = {"n_simulations": 3, "box_size": 64.0, "n_particles": 16, "mesh_factor": 1, "redshifts": [0.0]}
    boxes |= {"n_steps": 3, "transfer": "eisenstein-hu", "device": "cpu"}
    tree = {
        "name": "tiny",
        "output": str(folder / "run"),
        "held_out": [1, 2],
        "simulate": boxes,
        "preprocess": {"n_mesh": 16, "subvolume": 8},
        "model": {"width": 4, "latent_dimension": 6},
        "train": {"epochs": 1, "batch_size": 4, "batch_norm_group": 4, "epoch_repeats": 1},
        "select": {"n_samples": 16, "n_tune": 0},
        "sample": {"n_samples": 16},
        "validate": {"n_k": 4},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path
