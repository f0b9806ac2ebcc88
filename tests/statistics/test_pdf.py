"""Voxel PDFs and mean densities."""

import numpy as np
import torch

from cosmogan.statistics.pdf import mean_density, scaled_edges, unscaled_edges, voxel_pdf


def test_counts_are_those_of_a_plain_histogram():
    density = torch.from_numpy(np.random.default_rng(0).lognormal(0, 2, (3, 8, 8, 8)))
    for edges in (scaled_edges(), unscaled_edges()):
        values = 2 * density / (density + 4) - 1 if edges is not unscaled_edges else density
        found = voxel_pdf(values, edges)
        for row, sample in zip(found, values, strict=True):
            np.testing.assert_array_equal(row * 512, np.histogram(sample, edges)[0])


def test_edges_are_lower_inclusive_and_the_last_bin_holds_its_end():
    values = torch.tensor([[0.0, 1.0, 1.5, 2.0, 2.0001, -1.0]], dtype=torch.float64)
    np.testing.assert_allclose(voxel_pdf(values, np.array([0.0, 1.0, 2.0])) * 6, [[1, 3]])


def test_voxels_outside_count_in_the_total():
    density = torch.tensor([[0.0, 1e-5, 1.0, 1e5]])
    assert voxel_pdf(density, unscaled_edges()).sum() == 0.25


def test_the_bins_are_the_papers():
    assert len(scaled_edges()) == len(unscaled_edges()) == 50
    assert (scaled_edges()[0], scaled_edges()[-1]) == (-1, 1)
    np.testing.assert_allclose(unscaled_edges()[[0, -1]], [1e-4, 1e4])


def test_mean_density_is_summed_in_float64():
    density = torch.full((2, 64, 64, 64), 1.1)
    density[1, 0, 0, 0] = 1e7
    expected = density.double().mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(mean_density(density), expected, rtol=1e-14)
