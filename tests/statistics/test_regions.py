"""Groups and halves of samples."""

import numpy as np
import pytest

from cosmogan.nbody.decompose import morton
from cosmogan.statistics import regions


def test_groups_never_hold_two_boxes_and_are_of_neighbours():
    boxes = np.array([4] * 10 + [7] * 3 + [5] * 10)
    found = regions.groups(boxes, np.arange(len(boxes)), 12)
    assert len(np.unique(found)) == 4 + 3 + 4
    for group in np.unique(found):
        rows = np.flatnonzero(found == group)
        assert len(set(boxes[rows])) == 1
        assert (np.diff(rows) == 1).all()


def test_splits_cut_boxes_into_halves_and_take_all_ways_where_they_are_few():
    boxes = np.repeat([3, 5, 8, 9], 4)
    halves = regions.splits(boxes, 100, seed=0)
    assert len(halves) == len(np.unique(halves, axis=0)) == 6
    assert (halves.reshape(6, 4, 4).all(axis=2) | ~halves.reshape(6, 4, 4).any(axis=2)).all()
    assert (halves.sum(axis=1) == 8).all()
    many = regions.splits(np.arange(30), 50, seed=3)
    assert many.shape == (50, 30)
    assert (many.sum(axis=1) == 15).all()
    np.testing.assert_array_equal(many, regions.splits(np.arange(30), 50, seed=3))


def test_few_boxes_are_halved_by_their_octants_and_many_whole():
    place = np.stack(np.unravel_index(np.random.default_rng(0).permutation(64), (4, 4, 4)), axis=1)
    boxes, along = np.repeat([3, 5], 64), np.tile(morton(place), 2)
    labels, _ = regions.halves(boxes, along, np.ones(128), 100, seed=0)
    octants = np.column_stack((boxes, np.tile(place // 2, (2, 1))))
    found = [np.unique(octants[labels == label], axis=0) for label in range(16)]
    assert all(len(one) == 1 for one in found) and len(np.unique(np.concatenate(found), axis=0)) == 16
    labels, halves = regions.halves(np.repeat(np.arange(6) + 7, 64), np.tile(along, 3), np.ones(384), 100, seed=0)
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
    labels, halves = regions.halves(boxes, along, density, 100, seed=0)
    apart = np.array([statistic[half].mean() - statistic[~half].mean() for half in halves[:, labels]])
    assert len(apart) == 100 and apart.std() == pytest.approx(0.1 * np.sqrt(2 / 64), rel=0.5)
