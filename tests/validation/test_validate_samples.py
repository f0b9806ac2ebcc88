"""`validate --samples`: anyone's volumes, in anyone's file, against a reference, with no config."""

import json
import shutil

import h5py
import numpy as np
import pytest
import synthetic
import yaml

from cosmogan import config, validate
from cosmogan.shards import statistics_file
from cosmogan.validation import external
from hpc.mpi import SerialComm

SIDE = synthetic.SUBVOLUME * synthetic.CELL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run in `run`, someone's volumes in several files."""
    here = tmp_path_factory.mktemp("samples")
    shutil.copy(synthetic.write_run(here), here / "run" / "config.yaml")
    volumes = np.concatenate([synthetic.cut(synthetic.lognormal_box(100 + i)) for i in range(2)]).astype(np.float32)
    np.save(here / "density.npy", volumes)
    np.save(here / "coarse.npy", volumes[:, ::2, ::2, ::2])
    np.save(here / "few.npy", volumes[:9])
    np.save(here / "flat.npy", volumes[0])
    np.save(here / "uniform.npy", np.ones_like(volumes))
    np.save(here / "counts.npy", 8 * volumes)
    np.save(here / "twice.npy", np.concatenate([volumes, volumes[:1]]))
    np.save(here / "dead.npy", np.concatenate([volumes[::-1] + 0.01, 0.3 * np.ones_like(volumes[:2])]))
    np.save(here / "words.npy", np.array(["a", "b"]))
    (here / "text.npy").write_text("1 2 3")
    for name, value in (("nan", np.nan), ("negative", -0.5)):
        wrong = volumes.copy()
        wrong[40, 1, 2, 3] = value
        np.save(here / f"{name}.npy", wrong)
    (here / "cut.npy").write_bytes((here / "density.npy").read_bytes()[:-9])
    np.save(here / "no-cells.npy", volumes[:, :0, :0, :0])
    np.savez(here / "several.npz", a=volumes[:9])
    with open(here / "density.dat", "wb") as file:  # what a file is, its beginning says
        np.save(file, np.asfortranarray(volumes.astype(">f8")))
    with h5py.File(here / "unwritten.h5", "w") as file:  # all in one chunk, of which HDF5 knows no part
        file.create_dataset("fields", volumes.shape, "f4", chunks=volumes.shape)[:30] = volumes[:30]
    with h5py.File(here / "link.h5", "w") as file:
        file["fields"] = h5py.SoftLink("/gone")
    with h5py.File(here / "several.h5", "w") as file:
        file["a/delta"] = volumes[:, None] - 1
        file["log"] = np.log10(volumes)
        file["mass"] = volumes * synthetic.GEOMETRY.mean_cell_mass
    with h5py.File(here / "one.h5", "w") as file:
        file["labels"], file["fields"] = np.arange(54), volumes
    return here


def judge(folder, *words):
    """Do what the command line does, and return the tree."""
    arguments = foreign_arguments(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate.report, "report", lambda experiment, comm: None)  # seconds of drawing
        validate.compare_own(arguments, SerialComm())
    return statistics_file.read(external.experiment_of(arguments).statistics_path)


def options(folder, name, **more):
    found = {"samples": folder / name, "reference": folder / "run", "box-size": SIDE, "output": folder / "out", **more}
    return [f"--{key}={value}" for key, value in found.items() if value is not None]


@pytest.mark.slow  # the report draws all its figures
def test_one_line_gives_the_report_that_the_run_gives(folder, python):
    """The command as a user types it; the same volumes as the run's own give the same numbers."""
    finished = python(
        "cosmogan.validate", "--samples", "density.npy", "--reference", "run", "--box-size", SIDE, cwd=folder
    )
    assert finished.returncode == 0, finished.stderr
    page = folder / "validation" / "density" / "report" / "index.html"
    assert str(page) in finished.stdout
    assert "<img" in page.read_text()
    found = statistics_file.read(folder / "validation" / "density" / "statistics.h5")
    experiment = config.load(folder / "run" / "config.yaml")
    validate.validate(experiment, SerialComm())
    expected = statistics_file.read(experiment.statistics_path)
    assert set(found) == set(expected)
    for name in ("power", "peaks", "bispectrum_1"):
        np.testing.assert_allclose(found[name]["nbody"]["mean"], expected[name]["nbody"]["mean"], rtol=1e-5)
        theirs, ours = (np.sort(tree[name]["generated"]["samples"], axis=0) for tree in (found, expected))
        np.testing.assert_allclose(theirs, ours, rtol=1e-3)
    assert found["n_training"] == 54
    again = python(
        "cosmogan.validate", "--samples", "density.npy", "--reference", "run", "--box-size", SIDE, cwd=folder
    )
    assert "report: done" in again.stdout and "generated against" not in again.stdout


