"""Moments, percentiles and halves of an ensemble."""

import numpy as np
import pytest

from cosmogan.nbody.decompose import morton
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


def test_groups_never_hold_two_boxes_and_are_of_neighbours():
    boxes = np.array([4] * 10 + [7] * 3 + [5] * 10)
    found = ensemble.groups(boxes, np.arange(len(boxes)), 12)
    assert len(np.unique(found)) == 4 + 3 + 4
    for group in np.unique(found):
        rows = np.flatnonzero(found == group)
        assert len(set(boxes[rows])) == 1
        assert (np.diff(rows) == 1).all()


def test_jackknife_errors_are_the_scatter_of_sets_drawn_anew():
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.5], [0.0, 1.0]])

    def again():
        ones, others = (3 + rng.standard_normal((640, 2)) @ mixing for _ in range(2))
        labels = ensemble.of_one_kind(640)
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


def test_splits_cut_boxes_into_halves_and_take_all_ways_where_they_are_few():
    boxes = np.repeat([3, 5, 8, 9], 4)
    halves = ensemble.splits(boxes, 100, seed=0)
    assert len(halves) == len(np.unique(halves, axis=0)) == 6
    assert (halves.reshape(6, 4, 4).all(axis=2) | ~halves.reshape(6, 4, 4).any(axis=2)).all()
    assert (halves.sum(axis=1) == 8).all()
    many = ensemble.splits(np.arange(30), 50, seed=3)
    assert many.shape == (50, 30)
    assert (many.sum(axis=1) == 15).all()
    np.testing.assert_array_equal(many, ensemble.splits(np.arange(30), 50, seed=3))


def test_few_boxes_are_halved_by_their_octants_and_many_whole():
    place = np.stack(np.unravel_index(np.random.default_rng(0).permutation(64), (4, 4, 4)), axis=1)
    boxes, along = np.repeat([3, 5], 64), np.tile(morton(place), 2)
    labels, _ = ensemble.halves(boxes, along, np.ones(128), 100, seed=0)
    octants = np.column_stack((boxes, np.tile(place // 2, (2, 1))))
    found = [np.unique(octants[labels == label], axis=0) for label in range(16)]
    assert all(len(one) == 1 for one in found) and len(np.unique(np.concatenate(found), axis=0)) == 16
    labels, halves = ensemble.halves(np.repeat(np.arange(6) + 7, 64), np.tile(along, 3), np.ones(384), 100, seed=0)
    assert (labels == np.repeat(np.arange(6), 64)).all() and halves.shape == (20, 6)


def test_the_floor_of_two_boxes_is_no_single_draw_and_halves_are_of_one_density():
    """Two boxes that happen to be alike; regions whose mean density, which the boxes share, would say all."""
    rng = np.random.default_rng(1)
    level = np.repeat(rng.standard_normal((2, 8)), 8, axis=1)
    density = 1 + 0.1 * (level - level.mean(axis=1, keepdims=True)).ravel()
    own = rng.standard_normal((2, 64))
    statistic = 10 * density + 0.1 * (own - own.mean(axis=1, keepdims=True)).ravel()
    boxes, along = np.repeat([0, 1], 64), np.tile(np.arange(64), 2)
    assert abs(statistic[boxes == 0].mean() - statistic[boxes == 1].mean()) < 1e-12
    labels, halves = ensemble.halves(boxes, along, density, 100, seed=0)
    apart = np.array([statistic[half].mean() - statistic[~half].mean() for half in halves[:, labels]])
    assert len(apart) == 100 and apart.std() == pytest.approx(0.1 * np.sqrt(2 / 64), rel=0.5)


def test_the_ratio_of_halves_scatters_as_the_error_of_two_means():
    whole = 10 + np.random.default_rng(0).standard_normal((400, 3))
    halves = ensemble.splits(np.arange(400), 300, seed=0)
    found = ensemble.split_ratios(ensemble.moments_of(whole, np.arange(400)), halves)
    np.testing.assert_allclose(np.std([one["mean"] for one in found], axis=0), np.sqrt(2 / 200) / 10, rtol=0.2)
    first = halves[0]
    np.testing.assert_allclose(found[0]["mean"], whole[first].mean(axis=0) / whole[~first].mean(axis=0) - 1)
