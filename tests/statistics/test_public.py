"""`from cosmogan import statistics`: one call each, numpy or torch in, frozen results out."""

import dataclasses
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

from cosmogan import statistics

matplotlib.use("Agg")


@pytest.fixture
def results(tmp_path):
    density = np.random.default_rng(0).lognormal(size=(3, 16, 16, 16)).astype(np.float32)
    triangles = statistics.paper_triangles(50.0, 16)[0]
    prints = statistics.fingerprint(density)
    return {
        "power": statistics.power_spectrum(density, 50.0),
        "cross": statistics.cross_power(density, torch.from_numpy(density).flip(0), 50.0),
        "bispectrum": statistics.bispectrum(density, 50.0, triangles),
        "pdf": statistics.voxel_pdf(density, statistics.unscaled_edges()),
        "peaks": statistics.peak_counts(density),
        "neighbours": statistics.nearest(prints, prints, np.arange(3)),
    }


def test_every_public_name_is_there():
    for name in statistics.__all__:
        assert getattr(statistics, name).__doc__, name
        assert name in dir(statistics)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        statistics.nothing  # noqa: B018


def test_results_are_frozen(results):
    for result in results.values():
        for field in dataclasses.fields(result):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(result, field.name, 0)
            if isinstance(getattr(result, field.name), np.ndarray):
                assert not getattr(result, field.name).flags.writeable


def test_results_are_drawn_and_saved_and_read_again(results, tmp_path):
    for name, result in results.items():
        axes = result.plot()
        assert axes.lines or axes.patches
        assert result.plot(axes) is axes
        result.save(tmp_path / f"{name}.npz")
        again = type(result).load(tmp_path / f"{name}.npz")
        for field in dataclasses.fields(result):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(result, field.name))
    matplotlib.pyplot.close("all")
    with pytest.raises(ValueError, match="expected a Bispectrum with k1, k2"):
        statistics.Bispectrum.load(tmp_path / "power.npz")
    with pytest.raises(ValueError, match=r"power.h5: expected a name that ends in .npz"):
        results["power"].save(tmp_path / "power.h5")


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i4", "f2"])
def test_arrays_of_any_real_type_and_layout_are_taken(dtype):
    density = np.random.default_rng(1).poisson(3, (8, 8, 8)).astype(dtype)
    density.setflags(write=False)
    expected = statistics.power_spectrum(density.astype(float), 10.0).power
    np.testing.assert_allclose(statistics.power_spectrum(density[::-1], 10.0).power, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="expected real numbers, found complex ones"):
        statistics.power_spectrum(density * 1j, 10.0)


def test_torch_is_imported_only_when_it_is_needed():
    code = "import sys; from cosmogan import statistics; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
