"""`validate`: the file it writes, on one rank and on several, and what it refuses."""

import dataclasses
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import synthetic
import torch

from cosmogan import config, shards, validate
from cosmogan.gan.scaling import scale
from cosmogan.shards import statistics_file
from cosmogan.statistics.bispectra import bispectrum, paper_triangles
from cosmogan.statistics.pdf import scaled_edges, voxel_pdf
from cosmogan.statistics.power import cross_power, power_spectrum
from cosmogan.validation import comparison, summaries
from hpc.mpi import SerialComm


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that was validated: its experiment and its file of statistics."""
    path = synthetic.write_run(tmp_path_factory.mktemp("validate"))
    experiment = config.load(path)
    validate.validate(experiment, SerialComm())
    return experiment, statistics_file.read(experiment.statistics_path)


def held_out(experiment):
    folder = shards.Folder(experiment.shards_folder)
    return torch.from_numpy(folder.read(folder.rows_of(experiment.held_out)))


def generated(experiment):
    folder = shards.Folder(experiment.samples_folder)
    return torch.from_numpy(folder.read(np.arange(len(folder))))


def test_every_sample_of_both_sets_is_measured_in_order(measured):
    experiment, tree = measured
    size = synthetic.SUBVOLUME * synthetic.CELL
    for name, density in (("nbody", held_out(experiment)), ("generated", generated(experiment))):
        expected = power_spectrum(density, size)
        np.testing.assert_allclose(tree["power"][name]["samples"], expected.power, rtol=1e-5)
        np.testing.assert_allclose(tree["power"]["k_edges"], expected.k_edges)
        counts = voxel_pdf(scale(density, experiment.model.kappa), scaled_edges()).fraction
        np.testing.assert_allclose(tree["pdf_scaled"][name]["samples"], counts)
        triangles = paper_triangles(size, synthetic.SUBVOLUME)[1]
        found = tree["bispectrum_1"][name]["samples"]
        np.testing.assert_allclose(found, bispectrum(density, size, triangles).bispectrum, rtol=1e-3)
        means = density.double().mean(dim=(1, 2, 3)).numpy()
        np.testing.assert_allclose(tree["mean_density"][name]["samples"][:, 0], means, rtol=1e-12)


def test_summaries_are_those_of_the_samples(measured):
    power = measured[1]["power"]["generated"]
    samples = power["samples"]
    np.testing.assert_allclose(power["mean"], samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(power["covariance"], np.cov(samples.T), rtol=1e-9)
    np.testing.assert_allclose(power["percentiles"][1], np.median(samples, axis=0), rtol=1e-12)


def test_training_boxes_and_held_out_ones_are_kept_apart(measured):
    experiment, tree = measured
    folder = shards.Folder(experiment.shards_folder)
    density = torch.from_numpy(folder.read(folder.rows_of([0, 1])))
    expected = power_spectrum(density, folder.geometry.subvolume_size).power
    assert tree["n_training"] == len(density) == tree["power"]["training"]["n"] == 54
    np.testing.assert_allclose(tree["power"]["training"]["mean"], expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(tree["power"]["training"]["covariance"], np.cov(expected.T), rtol=1e-4)


def test_cross_power_is_of_the_pairs_that_it_names(measured):
    experiment, tree = measured
    folder = shards.Folder(experiment.shards_folder)
    for name in ("nbody_nbody", "nbody_generated"):
        found = tree["cross_power"][name]
        assert (found["rows"][:, 0] != found["rows"][:, 1]).all() or name == "nbody_generated"
        assert len(set(found["rows"][:, 0])) == len(found["rows"]) == 27
        first = torch.from_numpy(folder.read(found["rows"][:, 0]))
        other = folder if name == "nbody_nbody" else shards.Folder(experiment.samples_folder)
        second = torch.from_numpy(other.read(found["rows"][:, 1]))
        expected = cross_power(first, second, folder.geometry.subvolume_size).power
        np.testing.assert_allclose(found["samples"], expected, atol=1e-5 * abs(expected).max())


def test_the_noise_floor_is_of_halves_of_the_held_out_set(measured):
    tree = measured[1]
    floor = tree["noise_floor"]["power"]
    error = tree["power"]["nbody"]["error"] / tree["power"]["nbody"]["mean"]
    assert floor.shape == (statistics_file.N_SPLITS, len(tree["power"]["k"]))
    assert tree["floor_kind"] == "parts of boxes"
    for name in ("pdf_unscaled", "peaks", "bispectrum_1", "reduced_1", "mean_density_variance", "power_variance"):
        assert np.isfinite(tree["noise_floor"][name]).any()
    # two halves of n/2: their ratio scatters by √(2/(n/2)) σ/mean, twice the error of the whole; here by less, since
    # halves of a box have nearly one mean density
    assert (
        np.isfinite(floor).all() and (floor.std(axis=0) < 2.2 * error).all() and (floor.std(axis=0) > 0.4 * error).all()
    )
    density = tree["noise_floor"]["mean_density"]
    assert abs(density).max() < 0.2 * tree["mean_density"]["nbody"]["error"]


def test_the_file_says_what_it_is_of(measured):
    experiment, tree = measured
    assert tree["format"] == "cosmogan-statistics/2"
    assert tree["samples_sha256"] == shards.Folder(experiment.samples_folder).checksum
    assert (tree["n_held_out"], tree["n_generated"]) == (27, 54)
    assert tree["cell_size"] == synthetic.CELL
    assert tree["examples"]["generated"].shape == (summaries.N_EXAMPLES, 16, 16)


def test_done_once_and_again_when_the_samples_change(tmp_path, capsys):
    experiment = config.load(synthetic.write_run(tmp_path))
    validate.validate(experiment, SerialComm())
    written = experiment.statistics_path.stat().st_mtime_ns
    capsys.readouterr()
    validate.validate(experiment, SerialComm())
    assert validate.stage(experiment).is_done()
    assert "validate: done:" in capsys.readouterr().out
    assert experiment.statistics_path.stat().st_mtime_ns == written
    synthetic.write_generated(experiment.samples_folder, n_boxes=1)
    validate.validate(experiment, SerialComm())
    assert statistics_file.read(experiment.statistics_path)["n_generated"] == 27


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_same_file(measured, mpirun, tmp_path, ranks):
    path = synthetic.write_run(tmp_path)
    finished = mpirun(ranks, "cosmogan.validate", path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("validate:") == 2  # of the mocks, and of the whole
    different = []
    with (
        h5py.File(measured[0].statistics_path) as serial,
        h5py.File(config.load(path).statistics_path) as parallel,
    ):

        def compare(name, item):
            if isinstance(item, h5py.Dataset) and not np.array_equal(item[()], parallel[name][()], equal_nan=True):
                different.append(name)

        serial.visititems(compare)
        assert set(serial) == set(parallel)
    assert different == []


def test_sets_of_different_geometry_are_refused(tmp_path):
    path = synthetic.write_run(tmp_path)
    other = dataclasses.replace(synthetic.GEOMETRY, box_size=100.0)
    synthetic.write_generated(tmp_path / "run" / "samples", geometry=other)
    with pytest.raises(ValueError, match=r"samples: expected the cell_size of .*shards, 4, found 2.08333"):
        validate.validate(config.load(path), SerialComm())


@pytest.mark.parametrize(("name", "value"), [("subvolume", 8), ("redshift", 0.5), ("mean_cell_mass", 3.8)])
def test_everything_that_makes_sets_different_is_noticed(name, value):
    other = dataclasses.replace(synthetic.GEOMETRY, **{name: value})
    ours, theirs = (SimpleNamespace(path=i, geometry=g) for i, g in enumerate((synthetic.GEOMETRY, other)))
    comparison.check_same_geometry(ours, ours)
    with pytest.raises(ValueError, match=f"1: expected the {name} of 0, .*, found {value}"):
        comparison.check_same_geometry(ours, theirs)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("held_out=[]", r"shards: held_out: expected some of the simulations \[0, 1, 2\], found \[\]"),
        ("validate.n_k=14", r"validate.n_k: expected 1 to 13 wavenumber bins for 16³ cells, found 14"),
        ("output=nowhere", r"manifest.json: not found"),
    ],
)
def test_a_run_that_cannot_be_validated_gets_the_reason(tmp_path, override, message):
    path = synthetic.write_run(tmp_path)
    with pytest.raises(ValueError, match=message):
        validate.validate(config.load(path, [override]), SerialComm())


def test_a_missing_engine_is_one_line_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "Pk_library", None)
    path = synthetic.write_run(tmp_path)
    with pytest.raises(ValueError, match=r"^validate.engine: Pk_library: cannot be imported .*make reference"):
        validate.validate(config.load(path, ["validate.engine=pylians"]), SerialComm())


@pytest.mark.parametrize(("engine", "package"), [("nbodykit", "nbodykit.lab"), ("pylians", "Pk_library")])
def test_other_engines_measure_the_same(measured, tmp_path, engine, package):
    pytest.importorskip(package, reason=f"{engine} is not installed; `make reference` adds it")
    path = synthetic.write_run(tmp_path)
    experiment = config.load(path, [f"validate.engine={engine}"])
    validate.validate(experiment, SerialComm())
    found = statistics_file.read(experiment.statistics_path)
    for group, name in (("power", "generated"), ("bispectrum_0", "nbody")):
        expected = measured[1][group][name]["mean"][:6]
        np.testing.assert_allclose(found[group][name]["mean"][:6], expected, rtol=1e-4)
