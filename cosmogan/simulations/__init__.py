"""Turn particles into shards: simulated boxes, snapshots on disk, and their densities."""

__all__ = [
    "box",
    "gadget2_input",
    "gridding",
    "parameters",
    "simulated",
    "snapshots",
]
