"""Train a generator: the update step, data, checkpoints, metrics, and the detection of a collapse."""