@pytest.mark.parametrize(
    ("name", "units"), [("one.h5", "density"), ("several.h5:a/delta", "delta"), ("several.h5:/log", "log10")]
)
def test_files_of_any_layout_and_unit_are_the_same_volumes(folder, tmp_path, name, units):
    words = options(folder, name, units=units, output=tmp_path)
    arguments = foreign_arguments(words)
    read = external.compare(arguments, external.experiment_of(arguments)).generated.read(np.array([7, 3, 50]))
    np.testing.assert_allclose(read, np.load(folder / "density.npy")[[7, 3, 50]], rtol=1e-5, atol=1e-6)


def foreign_arguments(words):
    return validate.parser("cosmogan validate").parse_intermixed_args([*words])


def test_masses_are_turned_into_densities_by_the_references_mean(folder, tmp_path):
    arguments = foreign_arguments(options(folder, "several.h5:mass", units="mass", output=tmp_path))
    read = external.compare(arguments, external.experiment_of(arguments)).generated.read(np.arange(3))
    np.testing.assert_allclose(read, np.load(folder / "density.npy")[:3], rtol=1e-5)
    words = options(folder, "several.h5:mass", units="mass", reference=folder / "density.npy")
    with pytest.raises(ValueError, match="--units mass: wants the mean mass of a cell, which the reference"):
        external.compare(foreign_arguments(words), external.experiment_of(foreign_arguments(words)))


