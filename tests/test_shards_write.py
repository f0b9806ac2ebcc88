"""Writes that fail, for real: size limits, a full disk, Ctrl-C in the middle; and what they leave behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import run

from cosmogan import shards
from hpc.files import HOST, remove_leftovers, whole_file

GEOMETRY = shards.Geometry(redshift=0.0, box_size=32.0, n_mesh=64, subvolume=32, mean_cell_mass=8.0)
SIZE = 32 * 32**3 * 4  # bytes of density in the shard below
WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
from cosmogan import shards
from hpc import mpi
path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with mpi.abort_on_error(mpi.SerialComm()):
    geometry = shards.Geometry(0.0, 32.0, 64, 32, 8.0)
    with shards.create(path, 32, geometry, "simulated", {"files": ["x" * 3000]}) as file:
        for i in range(0, 32, 4):
            file["density"][i : i + 4] = np.random.default_rng(i).random((4, 32, 32, 32))
        file["corner"][:] = 1
"""
LINE = "while writing 4.19 MB; {} and run the same command again: what is complete is kept\n"


def test_a_failed_write_leaves_no_shard(tmp_path):
    with pytest.raises(RuntimeError), shards.create(tmp_path / "a.h5", 1, GEOMETRY, "generated", {}):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


# At the file's first block, in its metadata, amid the densities, at their end, and when HDF5 closes the file.
@pytest.mark.parametrize("limit", [100, 5000, 20_000, SIZE // 2, SIZE, SIZE + 3000])
def test_a_size_limit_ends_in_one_line(tmp_path, limit):
    path = tmp_path / "shard.h5"
    done = run([sys.executable, "-c", WRITE, path, limit])
    assert done.stderr == f"error: {path}: File too large " + LINE.format(
        "raise the limit of a file's size (ulimit -f)"
    )
    assert done.returncode == 1  # not -11: HDF5 crashes at the interpreter's end when it has seen a write fail
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_what_fails(tmp_path):
    assert run([sys.executable, "-c", WRITE, tmp_path / "shard.h5", 2 * SIZE]).returncode == 0
    with h5py.File(tmp_path / "shard.h5") as file:
        np.testing.assert_array_equal(
            file["density"][4:8], np.random.default_rng(4).random((4, 32, 32, 32), "f8").astype("f4")
        )


def test_a_full_disk_ends_in_one_line(tmp_path):
    mount = f'mount -t tmpfs -o size=1m tmpfs "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no file system may be mounted here")
    path = tmp_path / "shard.h5"
    script = f'{mount} && "$0" -c "$1" "$2" 0; code=$?; ls -A "{tmp_path}"; exit $code'
    done = run(["unshare", "-rm", "sh", "-c", script, sys.executable, WRITE, path])
    assert done.stderr == f"error: {path}: No space left on device " + LINE.format("free space")
    assert done.returncode == 1 and done.stdout == ""


def test_a_manifest_that_finds_no_room_says_so(tmp_path):
    with (
        pytest.raises(OSError, match="No space left on device while writing it; free space") as caught,
        whole_file(tmp_path / "manifest.json"),
    ):
        raise OSError(28, "as a full disk says it")
    assert caught.value.filename == str(tmp_path / "manifest.json")


def test_any_other_error_of_the_system_is_left_as_it_is(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        shards.create(tmp_path / "a.h5", 1, GEOMETRY, "generated", {}),
    ):
        open("elsewhere")  # noqa: SIM115


INTERRUPTED = """
import random, signal, sys
from pathlib import Path
import h5py, numpy as np
from cosmogan import shards
geometry, random = shards.Geometry(0.0, 32.0, 64, 32, 8.0), random.Random(1)
density, seen = np.ones((32, 32, 32, 32)), []
def handler(*arguments):
    seen.append(arguments)
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
for _ in range(60):
    try:
        with shards.create(Path(sys.argv[1]) / "a.h5", 32, geometry, "generated", {}) as file:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 5e-3))
            file["density"][:] = density
            file["density"][:] = density
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
open_files = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
print(len(seen) > 5, open_files, list(Path(sys.argv[1]).glob(".*")))
"""


def test_ctrl_c_amid_a_write_waits_until_hdf5_is_done(tmp_path):
    """Python meets a signal at the first line that runs: mostly in the file that HDF5 writes to."""
    done = run([sys.executable, "-c", INTERRUPTED, tmp_path])
    assert (done.returncode, done.stdout) == (0, "True 0 []\n")  # not -11: HDF5 crashes when a write was cut short


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_no_living_process_writes_is_removed(tmp_path):
    left = [f".shard.h5.elsewhere.{os.getpid()}.part", f".shard.h5.{HOST}.{dead_process()}.part"]
    living = [f".shard.h5.{HOST}.{os.getpid()}.part", f".shard.h5.{HOST}.1.part"]
    kept = [*living, "shard.h5", ".hidden", ".a.part", f".x.{10**9}0.part"]
    for name in [*left, *kept]:
        (tmp_path / name).touch()
    assert sorted(remove_leftovers(tmp_path)) == sorted(left)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert remove_leftovers(tmp_path) == [] and remove_leftovers(tmp_path / "nowhere") == []


def test_a_killed_write_leaves_what_is_recognised(tmp_path):
    code = """
import os, sys; from pathlib import Path; from cosmogan import shards
with shards.create(Path(sys.argv[1]) / "a.h5", 1, shards.Geometry(0.0, 32.0, 64, 32, 8.0), "generated", {}):
    os.kill(os.getpid(), 9)
"""
    assert run([sys.executable, "-c", code, tmp_path]).returncode == -9
    assert len(list(Path(tmp_path).iterdir())) == 1 and len(remove_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from cosmogan.shards import latents_file, statistics_file
from hpc import mpi
path, numbers = Path(sys.argv[1]), np.zeros((10**5, 4), np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5))
with mpi.abort_on_error(mpi.SerialComm()):
    {write}
"""


@pytest.mark.parametrize(
    "write",
    [
        "statistics_file.write(path, {'format': statistics_file.FORMAT, 'power': {'samples': numbers}})",
        "latents_file.write(path, latents_file.Latents(numbers, *np.zeros((2, 10**5), int)), {'generator': 'abc'})",
    ],
)
def test_any_file_that_cannot_grow_is_one_line_and_the_earlier_one_stays(tmp_path, write):
    path = tmp_path / "out.h5"
    path.write_bytes(b"the earlier one")
    done = run([sys.executable, "-c", FULL.format(write=write), path])
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"error: {path}: File too large while writing it; ")
    assert [left.name for left in tmp_path.iterdir()] == ["out.h5"] and path.read_bytes() == b"the earlier one"
