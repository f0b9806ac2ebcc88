"""Turn cubes into their 48 orientations, in all of which the universe looks alike."""

import itertools
from collections.abc import Iterable

import torch

# A symmetry of the cube: the order of the axes, and the axes that are reversed. Number 0 leaves it as it is.
SYMMETRIES = [
    (order, tuple(axis for axis in range(3) if signs[axis]))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((False, True), repeat=3)
]


def oriented(cubes: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Return cubes (..., m, m, m) in one of the 48 orientations."""
    order, reversed_axes = SYMMETRIES[symmetry]
    axes = range(cubes.ndim - 3, cubes.ndim)
    turned = cubes.permute(*range(cubes.ndim - 3), *(axes[axis] for axis in order))
    return turned.flip([axes[axis] for axis in reversed_axes])


def each_oriented(cubes: torch.Tensor, symmetries: Iterable[int]) -> torch.Tensor:
    """Return cubes (n, m, m, m), each in an orientation of its own."""
    return torch.stack([oriented(cube, symmetry) for cube, symmetry in zip(cubes, symmetries, strict=True)])
