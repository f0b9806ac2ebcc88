import h5py
import numpy as np
import pytest

from cosmogan import shards

GEOMETRY = shards.Geometry(redshift=0.5, box_size=32.0, n_mesh=16, subvolume=4, mean_cell_mass=8.0)


@pytest.fixture
def folder(tmp_path):
    """Two shards of 3 and 5 subvolumes, each filled with its row number."""
    lines, first = [], 0
    for i, n in enumerate((3, 5)):
        path = tmp_path / f"s{i}.h5"
        with shards.create(path, n, GEOMETRY, "simulated", {"files": ["a"]}) as file:
            file["density"][:] = np.arange(first, first + n)[:, None, None, None]
            file["simulation"][:] = i
        first += n
        lines.append(shards.describe(path))
    shards.write_manifest(tmp_path, GEOMETRY, "simulated", lines, {"files": ["a"]})
    return tmp_path


def test_rows_come_in_the_order_asked_for(folder):
    opened = shards.Folder(folder)
    assert len(opened) == 8 and opened.geometry == GEOMETRY and opened.geometry.cell_size == 2.0
    assert opened.read(np.array([7, 0, 3, 3, 2]))[:, 0, 0, 0].tolist() == [7, 0, 3, 3, 2]
    assert opened.rows_of([1]).tolist() == [3, 4, 5, 6, 7]


def test_the_schema_is_what_the_format_says(folder):
    with h5py.File(folder / "s1.h5") as file:
        assert file["density"].dtype == "f4" and file["density"].chunks == (1, 4, 4, 4)
        assert file["corner"].shape == (5, 3) and file["corner"].dtype == "i4" and file["simulation"].dtype == "i4"
        assert file.attrs["format"] == "cosmogan-subvolumes/1" and file.attrs["cell_size"] == 2.0
        assert {"redshift", "box_size", "n_mesh", "mean_cell_mass", "window", "source", "versions"} <= set(file.attrs)


def test_a_failed_write_leaves_no_shard(tmp_path):
    with (
        pytest.raises(RuntimeError),
        shards.create(tmp_path / "a.h5", 1, GEOMETRY, "generated", {}),
    ):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def spoil(folder, defect):
    if defect == "no manifest":
        (folder / "manifest.json").unlink()
    elif defect == "half a manifest":
        (folder / "manifest.json").write_text('{"format": "cosmo')
    elif defect == "another manifest":
        (folder / "manifest.json").write_text('{"format": "x"}')
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
