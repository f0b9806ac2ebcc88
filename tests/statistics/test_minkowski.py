"""Minkowski functionals: against a body counted cube by cube, and against the formulae of Gaussian fields."""

import itertools
import math

import numpy as np
import pytest
import torch

from cosmogan.statistics import fourier, minkowski
from cosmogan.statistics.minkowski import NU, minkowski_functionals, of_gaussian_field


def counted(density, filling):
    """Fractions of corners, edges, faces and cubes (by their dimension) in the body of the densest cells."""
    n = len(density)
    body = density >= np.sort(density.ravel())[-max(round(filling * n**3), 1)]
    inside, possible = np.zeros(4), np.zeros(4)
    for place in itertools.product(range(2 * n - 1), repeat=3):  # even components: extended along that axis
        beside = itertools.product(*[(x // 2,) if x % 2 == 0 else (x // 2, x // 2 + 1) for x in place])
        dimension = sum(x % 2 == 0 for x in place)
        possible[dimension] += 1
        inside[dimension] += any(body[cell] for cell in beside)
    return inside / possible


def test_functionals_are_those_of_the_body_counted_one_by_one():
    density = np.random.default_rng(0).standard_normal((2, 5, 5, 5))
    found = minkowski_functionals(density, box_size=10.0)
    for sample, values in zip(density, found.functionals, strict=True):
        for i, filling in enumerate(found.filling):
            corner, edge, face, cube = counted(sample, filling)
            expected = (2 / 3 * (face - cube) / 2, 2 / 3 * (edge - 2 * face + cube) / 4)
            np.testing.assert_allclose(values[:, i], [*expected, (corner - 3 * edge + 3 * face - cube) / 8], atol=1e-12)


@pytest.mark.parametrize(("shape", "euler"), [("ball", 1), ("ring", 0), ("shell", 2)])
def test_the_euler_number_counts_clumps_tunnels_and_cavities(shape, euler):
    n = 41
    x, y, z = np.indices((n, n, n)) - n // 2
    height = {
        "ball": -(x**2 + y**2 + z**2),
        "ring": -((np.hypot(x, y) - 10) ** 2) - z**2,
        "shell": -abs(np.sqrt(x**2 + y**2 + z**2) - 10),
    }[shape]
    fractions = minkowski._fractions(torch.from_numpy(height[None].astype(float)), np.array([0.07]))[0, 0]
    cubes, faces, edges, corners = fractions * [math.comb(3, k) * (n - 1) ** k * n ** (3 - k) for k in range(4)]
    assert corners - edges + faces - cubes == pytest.approx(euler, abs=1e-6)


def test_a_gaussian_field_has_what_the_formulae_say():
    n, smooth = 64, 3.0
    rng = np.random.default_rng(3)
    q = fourier.half_spectrum(n)[0] * 2 * np.pi / n
    white = np.fft.rfftn(rng.standard_normal((4, n, n, n)), axes=(1, 2, 3))
    fields = np.fft.irfftn(white * np.exp(-((q * smooth) ** 2) / 2), s=(n, n, n), axes=(1, 2, 3))
    gradient = np.sqrt(sum(np.mean((np.roll(fields, -1, a) - fields) ** 2) for a in (1, 2, 3))) / fields.std()
    found = minkowski_functionals(fields, float(n)).functionals.mean(axis=0)
    expected = of_gaussian_field(NU, gradient)
    for mine, theirs in zip(found, expected, strict=True):
        assert abs(mine - theirs).max() < 0.15 * abs(theirs).max()


def test_a_monotone_map_changes_nothing():
    density = np.random.default_rng(1).standard_normal((1, 12, 12, 12))
    first, second = (minkowski_functionals(one, 12.0).functionals for one in (density, np.exp(3 * density)))
    np.testing.assert_array_equal(first, second)
