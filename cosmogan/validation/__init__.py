"""Measure generated and held-out subvolumes alike."""
