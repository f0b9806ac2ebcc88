"""A generative emulator of the cosmic web: from GADGET-2 snapshots to a validated 3D generator."""

__version__ = "0.1.0"
