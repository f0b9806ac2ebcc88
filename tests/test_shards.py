import json
import pickle

import h5py
import numpy as np
import pytest
from shard_folders import GEOMETRY, VALUES, write_values

from cosmogan import shards
from cosmogan.shards import folder as folder_module
from hpc.files import read_json, write_json


@pytest.fixture
def folder(tmp_path):
    return write_values(tmp_path)


def make_older(folder):
    """Take from the manifest what older versions did not write."""
    tree = read_json(folder / "manifest.json")
    tree["shards"] = [{name: line[name] for name in ("file", "rows", "sha256")} for line in tree["shards"]]
    write_json(folder / "manifest.json", tree)


@pytest.fixture
def opened_files(monkeypatch):
    """The names of the files that are opened, in order."""
    names, real = [], folder_module.open_file
    monkeypatch.setattr(folder_module, "open_file", lambda path: names.append(path.name) or real(path))
    return names


def test_rows_come_in_the_order_asked_for(folder):
    opened = shards.Folder(folder)
    assert len(opened) == 8 and opened.geometry == GEOMETRY and opened.geometry.cell_size == 2.0
    rows = np.array([7, 0, 3, 3, 2])
    np.testing.assert_array_equal(opened.read(rows), VALUES[rows])
    assert opened.rows_of([1]).tolist() == [3, 4, 5, 6, 7]


INDICES = {
    "number": 3,
    "negative": -1,
    "numpy number": np.int64(5),
    "slice": slice(1, 6),
    "step": slice(None, None, 3),
    "backwards": slice(None, None, -2),
    "empty": slice(4, 4),
    "array": np.array([7, -8, 3, 3]),
    "list": [5, 1],
    "empty list": [],
    "two axes": np.array([[0, 7], [3, 4]]),
    "booleans": np.arange(8) % 3 == 1,
    "all": Ellipsis,
    "cut": (slice(2, 5), 1, slice(None, 2)),
    "cut one": (6, slice(None), 0),
    "cut of an array": ([6, 2], 3),
    "cut of the last axis": (..., 2),
}


@pytest.mark.parametrize("key", INDICES.values(), ids=INDICES.keys())
def test_it_is_indexed_like_the_array_it_stands_for(folder, key):
    with shards.open(folder) as opened:
        found = opened[key]
    np.testing.assert_array_equal(found, VALUES[key])
    assert found.dtype == np.float32 and isinstance(found, np.ndarray) and found.shape == VALUES[key].shape


BAD_INDICES = [8, -9, np.array([0, 8]), np.ones(7, bool), 1.0, "a", (0, 0, 0, 0, 0), (0, [1, 2]), (None, 0), (0, True)]


@pytest.mark.parametrize("key", BAD_INDICES, ids=str)
def test_a_wrong_index_is_an_index_error(folder, key):
    with shards.open(folder) as opened, pytest.raises(IndexError):
        opened[key]


@pytest.mark.parametrize("row", [-1, 8])
def test_read_takes_row_numbers_only(folder, row):
    with pytest.raises(IndexError, match="expected rows from 0 to 7"):
        shards.open(folder).read(np.array([0, row]))


def test_it_stands_for_an_array(folder):
    opened = shards.open(folder)
    assert opened.shape == (8, 4, 4, 4) and opened.dtype == np.float32 and opened.ndim == 4 and len(opened) == 8
    np.testing.assert_array_equal(np.asarray(opened), VALUES)
    assert np.asarray(opened, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.stack(list(opened)), VALUES)
    assert opened.simulations.tolist() == [0] * 3 + [1] * 5 and opened.redshifts.tolist() == [0.5] * 8
    assert opened.corners.shape == (8, 3) and opened.corners[:, 2].tolist() == list(range(8))
    assert opened.manifest["kind"] == "simulated" and opened.manifest["shards"][1]["snapshot"] == "box1/snap"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(opened))[5], VALUES[5])
    with pytest.raises(ValueError, match="always a copy"):
        opened.__array__(copy=False)  # as NumPy 2 calls it


def test_files_are_opened_when_they_are_needed_and_once(folder, opened_files):
    opened = shards.open(folder, 0.5)
    opened.shape, opened.simulations, opened.redshifts, opened.geometry, repr(opened)
    assert opened_files == []
    opened[5], opened[-1], opened[3:]
    assert opened_files == ["s1.h5"]
    np.asarray(opened)
    assert opened_files == ["s1.h5", "s0.h5"]
    opened.close()
    opened.close()
    np.testing.assert_array_equal(opened[0], VALUES[0])  # it opens again


def test_few_files_stay_open(tmp_path, opened_files, monkeypatch):
    monkeypatch.setattr(folder_module, "MAX_OPEN", 2)
    opened = shards.open(write_values(tmp_path, (0.5, 0.5, 3.0, 3.0)))
    np.testing.assert_array_equal(opened[::-1], np.concatenate([VALUES, VALUES + 1000])[::-1])
    assert len(opened_files) == 4 and len(opened._files) == 2
    opened[15]  # among the last, still open
    assert len(opened_files) == 4


def test_a_manifest_of_an_older_version_is_read_with_its_files(folder, opened_files):
    make_older(folder)
    opened = shards.open(folder, redshift=0.5)
    assert opened.geometry == GEOMETRY and opened.redshifts.tolist() == [0.5] * 8 and opened_files == []
    assert opened.simulations.tolist() == [0] * 3 + [1] * 5 and opened_files == ["s0.h5", "s1.h5"]


