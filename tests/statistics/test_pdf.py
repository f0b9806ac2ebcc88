"""Voxel PDFs and mean densities."""

import itertools

import numpy as np
import pytest
import torch

from cosmogan.statistics.pdf import mean_density, peak_counts, scaled_edges, unscaled_edges, voxel_pdf


def test_counts_are_those_of_a_plain_histogram():
    density = torch.from_numpy(np.random.default_rng(0).lognormal(0, 2, (3, 8, 8, 8)))
    for edges in (scaled_edges(), unscaled_edges()):
        values = 2 * density / (density + 4) - 1 if edges is not unscaled_edges else density
        found = voxel_pdf(values, edges).fraction
        for row, sample in zip(found, values, strict=True):
            np.testing.assert_array_equal(row * 512, np.histogram(sample, edges)[0])


def test_edges_are_lower_inclusive_and_the_last_bin_holds_its_end():
    values = torch.tensor([0.0, 1.0, 1.5, 2.0, 2.0001, -1.0, -2.0, 3.0], dtype=torch.float64).reshape(1, 2, 2, 2)
    np.testing.assert_allclose(voxel_pdf(values, np.array([0.0, 1.0, 2.0])).fraction * 8, [[1, 3]])


def test_voxels_outside_count_in_the_total():
    density = torch.tensor([0.0, 1e-5, 1.0, 1e5, 2.0, 0.0, 0.0, 1e6]).reshape(1, 2, 2, 2)
    assert voxel_pdf(density, unscaled_edges()).fraction.sum() == 0.25


@pytest.mark.parametrize("edges", [[], [1.0], [1.0, 0.5], [0.1, np.nan, 3.0]])
def test_edges_that_do_not_rise_are_refused(edges):
    for count in (voxel_pdf, peak_counts):
        with pytest.raises(ValueError, match="edges: expected two or more rising numbers, found"):
            count(np.ones((4, 4, 4)), edges)


def test_the_bins_are_the_papers():
    assert len(scaled_edges()) == len(unscaled_edges()) == 50
    assert (scaled_edges()[0], scaled_edges()[-1]) == (-1, 1)
    np.testing.assert_allclose(unscaled_edges()[[0, -1]], [1e-4, 1e4])


def test_mean_density_is_summed_in_float64():
    density = torch.full((2, 64, 64, 64), 1.1)
    density[1, 0, 0, 0] = 1e7
    expected = density.double().mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(mean_density(density), expected, rtol=1e-14)


def test_peaks_are_the_voxels_denser_than_all_26_neighbours():
    density = np.random.default_rng(0).lognormal(0, 2, (3, 9, 9, 9))
    edges = np.array([0.5, 2.0, 8.0, 1e4])
    expected = np.zeros((3, 3))
    for i, (x, y, z) in itertools.product(range(3), itertools.product(range(1, 8), repeat=3)):
        around = density[i, x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2].ravel()
        if (around[13] > np.delete(around, 13)).all():
            expected[i] += np.histogram(around[13], edges)[0]
    np.testing.assert_array_equal(peak_counts(density, edges).count, expected)
    assert expected.sum() > 20


def test_a_plateau_is_no_peak():
    density = torch.zeros(1, 8, 8, 8)
    density[0, 3, 3, 3:5] = 5.0
    density[0, 1, 6, 6] = 2.0
    assert peak_counts(density).count.sum() == 1
