"""`from cosmogan import statistics`: one call each, numpy or torch in, frozen results out."""

import dataclasses
import subprocess
import sys
from itertools import pairwise

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
        "minkowski": statistics.minkowski_functionals(density, 50.0),
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


def test_no_two_wavenumbers_below_a_spectrum_overlap():
    density = np.random.default_rng(0).lognormal(size=(3, 32, 32, 32)).astype(np.float32)
    axes = statistics.power_spectrum(density, 64.0).plot()
    axes.figure.canvas.draw()
    labels = [label.get_window_extent() for label in axes.get_xticklabels(which="both") if label.get_text()]
    ends = sorted((box.x0, box.x1) for box in labels if axes.bbox.x0 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1)
    assert len(ends) > 2 and all(high < low for (_, high), (low, _) in pairwise(ends))
    matplotlib.pyplot.close("all")


def test_results_are_datasets_with_dimensions_and_units(results):
    pytest.importorskip("xarray", reason="not installed; `make test` adds it")
    for result in results.values():
        dataset = result.to_dataset()
        fields = {field.name for field in dataclasses.fields(result)}
        assert set(dataset.variables) == fields and dataset.attrs["statistic"] == type(result).__name__
        assert all("sample" in variable.dims for variable in dataset.data_vars.values())
        assert dataset.sizes["sample"] == 3
        for name in fields:
            np.testing.assert_array_equal(dataset[name], getattr(result, name))
    spectrum = results["power"].to_dataset()
    assert spectrum.power.dims == ("sample", "k") and spectrum.power.units == "(Mpc/h)^3"
    assert spectrum.k.units == "h/Mpc" and spectrum.k_nyquist.item() == results["power"].k_nyquist
    assert (spectrum.power.sel(k=1.0, method="nearest") == results["power"].power[:, 7]).all()


def test_without_xarray_a_dataset_is_one_line(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ValueError, match=r"^to_dataset: xarray is not installed; pip install 'cosmogan\[xarray\]'$"):
        results["power"].to_dataset()


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i4", "f2"])
def test_arrays_of_any_real_type_and_layout_are_taken(dtype):
    density = np.random.default_rng(1).poisson(3, (8, 8, 8)).astype(dtype)
    density.setflags(write=False)
    expected = statistics.power_spectrum(density.astype(float), 10.0).power
    np.testing.assert_allclose(statistics.power_spectrum(density[::-1], 10.0).power, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="expected real numbers, found complex ones"):
        statistics.power_spectrum(density * 1j, 10.0)
    with pytest.raises(ValueError, match=r"density: expected one cube or more, found shape \(0, 8, 8, 8\)"):
        statistics.peak_counts(density[None][:0])


def test_a_generators_own_tensors_are_taken_with_their_gradients():
    density = torch.rand(2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    triangles = statistics.paper_triangles(50.0, 16)[0]
    for measure in (
        lambda fields: statistics.power_spectrum(fields, 50.0).power,
        lambda fields: statistics.cross_power(fields, fields, 50.0).power,
        lambda fields: statistics.bispectrum(fields, 50.0, triangles).bispectrum,
        lambda fields: statistics.voxel_pdf(fields, statistics.scaled_edges()).fraction,
        lambda fields: statistics.peak_counts(fields).count,
        statistics.mean_density,
        statistics.fingerprint,
    ):
        np.testing.assert_array_equal(measure(density.clone().requires_grad_()), measure(density))


def test_a_box_without_a_size_is_refused_by_every_spectrum():
    density, triangles = np.ones((8, 8, 8)), statistics.Triangles(1.0, 1.0, [0.5])
    for size in (0, -1, np.nan, np.inf):
        for measure in (
            lambda size: statistics.power_spectrum(density, size),
            lambda size: statistics.bispectrum(density, size, triangles),
            lambda size: statistics.paper_triangles(size, 8),
        ):
            with pytest.raises(ValueError, match="box_size: expected a positive length in Mpc/h, found"):
                measure(size)


def test_angles_stay_their_owners():
    theta = np.array([0.5, 1.0])
    found = statistics.bispectrum(
        np.random.default_rng(0).random((16, 16, 16)), 50.0, statistics.Triangles(0.4, 0.4, theta)
    )
    theta[0] = 2.0
    assert found.theta.tolist() == [0.5, 1.0]
    one = statistics.bispectrum(
        np.random.default_rng(0).random((16, 16, 16)), 50.0, statistics.Triangles(0.4, 0.4, 1.0)
    )
    np.testing.assert_allclose(one.bispectrum[:, 0], found.bispectrum[:, 1], rtol=1e-5)


def test_torch_is_imported_only_when_it_is_needed():
    code = "import sys; from cosmogan import statistics; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