def test_the_simulations_of_a_shard_of_several_are_read_from_its_file(folder):
    with h5py.File(folder / "s1.h5", "a") as file:
        file["simulation"][:] = [1, 1, 2, 2, 2]
    lines = [shards.describe(folder / name) for name in ("s0.h5", "s1.h5")]
    assert "simulation" not in lines[1]
    shards.write_manifest(folder, GEOMETRY, "simulated", lines, {})
    assert shards.open(folder).simulations.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_a_snapshot_of_several_files_is_named_by_its_stem(tmp_path):
    source = {"files": ["sims/snapshot_006.0", "sims/snapshot_006.1"]}
    with shards.create(tmp_path / "a.h5", 1, GEOMETRY, "simulated", source):
        pass
    assert shards.describe(tmp_path / "a.h5")["snapshot"] == "sims/snapshot_006"


def test_generated_subvolumes_have_no_simulations(tmp_path):
    with shards.create(tmp_path / "a.h5", 2, GEOMETRY, "generated", {}) as file:
        file["index"][:] = [4, 5]
    shards.write_manifest(tmp_path, GEOMETRY, "generated", [shards.describe(tmp_path / "a.h5")], {})
    opened = shards.open(tmp_path)
    assert opened.column("index").tolist() == [4, 5] and opened.redshifts.tolist() == [0.5, 0.5]
    for name in ("simulations", "corners"):
        with pytest.raises(ValueError, match="expected simulated subvolumes, found generated ones"):
            getattr(opened, name)


def test_the_schema_is_what_the_format_says(folder):
    with h5py.File(folder / "s1.h5") as file:
        assert file["density"].dtype == "f4" and file["density"].chunks == (1, 4, 4, 4)
        assert file["corner"].shape == (5, 3) and file["corner"].dtype == "i4" and file["simulation"].dtype == "i4"
        assert file.attrs["format"] == "cosmogan-subvolumes/1" and file.attrs["cell_size"] == 2.0
        assert {"redshift", "box_size", "n_mesh", "mean_cell_mass", "window", "source", "versions"} <= set(file.attrs)


def spoil(folder, defect):
    if defect == "no manifest":
        (folder / "manifest.json").unlink()
    elif defect == "half a manifest":
        (folder / "manifest.json").write_text('{"format": "cosmo')
    elif defect == "another manifest":
        (folder / "manifest.json").write_text('{"format": "x"}')
    elif defect == "a manifest without redshift":
        make_older(folder)
        tree = read_json(folder / "manifest.json")
        tree["geometry"]["redshift"] = None
        write_json(folder / "manifest.json", tree)
    elif defect.startswith("rows "):
        tree = read_json(folder / "manifest.json")
        tree["shards"][0]["rows"] = json.loads(defect.removeprefix("rows "))
        write_json(folder / "manifest.json", tree)
    elif defect == "a list of words":
        write_json(folder / "manifest.json", read_json(folder / "manifest.json") | {"shards": ["s0.h5"]})
    elif defect == "no densities":
        with h5py.File(folder / "s1.h5", "a") as file:
            del file["density"]
            file.create_group("density")
    elif defect == "missing shard":
        (folder / "s1.h5").unlink()
    elif defect == "truncated shard":
        (folder / "s1.h5").write_bytes((folder / "s1.h5").read_bytes()[:1000])
    elif defect == "another file":
        with h5py.File(folder / "s1.h5", "w") as file:
            file["x"] = 1
    elif defect == "another shape":
        with shards.create(folder / "s1.h5", 2, GEOMETRY, "simulated", {}):
            pass


@pytest.mark.parametrize(
    ("defect", "name", "message"),
    [
        ("no manifest", "manifest.json", "not found; run the stage"),
        ("half a manifest", "manifest.json", "damaged: not valid JSON"),
        ("another manifest", "manifest.json", "expected format cosmogan-subvolumes/1, found 'x'"),
        ("a manifest without redshift", "manifest.json", "damaged: 'redshift of s0.h5'"),
        ("rows -8", "manifest.json", "damaged: rows is -8"),
        ('rows "five"', "manifest.json", "damaged: rows is 'five'"),
        ("a list of words", "manifest.json", "damaged: expected {name: value} pairs, found 's0.h5'"),
        ("no densities", "s1.h5", "damaged: no dataset density"),
        ("missing shard", "s1.h5", "not found, though the manifest lists it"),
        ("truncated shard", "s1.h5", "not a readable HDF5 file"),
        ("another file", "s1.h5", "expected a shard of format"),
        ("another shape", "s1.h5", r"expected density of shape (5, 4, 4, 4) as the manifest says, found (2, 4, 4, 4)"),
    ],
)
def test_a_damaged_folder_is_named_with_what_is_wrong(folder, defect, name, message):
    spoil(folder, defect)
    with pytest.raises(ValueError) as caught:
        shards.Folder(folder).read(np.arange(8))
    assert name in str(caught.value) and message in str(caught.value)


def test_densities_that_were_never_written_are_missed(tmp_path):
    with shards.create(tmp_path / "a.h5", 2, GEOMETRY, "generated", {}) as file:
        file["density"][:1] = 1
    shards.write_manifest(tmp_path, GEOMETRY, "generated", [shards.describe(tmp_path / "a.h5")], {})
    opened = shards.open(tmp_path)
    with pytest.raises(ValueError, match=r"a.h5: density: 1 of its 2 chunks were written"):
        opened.read(np.array([0]))
    with pytest.raises(ValueError, match=r"a.h5: seed: none of its numbers were written"):
        opened.column("seed")
