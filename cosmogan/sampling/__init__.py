"""Draw subvolumes from a released generator."""
