"""Moments and percentiles of an ensemble, and their ratios."""

import numpy as np
import pytest

from cosmogan.statistics import ensemble, regions
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


def test_summary_has_the_papers_percentiles_and_errors():
    whole = samples(50)
    found = ensemble.summary(whole, ensemble.moments_of(whole, np.arange(50) // 5))
    np.testing.assert_allclose(found["percentiles"], np.percentile(whole, [16, 50, 84], axis=0))
    np.testing.assert_allclose(found["error"], whole.std(axis=0, ddof=1) / np.sqrt(50))
    np.testing.assert_allclose(found["covariance"], np.cov(whole.T), rtol=1e-12)
    np.testing.assert_allclose(found["correlation"], np.corrcoef(whole.T), rtol=1e-12)


@pytest.mark.parametrize("n_parts", [2, 3, 7])
def test_leaving_one_out_is_measuring_the_others(n_parts):
    whole, labels = samples(21), np.arange(21) % n_parts
    found = ensemble.left_out(ensemble.moments_of(whole, labels))
    assert len(found) == n_parts
    for label, moments in enumerate(found):
        rest = whole[labels != label]
        assert moments.n == len(rest)
        np.testing.assert_allclose(moments.mean, rest.mean(axis=0), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(moments.covariance(), np.cov(rest.T), rtol=1e-10)


def test_jackknife_errors_are_the_scatter_of_sets_drawn_anew():
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.5], [0.0, 1.0]])

    def again():
        ones, others = (3 + rng.standard_normal((640, 2)) @ mixing for _ in range(2))
        labels = regions.of_one_kind(640)
        return ensemble.compared(ensemble.moments_of(ones, labels), ensemble.moments_of(others, labels))

    found = [again() for _ in range(200)]
    for name in ("mean", "variance", "covariance", "correlation"):
        scatter = np.std([one[name] for one in found], axis=0)
        error = np.sqrt(np.mean([one[f"{name}_error"] ** 2 for one in found], axis=0))
        varies = scatter > 1e-6  # not the correlation of a number with itself
        assert varies.any()
        np.testing.assert_allclose(error[varies], scatter[varies], rtol=0.2)


def test_ratios_are_those_of_the_two_sets():
    one, other = samples(40, seed=1), 2 + samples(30, seed=2)
    found = ensemble.ratios(Moments.of(one), Moments.of(other))
    np.testing.assert_allclose(found["mean"], one.mean(axis=0) / other.mean(axis=0) - 1)
    np.testing.assert_allclose(found["variance"], one.var(axis=0, ddof=1) / other.var(axis=0, ddof=1) - 1)
    np.testing.assert_allclose(found["covariance"], np.cov(one.T) / np.cov(other.T) - 1, rtol=1e-9)
    np.testing.assert_allclose(found["correlation"], np.corrcoef(one.T) - np.corrcoef(other.T), atol=1e-12)


def test_the_ratio_of_halves_scatters_as_the_error_of_two_means():
    whole = 10 + np.random.default_rng(0).standard_normal((400, 3))
    halves = regions.splits(np.arange(400), 300, seed=0)
    found = ensemble.split_ratios(ensemble.moments_of(whole, np.arange(400)), halves)
    np.testing.assert_allclose(np.std([one["mean"] for one in found], axis=0), np.sqrt(2 / 200) / 10, rtol=0.2)
    first = halves[0]
    np.testing.assert_allclose(found[0]["mean"], whole[first].mean(axis=0) / whole[~first].mean(axis=0) - 1)
