"""Particles to shards: simulated boxes, snapshots on disk, and their densities."""
