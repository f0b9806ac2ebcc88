import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hpc import hdf5

X = np.arange(24, dtype=np.float32).reshape(8, 3)


def virtual(folder, rows=(4, 4), of=8):
    """A dataset of ``of`` rows, of which sources p0.h5, p1.h5 … have these numbers of rows."""
    layout, first = h5py.VirtualLayout((of, 3), "f4"), 0
    for i, n in enumerate(rows):
        with h5py.File(folder / f"p{i}.h5", "w") as file:
            file["x"] = X[first : first + n]
        layout[first : first + n] = h5py.VirtualSource(f"p{i}.h5", "x", (n, 3))
        first += n
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_virtual_dataset("x", layout)


def parts_of_sources(folder):
    """Each source's middle, in turns: selections that are blocks, not whole datasets."""
    layout = h5py.VirtualLayout((8, 3), "f4")
    with h5py.File(folder / "p0.h5", "w") as file:
        file["x"] = np.concatenate([X, X])
    source = h5py.VirtualSource("p0.h5", "x", (16, 3))
    layout[0:4], layout[4:8] = source[0:4], source[12:16]
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_virtual_dataset("x", layout)


def external(folder):
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", external=[(str(folder / "raw"), 8, 48), (str(folder / "more"), 0, 48)])
        file["x"][:] = X


