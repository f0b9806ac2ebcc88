"""This project's statistics against nbodykit and Pylians, on a density field of a real GADGET-2 run."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmogan.statistics import fourier, reference
from cosmogan.statistics.bispectra import bispectrum, paper_triangles
from cosmogan.statistics.power import cross_power, power_spectrum

COUNTS = Path(__file__).parents[1] / "data" / "g2_32_mpc_f1" / "facts" / "snapshot_006_cic32_pylians.npy"
N, L = 32, 32.0
MISSING = "{} is not installed; `make reference` adds it"


@pytest.fixture
def nbodykit():
    return pytest.importorskip("nbodykit.lab", reason=MISSING.format("nbodykit"))


@pytest.fixture
def pylians():
    return pytest.importorskip("Pk_library", reason=MISSING.format("Pylians"))


@pytest.fixture
def fields():
    """Two batches: the real field and other ones made of it."""
    counts = np.load(COUNTS)
    density = torch.from_numpy(counts / counts.mean(dtype=np.float64)).float()
    first = torch.stack([density, density.flip(1).roll(5, 0)])
    return first, torch.stack([density.permute(1, 2, 0).roll(3, 1), density**1.5])


def without_own_conjugates(values):
    """Leave out the bins with modes that are their own conjugates, which Pylians counts twice."""
    return np.delete(values, [int(np.sqrt(j) * N / 2) - 1 for j in (1, 2, 3)], axis=-1)


def assert_same_spectra(found, expected, scale, pick=lambda values: values):
    np.testing.assert_allclose(pick(found.n_modes), pick(expected.n_modes))
    np.testing.assert_allclose(pick(found.k), pick(expected.k), rtol=1e-6)
    np.testing.assert_allclose(pick(found.power / scale), pick(expected.power / scale), atol=1e-5)


def test_nbodykit_power(nbodykit, fields):
    for edges in (None, fourier.linear_edges(L, N, 6)):
        expected = power_spectrum(fields[0], L, edges)
        assert_same_spectra(reference.nbodykit_power(fields[0], L, edges), expected, expected.power)


def test_nbodykit_cross_power(nbodykit, fields):
    scale = np.sqrt(power_spectrum(fields[0], L).power * power_spectrum(fields[1], L).power)
    assert_same_spectra(reference.nbodykit_cross(*fields, L), cross_power(*fields, L), scale)


def test_pylians_power(pylians, fields):
    expected = power_spectrum(fields[0], L)
    assert_same_spectra(reference.pylians_power(fields[0], L), expected, expected.power, without_own_conjugates)


def test_pylians_cross_power(pylians, fields):
    scale = np.sqrt(power_spectrum(fields[0], L).power * power_spectrum(fields[1], L).power)
    expected = cross_power(*fields, L)
    assert_same_spectra(reference.pylians_cross(*fields, L), expected, scale, without_own_conjugates)


def test_pylians_bispectrum(pylians, fields, capfd):
    compared = 0
    for triangles in paper_triangles(L, N):
        ours = bispectrum(fields[0], L, triangles)
        theirs = reference.pylians_bispectrum(fields[0], L, triangles)
        # beyond this, Pylians counts triangles that close only around the grid
        closed = (triangles.k1 + triangles.k2 + triangles.k3) / fourier.k_fundamental(L) + 3 < N
        np.testing.assert_allclose(theirs.bispectrum[:, closed], ours.bispectrum[:, closed], rtol=1e-4)
        np.testing.assert_allclose(theirs.reduced[:, closed], ours.reduced[:, closed], rtol=1e-4)
        np.testing.assert_allclose(theirs.n_triangles[closed], ours.n_triangles[closed], rtol=1e-4)
        compared += closed.sum()
    assert compared >= 30
    assert capfd.readouterr().out == ""


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "Pk_library", None)
    with pytest.raises(ValueError, match=r"Pk_library: cannot be imported .*make reference"):
        reference.require("pylians")
    reference.require("native")


def test_bins_that_pylians_does_not_have_are_refused(monkeypatch):
    monkeypatch.setattr(reference, "_package", lambda name: None)
    with pytest.raises(ValueError, match="Pylians has wavenumber bins of one fundamental only"):
        reference.pylians_power(torch.ones(1, 8, 8, 8), L, np.array([0.2, 1.0]))
