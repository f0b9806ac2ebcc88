"""Mapped Gaussian mocks: the P(k) and the PDF that they are given, and the same boxes whoever draws them."""

import numpy as np
import pytest
import torch

from cosmogan.statistics import mocks


@pytest.fixture(scope="module")
def given():
    """A lognormal box, whose P(k) a mapped Gaussian field can have."""
    n = 48
    axis = np.fft.fftfreq(n, 1 / n)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + np.arange(n // 2 + 1) ** 2)
    white = np.fft.rfftn(np.random.default_rng(0).standard_normal((n, n, n)))
    field = np.fft.irfftn(white * np.where(q > 0, np.maximum(q, 1) ** -1.5, 0), s=(n, n, n), axes=(0, 1, 2))
    return torch.from_numpy(np.exp(1.2 * field / field.std())).float()


def test_a_box_of_white_noise_has_unit_power():
    q, power = mocks.shell_power(torch.from_numpy(np.random.default_rng(1).standard_normal((32, 32, 32))))
    assert q[0] == pytest.approx(1 / 16, rel=0.3) and q[-1] == pytest.approx(np.sqrt(3), rel=0.05)
    np.testing.assert_allclose(power[3:25], 1, atol=0.15)


def test_mocks_have_the_power_and_the_pdf_that_they_are_given(given):
    quantiles = given.flatten().sort().values
    q, power = mocks.shell_power(given)
    recipe = mocks.solve(q, power, quantiles, 48, seed=5)
    assert recipe.off < 0.1 and recipe.clipped == 0
    lognormal = recipe.power[1:24] * np.maximum(q[1:24] * 24, 1) ** 3  # the spectrum that the box was made with
    np.testing.assert_allclose(lognormal / lognormal[8], 1, atol=0.35)
    boxes = [mocks.draw(recipe, 48, 5, number) for number in range(8)]
    found = np.mean([mocks.shell_power(box)[1] for box in boxes], axis=0)
    np.testing.assert_allclose((found / power)[6:24], 1, atol=0.2)
    levels = np.linspace(0.1, 0.99, 9)
    every = torch.stack(boxes).flatten().numpy()
    np.testing.assert_allclose(np.quantile(every, levels), np.quantile(given.numpy(), levels), rtol=0.1)


def test_a_power_that_no_mapped_field_has_is_clipped_and_said(given):
    q, power = mocks.shell_power(given)
    steep = power * np.where(q > 0.5, 1e-6, 1)
    recipe = mocks.solve(q, steep, given.flatten().sort().values, 48, seed=5)
    assert recipe.clipped > 0.3 and recipe.off > 0.5


def test_a_box_is_always_the_same_and_boxes_differ(given):
    recipe = mocks.Recipe(np.array([0.1, 2]), np.array([1.0, 1.0]), given.flatten().sort().values, 0.0, 0.0)
    first, again, other = (mocks.draw(recipe, 16, 1, number) for number in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
