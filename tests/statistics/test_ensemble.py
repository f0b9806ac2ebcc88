"""Moments, percentiles and halves of an ensemble."""

import numpy as np
import pytest

from cosmogan.statistics import ensemble
from cosmogan.statistics.ensemble import Moments


def samples(n, d=4, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    return offset + rng.standard_normal((n, d)) @ rng.standard_normal((d, d))


@pytest.mark.parametrize("parts", [(1, 9), (5, 5), (0, 10), (3, 3, 4)])
def test_merged_moments_are_those_of_the_whole(parts):
    whole = samples(10)
    cut = np.split(whole, np.cumsum(parts)[:-1])
    found = ensemble.merged(Moments.of(part) for part in cut)
    assert found.n == 10
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance(), np.cov(whole.T), rtol=1e-12)


def test_a_large_mean_costs_no_digits():
    whole = samples(1000, offset=1e8)
    found = ensemble.merged(Moments.of(part) for part in np.array_split(whole, 7))
    np.testing.assert_allclose(found.covariance(), np.cov((whole - 1e8).T), rtol=1e-6)


def test_correlation_has_ones_on_its_diagonal():
    covariance = np.cov(samples(20).T)
    found = ensemble.correlation(covariance)
    np.testing.assert_allclose(np.diag(found), 1)
    np.testing.assert_allclose(found, np.corrcoef(samples(20).T), rtol=1e-12)


def test_summary_has_the_papers_percentiles_and_the_error_of_the_mean():
    whole = samples(50)
    found = ensemble.summary(whole)
    np.testing.assert_allclose(found["percentiles"], np.percentile(whole, [16, 50, 84], axis=0))
    np.testing.assert_allclose(found["error"], whole.std(axis=0, ddof=1) / np.sqrt(50))


def test_halves_share_no_sample_and_depend_on_the_seed_alone():
    halves = ensemble.random_halves(9, 5, seed=3)
    assert halves.shape == (5, 9)
    assert (halves.sum(axis=1) == 4).all()
    np.testing.assert_array_equal(halves, ensemble.random_halves(9, 5, seed=3))
    assert len({tuple(row) for row in halves}) > 1


def test_the_ratio_of_halves_scatters_as_the_error_of_two_means():
    whole = 10 + np.random.default_rng(0).standard_normal((400, 3))
    halves = ensemble.random_halves(400, 300, seed=0)
    found = ensemble.halves_ratio(whole, halves, ensemble.mean)
    np.testing.assert_allclose(found.std(axis=0), np.sqrt(2 / 200) / 10, rtol=0.2)
    first = halves[0]
    np.testing.assert_allclose(found[0], whole[first].mean(axis=0) / whole[~first].mean(axis=0) - 1)
