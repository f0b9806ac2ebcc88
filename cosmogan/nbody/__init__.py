"""Particles: read, made, moved and put on a mesh."""
