"""A small experiment on real snapshots for a real SLURM, and how far its stages are."""

import json

import yaml
from conftest import DATA, ROOT
from slurm_cluster import read

STAGES = {
    "preprocess": {"nodes": 2, "tasks_per_node": 2, "minutes": 10},
    "train": {"nodes": 2, "gpus_per_node": 4, "minutes": 20},
    "select": {"tasks_per_node": 2, "minutes": 10},
    "sample": {"minutes": 10, "array": 2},
    "validate": {"nodes": 2, "minutes": 10},
}


def write(folder, n_snapshots):
    """Write an experiment on real snapshots, many of them the same one, with ``folder/run`` as its output."""
    folder.mkdir(parents=True, exist_ok=True)
    real = DATA / "g2_32_mpc_f1" / "snapshot_006"
    links = folder.parent / "snapshots"
    links.mkdir(exist_ok=True)
    for number in range(n_snapshots):
        if not (links / f"box-{number:03d}").exists():
            (links / f"box-{number:03d}").symlink_to(real)
    tree = {
        "name": "real",
        "output": "run",
        "held_out": [n_snapshots - 1],
        "preprocess": {
            "snapshots": [str(links / f"box-{number:03d}") for number in range(n_snapshots)],
            "n_mesh": 32,
            "subvolume": 8,
            "shards": 2,
        },
        "model": {"kappa": 4, "width": 8, "latent_dimension": 16, "density_bias": True},
        "train": {"epochs": 8, "ema": 200, "device": "cpu", "epoch_repeats": 1, "batch_norm_group": 4},
        "select": {"n_samples": 16, "n_tune": 16},
        "sample": {"n_samples": 48, "samples_per_shard": 20},
        "validate": {"n_k": 4},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree))
    cluster = {"defaults": str(ROOT / "configs" / "cluster" / "chain.yaml"), "executor": "slurm", "stages": STAGES}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(cluster))


def counted(folder, stage):
    """Return how far a stage is, 0 before it has begun."""
    text = read(folder / "run" / "jobs" / f"{stage}.progress.json")
    return json.loads(text)[-1]["count"] if text else 0