def test_a_reference_that_was_trained_on_is_called_out(folder, tmp_path, capsys):
    words = options(folder, "density.npy", reference=folder / "density.npy", output=tmp_path)
    tree = judge(folder, *words, "validate.n_k=4")
    line = "54 of the 54 samples are copies of reference volumes: the reference was trained on"
    assert f"WARNING: {line}" in capsys.readouterr().out
    assert line in tree["warnings"]
    assert tree["n_training"] == 0
    training = [*options(folder, "one.h5", output=tmp_path / "two"), f"--training={folder / 'density.npy'}"]
    assert (
        "54 of the 54 samples are copies of training volumes" in judge(folder, *training, "validate.n_k=4")["warnings"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "coarse.npy"}, r"coarse.npy: expected the cell_size of .*shards, 4, found 8"),
        ({"name": "few.npy"}, r"few.npy: found 9 subvolumes to compare, expected 14 or more: a covariance"),
        ({"name": "flat.npy"}, r"flat.npy: expected real volumes \(n, m, m, m\).* found float32 \(16, 16, 16\)"),
        ({"name": "words.npy"}, r"words.npy: expected real volumes"),
        ({"name": "text.npy"}, r"text.npy: expected .npy, HDF5 or a folder of shards; not readable as HDF5"),
        ({"name": "several.npz"}, r"several.npz: expected .npy, HDF5 or a folder of shards"),
        ({"name": "cut.npy"}, r"cut.npy: not a readable .npy file of numbers"),
        ({"name": "no-cells.npy"}, r"no-cells.npy: expected real volumes"),
        ({"name": "unwritten.h5"}, r"unwritten.h5: volume 30: all of its numbers are 0: was it written to its end\?"),
        ({"name": "link.h5"}, r"link.h5: fields: a link leads to /gone, which cannot be opened"),
        ({"name": "nan.npy"}, r"nan.npy: volume 40: found a density of nan \(1 of 4096 cells\), expected ρ/ρ̄ ≥ 0"),
        (
            {"name": "negative.npy"},
            r"negative.npy: volume 40: found a density of -0.5 .*--units delta.*validate.window",
        ),
        ({"name": "several.h5:mass"}, r"several.h5: found a mean density of .*these are of different units"),
        ({"name": "several.h5"}, r"several.h5: expected one dataset of volumes .*found a/delta, log, mass"),
        ({"name": "several.h5:b"}, r"several.h5: expected the dataset b, found a/delta"),
        ({"name": "none.npy"}, r"none.npy: not found"),
        ({"name": "none.h5"}, r"none.h5: not found"),
        ({"name": "text.txt"}, r"text.txt: not found"),
        ({"name": "density.npy", "box-size": None}, r"--box-size: expected the side of the volumes of .*in Mpc/h"),
        ({"name": "density.npy", "reference": "."}, r"expected a file, a folder of shards .*, or of a run"),
        ({"name": "density.npy", "reference": None}, r"--samples: expected --reference FILE with it"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        judge(folder, *options(folder, **words, output=tmp_path))


def test_rounding_below_zero_is_zero_and_a_window_divided_out_gets_advice_of_its_own(folder, tmp_path):
    density = np.load(folder / "density.npy")
    density[:, 0, 0] = 0
    delta = np.nextafter(density - 1, np.float32(-9))  # empty cells are at -1.0000001
    np.save(tmp_path / "delta.npy", delta)
    read = external.ArrayFile(str(tmp_path / "delta.npy"), SIDE, "delta")
    found = external.independent(read).read(np.arange(3))
    assert found.min() == 0 and (found[:, 0, 0] == 0).all()
    np.save(tmp_path / "delta.npy", delta - 0.2)
    words = options(tmp_path, "delta.npy", reference=tmp_path / "delta.npy", units="delta", output=tmp_path)
    with pytest.raises(ValueError, match=r"expected ρ/ρ̄ ≥ 0; a mesh whose .* was divided out .*validate\.window=cic"):
        judge(folder, *words)


def test_a_file_read_in_another_way_is_measured_again(folder, tmp_path):
    """Whatever the command line says of a file, and not only its bytes, is what the numbers depend on."""
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"] = np.load(folder / "density.npy")
        file["b"] = 1.1 * file["a"][:]
    files = {"reference": folder / "one.h5", "output": tmp_path / "out"}
    mean = [
        judge(folder, *options(tmp_path, f"two.h5:{name}", **files), "validate.n_k=4")["mean_density"]["ratio"]["mean"]
        for name in "ab"
    ]
    np.testing.assert_allclose(mean, [[0], [0.1]], atol=1e-5)
    found = judge(folder, *options(tmp_path, "two.h5:b", **files, **{"box-size": 2 * SIDE}), "validate.n_k=4")
    assert found["subvolume_size"] == 2 * SIDE
    assert external.experiment_of(foreign_arguments(options(folder, "two.h5:g/b"))).name == "two-g-b"


def test_a_conditional_run_is_a_reference_too(folder, tmp_path):
    tree = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    tree["model"] |= {"condition": ["redshift"], "kappa_redshift": 1.0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "shards").symlink_to(folder / "run" / "shards")
    words = options(folder, "density.npy", reference=tmp_path, output=tmp_path / "out")
    assert judge(folder, *words)["kappa"] == tree["model"]["kappa"]  # at redshift 0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree | {"held_out": []}))
    with pytest.raises(
        ValueError, match=r"held_out: expected simulations to compare with, found none; with --reference"
    ):
        judge(folder, *words)


def test_what_is_odd_about_volumes_is_said(folder, tmp_path):
    """Other units in both files, a reference that holds a volume twice, samples of no structure."""
    counts = options(folder, "counts.npy", reference=folder / "counts.npy", output=tmp_path / "counts")
    assert "counts.npy has a mean density of 7.8" in judge(folder, *counts, "validate.n_k=4")["warnings"]
    tree = judge(
        folder, *options(folder, "dead.npy", reference=folder / "twice.npy", output=tmp_path), "validate.n_k=4"
    )
    assert json.loads(tree["warnings"]) == [
        "2 of the 55 reference volumes are copies of one another",
        "54 of the 56 samples are copies of reference volumes: the reference was trained on",
        "2 of the 56 samples are uniform: no reduced bispectrum is defined, of them or on average",
    ]
    assert "held_out" not in tree
    assert tree["floor_kind"] == "sixteenths of the set"
    with pytest.raises(ValueError, match=r"uniform.npy: all cells have the density 1: nothing to compare"):
        judge(folder, *options(folder, "density.npy", reference=folder / "uniform.npy", output=tmp_path))


def test_two_volumes_are_enough_for_one_bin(folder, tmp_path):
    np.save(tmp_path / "pair.npy", np.load(folder / "density.npy")[:2])
    words = options(tmp_path, "pair.npy", reference=tmp_path / "pair.npy", output=tmp_path / "out")
    assert judge(folder, *words, "validate.n_k=1")["n_generated"] == 2


def test_a_config_beside_samples_is_refused(folder):
    with pytest.raises(ValueError, match=r"demo.yaml: --samples takes no CONFIG, only section.key=value"):
        judge(folder, "configs/demo.yaml", *options(folder, "density.npy"))


def test_a_run_is_not_written_over(folder):
    with pytest.raises(ValueError, match=r"--output: expected a folder of its own, found .*run, that of a run"):
        judge(folder, *options(folder, "density.npy", output=folder / "run"))


def test_samples_that_are_in_no_file_are_missed(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("maps", (4, 2, 2, 2), "f4", chunks=(1, 2, 2, 2))[:3] = 1
    with pytest.raises(ValueError, match=r"s.h5: maps: 3 of its 4 chunks were written"):
        external.ArrayFile(str(tmp_path / "s.h5"), 1.0)


def test_statistics_that_are_in_no_file_are_missed(tmp_path):
    statistics_file.write(tmp_path / "s.h5", {"format": statistics_file.FORMAT, "power": {"k": np.ones(3)}})
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["power/mean"] = h5py.ExternalLink("gone.h5", "/x")
    with pytest.raises(ValueError, match=r"s.h5: power/mean: a link leads to gone.h5:/x"):
        statistics_file.read(tmp_path / "s.h5")


def test_an_array_is_read_whatever_its_name_order_and_bytes(folder):
    stored = external.ArrayFile(str(folder / "density.dat"), SIDE)
    rows = np.array([3, 0, 50])
    np.testing.assert_array_equal(stored.read(rows), np.load(folder / "density.npy")[rows])
