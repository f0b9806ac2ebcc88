"""Run a chain of stages on a machine: as jobs of its scheduler, or one after the other where it has none."""
