"""HDF5's own words for files that it cannot read, as the library says them, and the advice that each gets."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from hpc import hdf5

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
