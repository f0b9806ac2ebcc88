"""Copies are found in any orientation, and nothing else is; diversity counts what is different."""

import numpy as np
import pytest
import synthetic
import torch

from cosmogan.statistics import neighbours
from cosmogan.statistics.neighbours import fingerprint, nearest


@pytest.fixture(scope="module")
def volumes():
    return np.concatenate([synthetic.cut(synthetic.lognormal_box(i)) for i in range(2)])


def test_the_48_orientations_are_different_and_hold_every_cell():
    cube = torch.arange(27.0).reshape(3, 3, 3)
    made = {tuple(neighbours.oriented(cube, i).flatten().tolist()) for i in range(48)}
    assert len(made) == 48
    assert all(sorted(cells) == list(range(27)) for cells in made)
    # neighbours stay neighbours: the sum of products of adjacent cells does not change
    pairs = {float((turned[0, 1:] * turned[0, :-1]).sum() + (turned[0, :, 1:] * turned[0, :, :-1]).sum()
                   + (turned[0, ..., 1:] * turned[0, ..., :-1]).sum())
             for turned in (neighbours.oriented(cube, i) for i in range(48))}  # fmt: skip
    assert len(pairs) == 1


@pytest.mark.parametrize("symmetry", [0, 1, 7, 26, 47])
def test_a_turned_copy_is_found_with_its_original_and_orientation(volumes, symmetry):
    copies = neighbours.oriented(volumes[[5, 11]].copy(), symmetry)
    found = nearest(fingerprint(volumes), fingerprint(copies))
    assert (found.similarity[[5, 11]] > 1 - 1e-6).all()
    assert list(found.row[[5, 11]]) == [0, 1]
    assert np.delete(found.similarity, [5, 11]).max() < 0.9
    for original, copy in ((5, 0), (11, 1)):
        turned = fingerprint(neighbours.oriented(volumes[[original]].copy(), 0))[0]
        image = neighbours._images(8)[found.symmetry[original]].numpy()
        np.testing.assert_allclose(turned[image], fingerprint(copies)[copy], atol=1e-6)


def test_similarity_is_the_correlation_of_the_coarse_fields(volumes):
    coarse = volumes[:2].reshape(2, 8, 2, 8, 2, 8, 2).mean(axis=(2, 4, 6))
    scaled = (coarse / (1 + coarse)).reshape(2, -1)
    found = fingerprint(volumes[:2])
    np.testing.assert_allclose(found[0] @ found[1], np.corrcoef(scaled)[0, 1], atol=1e-6)


def test_a_volume_is_not_its_own_neighbour(volumes):
    prints = fingerprint(volumes)
    found = nearest(prints, prints, np.arange(len(prints)))
    assert (found.row != np.arange(len(prints))).all()
    assert found.similarity.max() < 0.9
    assert nearest(prints, prints).similarity.min() > 1 - 1e-6


def test_real_volumes_that_are_there_twice_do_not_hide_copies():
    assert neighbours.copies_threshold(np.array([0.4, 0.6, 0.2])) == pytest.approx(0.8)
    assert neighbours.copies_threshold(np.array([0.4, 0.6, 1.0, 1 + 1e-7, 1 - 1e-7])) == pytest.approx(0.8)


def test_diversity_counts_different_volumes():
    prints = np.eye(512, dtype=np.float32)[:100]
    assert neighbours.diversity(prints) == pytest.approx(100)
    assert neighbours.diversity(np.tile(prints[:20], (5, 1))) == pytest.approx(20)
    assert neighbours.diversity(np.tile(prints[:1], (50, 1))) == pytest.approx(1)


def test_uniform_volumes_are_copies_of_one_another_and_of_no_other(volumes):
    uniform = fingerprint(np.concatenate([np.full((1, 16, 16, 16), value) for value in (0.0, 0.1, 2.0)]))
    np.testing.assert_allclose(nearest(uniform, uniform, np.arange(3)).similarity, 1, atol=1e-6)
    assert abs(nearest(uniform, fingerprint(volumes)).similarity).max() < 1e-6
    assert neighbours.diversity(uniform) == pytest.approx(1)


@pytest.mark.parametrize("n", [40, 600])
def test_diversities_without_a_group_are_those_of_the_others(n):
    prints = np.random.default_rng(0).standard_normal((n, 512)).astype(np.float32)
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    groups = np.arange(n) % 3
    whole, without = neighbours.diversities(prints, groups)
    assert whole == pytest.approx(neighbours.diversity(prints))
    assert without == pytest.approx([neighbours.diversity(prints[groups != group]) for group in range(3)])


def test_fingerprints_of_other_sizes_are_refused(volumes):
    prints = fingerprint(volumes)
    for others in (prints[:0], prints[:, :64]):
        with pytest.raises(ValueError, match="fingerprints: expected some of one length"):
            nearest(prints, others)
