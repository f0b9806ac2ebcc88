"""Measure generated and held-out subvolumes alike."""

__all__ = [
    "array_file",
    "baselines",
    "blocks",
    "comparison",
    "conditional",
    "external",
    "measure",
    "proposals",
    "summaries",
    "volume_statistics",
]