def linked(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["group/x"] = X
    with h5py.File(folder / "s.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/group/x")


def chunked(folder, rows=8, **options):
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_dataset("x", X.shape, "f4", **options)
        if rows:
            file["x"][:rows] = X[:rows]


def replace_source(folder, name, rows, source="p1.h5"):
    with h5py.File(folder / source, "w") as file:
        file[name] = X[:rows]


def of_virtual(folder):
    """A virtual dataset of a virtual dataset, whose own source is gone."""
    virtual(folder)
    (folder / "s.h5").rename(folder / "middle.h5")
    layout = h5py.VirtualLayout((8, 3), "f4")
    layout[:] = h5py.VirtualSource("middle.h5", "x", (8, 3))
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_virtual_dataset("x", layout)


WHOLE = {
    "virtual": virtual,
    "virtual, of parts": parts_of_sources,
    "virtual of virtual": of_virtual,
    "external": external,
    "linked": linked,
    "contiguous": chunked,
    "chunked": lambda folder: chunked(folder, chunks=(3, 2)),
    "compressed": lambda folder: chunked(folder, chunks=(3, 3), compression="gzip"),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_whole_dataset_is_given(tmp_path, kind, elsewhere, monkeypatch):
    monkeypatch.chdir("/" if elsewhere else tmp_path)
    WHOLE[kind](tmp_path)
    with h5py.File(tmp_path / "s.h5" if elsewhere else "s.h5", "r") as file:
        found = hdf5.dataset(file, "x")[:]
    expected = np.concatenate([X[:4], np.concatenate([X, X])[12:]]) if "parts" in kind else X
    np.testing.assert_array_equal(found, expected)


MISSING = {
    "a source is gone": (virtual, lambda t: (t / "p1.h5").unlink(), "source p1.h5 was not found"),
    "a source has less": (virtual, lambda t: replace_source(t, "x", 2), r"p1.h5 has the shape \(2, 3\)"),
    "a source lacks it": (virtual, lambda t: replace_source(t, "y", 4), "p1.h5 has no x"),
    "a source is no HDF5": (virtual, lambda t: (t / "p1.h5").write_text("x"), "p1.h5 cannot be opened"),
    "a part's source has less": (
        parts_of_sources,
        lambda t: replace_source(t, "x", 8, "p0.h5"),
        r"p0.h5 has the shape \(8, 3\); expected at least \(16, 3\)",
    ),
    "a source's source is gone": (of_virtual, lambda t: (t / "p0.h5").unlink(), "source p0.h5 was not found"),
    "sources leave a gap": (lambda t: virtual(t, of=9), lambda t: None, "have 24 of its 27 numbers"),
    "raw numbers are gone": (external, lambda t: (t / "more").unlink(), "more was not found"),
    "raw numbers end": (external, lambda t: os.truncate(t / "raw", 50), "raw has 42 of 48 bytes"),
    "a link leads nowhere": (linked, lambda t: (t / "other.h5").unlink(), "a link leads to other.h5:/group/x"),
    "nothing written": (lambda t: chunked(t, 0), lambda t: None, "none of its numbers were written"),
    "chunks not written": (lambda t: chunked(t, 5, chunks=(3, 3)), lambda t: None, "2 of its 3 chunks were written"),
    "compressed chunks not written": (
        lambda t: chunked(t, 3, chunks=(3, 3), compression="gzip"),
        lambda t: None,
        "1 of its 3 chunks were written",
    ),
}


@pytest.mark.parametrize("kind", MISSING)
def test_numbers_that_are_in_no_file_are_missed(tmp_path, kind):
    make, damage, message = MISSING[kind]
    make(tmp_path)
    damage(tmp_path)
    with h5py.File(tmp_path / "s.h5", "r") as file:
        with pytest.raises(hdf5.Missing, match=message) as error:
            hdf5.dataset(file, "x")
        with pytest.raises(hdf5.Missing):
            hdf5.check_all(file)
    assert "x" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("sources", [{"x": "x"}, {"x": "y", "y": "x"}])
def test_a_virtual_dataset_that_is_its_own_source_is_refused(tmp_path, sources):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        for name, source in sources.items():
            layout = h5py.VirtualLayout((8, 3), "f4")
            layout[:] = h5py.VirtualSource(tmp_path / "s.h5", source, (8, 3))
            file.create_virtual_dataset(name, layout)
    with (
        h5py.File(tmp_path / "s.h5", "r") as file,
        pytest.raises(hdf5.Missing, match=r"s\.h5: x is a virtual dataset that is its own source"),
    ):
        hdf5.dataset(file, "x")


def test_a_dataset_may_be_empty(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["x"] = np.empty((0, 3))
        file.create_dataset("chunked", (0, 3), "f4", maxshape=(None, 3), chunks=(1, 3))
        hdf5.check_all(file)


def test_what_is_not_there_or_no_dataset_is_named(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_group("a/b")
        with pytest.raises(KeyError, match="a/c is not there"):
            hdf5.dataset(file, "a/c")
        with pytest.raises(hdf5.Missing, match="a/b is a group; expected a dataset"):
            hdf5.dataset(file, "a/b")


def test_sources_that_are_counted_are_taken_as_far_as_they_go(tmp_path):
    endless = h5py.h5s.UNLIMITED
    for i in range(2):
        with h5py.File(tmp_path / f"p{i}.h5", "w") as file:
            file["x"] = X[4 * i : 4 * i + 4]
    with h5py.File(tmp_path / "s.h5", "w") as file:
        layout, made = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.create_simple((0, 3), (endless, 3))
        blocks, block = h5py.h5s.create_simple((0, 3), (endless, 3)), h5py.h5s.create_simple((4, 3))
        blocks.select_hyperslab((0, 0), (endless, 1), (4, 3), (4, 3))
        layout.set_virtual(blocks, b"p%b.h5", b"x", block)
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, made, layout)
    with h5py.File(tmp_path / "s.h5", "r") as file:
        np.testing.assert_array_equal(hdf5.dataset(file, "x")[:], X)


DAMAGED = "copy it again"


def said(path):
    """What HDF5 says of a file."""
    with pytest.raises((OSError, KeyError, RuntimeError)) as caught, h5py.File(path, "r") as file:
        assert file["x"][:].any()
    return caught.value


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(1000.0)
    return tmp_path / "a.h5"


def edited(path, place, text):
    data = bytearray(path.read_bytes())
    data[place : place + len(text)] = text
    path.write_bytes(data)
    return path


def test_a_file_that_another_process_writes_is_not_to_be_copied_again(path):
    reader = "import h5py, sys\ntry: h5py.File(sys.argv[1])\nexcept OSError as e: print(e)"
    with h5py.File(path, "r+"):
        done = subprocess.run([sys.executable, "-c", reader, path], capture_output=True, text=True)
    assert "HDF5_USE_FILE_LOCKING=FALSE" in hdf5.advice(OSError(done.stdout), DAMAGED)


def test_a_file_that_was_being_written_when_its_writer_died(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["x"] = np.arange(10.0)
        file.flush()
        (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    assert "h5clear -s" in hdf5.advice(said(tmp_path / "b.h5"), DAMAGED)


def test_a_newer_format_wants_a_newer_h5py_unless_its_bytes_are_wrong(path):
    found = hdf5.advice(said(edited(path, 8, b"\x09")), DAMAGED)
    assert "newer HDF5, update h5py" in found and found.endswith(f"else {DAMAGED}")


def test_what_refers_to_another_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("gone.h5", "/x")
    assert "another file" in hdf5.advice(said(tmp_path / "a.h5"), DAMAGED)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (10,), "f8", external=[("gone.bin", 0, 80)])
    assert "another file" in hdf5.advice(said(tmp_path / "b.h5"), DAMAGED)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("Can't synchronously read data (required filter 'bitshuffle' is not registered)", "hdf5plugin"),
        ("Can't synchronously read data (can't open directory (/usr/lib/hdf5/plugin). Please verify", "hdf5plugin"),
        ("[Errno 13] Unable to open file (errno = 13, error message = 'Permission denied')", "permission"),
        ("Unable to open file (errno = 5, error message = 'Input/output error')", "try again"),
    ],
)
def test_what_cannot_be_made_here_is_known_by_hdf5s_words(words, part):
    assert part in hdf5.advice(OSError(words), DAMAGED)


@pytest.mark.parametrize("content", [b"", b"a text file"])
def test_what_is_none_of_hdf5s_and_what_is_cut_short_is_damaged(path, content):
    path.write_bytes(path.read_bytes()[:5000])
    assert hdf5.advice(said(path), DAMAGED) == DAMAGED
    path.write_bytes(content)
    assert hdf5.advice(said(path), DAMAGED) == DAMAGED
    assert hdf5.reason(said(path)).startswith("no HDF5 file, or an empty one")
