"""Draw boxes of any size from a local generator: a quick simulation, refined tile by tile."""
