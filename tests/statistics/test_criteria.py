"""`criteria`: what generated samples are judged by."""

import numpy as np
import pytest

from cosmogan.statistics import criteria


def test_judging_finds_the_shift_its_error_and_the_noise():
    rng = np.random.default_rng(0)
    real, fake = 10 + rng.standard_normal((400, 1)), 11 + rng.standard_normal((400, 1))
    again = criteria.Resamples.of(np.zeros(400), None, np.ones(400), 400, seed=0)
    found = criteria.evaluate(criteria.worst_mean, real, fake, again)
    assert found.value == pytest.approx(0.1, abs=0.02)
    assert found.error == pytest.approx(np.sqrt(2 / 400) / 10, rel=0.4)
    assert 0 < found.floor < 0.03 and 0 < found.floor_error < 0.02
    assert criteria.median_shift(real, fake) == pytest.approx(0.1, abs=0.03)
    assert criteria.worst_factor(real, fake) == pytest.approx(criteria.worst_factor(fake, real))
    assert criteria.worst_variance(real, 2 * fake) == pytest.approx(3, abs=1)


def test_cross_power_is_significant_only_when_samples_share_something():
    samples = np.random.default_rng(1).standard_normal((500, 20))
    assert criteria.significance(samples) < 1.6
    assert criteria.significance(samples + 0.5) > 5


def test_the_pdf_agrees_down_to_where_it_first_does_not():
    rng = np.random.default_rng(2)
    real = np.full((200, 5), 0.2) + 1e-3 * rng.standard_normal((200, 5))
    edges = np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0])
    fake = real * np.array([1.0, 1.5, 1.1, 0.9, 1.0])
    assert criteria.lowest_agreement(real, fake, edges) == 0.1
    assert criteria.lowest_agreement(real, fake[:, ::-1], edges) == 10.0
    assert criteria.lowest_agreement(real, 2 * fake, edges) == np.inf
