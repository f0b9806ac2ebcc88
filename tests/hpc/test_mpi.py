import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import run

from cosmogan.config import Train
from hpc import mpi

EXCHANGE = """
import numpy as np
from hpc import mpi
comm = mpi.world()
counts = np.arange(comm.size, dtype=np.int64) + comm.rank  # rows from rank r to rank s: r + s
rows = np.repeat(np.arange(comm.size), counts)[:, None] + np.array([[0, 100 * comm.rank]])
sources = comm.alltoall(counts)
got = np.empty((sources.sum(), 2), rows.dtype)
comm.alltoallv(rows, counts, got, sources)
assert comm.max(comm.rank) == comm.size - 1
want = np.array([[comm.rank, 100 * r] for r in range(comm.size) for _ in range(r + comm.rank)]).reshape(-1, 2)
want = want + np.array([0, 0])
assert (sources == np.arange(comm.size) + comm.rank).all()
assert (got[:, 0] == comm.rank).all() and (got[:, 1] == comm.rank + want[:, 1]).all(), got
total = comm.allreduce(1)
if comm.rank == 0:
    print("ranks", total)
"""

FAIL = """
import sys, time
from hpc import mpi
comm = mpi.world()
with mpi.abort_on_error(comm):
    if comm.rank == {rank} or {everyone}:
        raise ValueError("a.txt: found 1, expected 2")
    comm.barrier()
"""


@pytest.fixture
def script(tmp_path, mpirun):
    def call(ranks, text, **options):
        (tmp_path / "script.py").write_text(text)
        return mpirun(ranks, "script", cwd=tmp_path, **options)

    return call


@pytest.mark.parametrize("ranks", [2, 3])
def test_exchange_keeps_rows_in_source_order(script, ranks):
    done = script(ranks, EXCHANGE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ranks {ranks}\n"


@pytest.mark.parametrize("rank", [0, 2])
def test_one_failing_rank_ends_all_with_one_line(script, rank):
    done = script(3, FAIL.format(rank=rank, everyone=False))
    assert done.returncode != 0
    assert done.stderr.count("a.txt: found 1, expected 2") == 1
    assert "Traceback" not in done.stderr


def test_what_all_ranks_find_wrong_is_said_once(script):
    done = script(3, FAIL.format(rank=0, everyone=True))
    assert done.returncode != 0
    assert done.stderr.count("a.txt: found 1, expected 2") == 1


def test_an_unexpected_error_shows_its_traceback(capsys):
    with pytest.raises(SystemExit) as end, mpi.abort_on_error(mpi.SerialComm()):
        raise KeyError("surprise")
    assert end.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_value_error_that_no_raise_made_is_a_bug_and_shows_its_traceback(capsys):
    with pytest.raises(SystemExit), mpi.abort_on_error(mpi.SerialComm()):
        _one, _two = [1, 2, 3]
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(SystemExit), mpi.abort_on_error(mpi.SerialComm()):
        raise ValueError("n: expected 1, found 2")
    assert capsys.readouterr().err == "error: n: expected 1, found 2\n"
    with pytest.raises(SystemExit), mpi.abort_on_error(mpi.SerialComm()):
        Path("none.txt").read_text()
    assert capsys.readouterr().err == "error: none.txt: No such file or directory\n"


@pytest.mark.parametrize(
    "library",
    [lambda: np.stack([]), lambda: statistics.NormalDist(0, -1), lambda: shlex.split("'"), lambda: h5py.File("x", "q")],
)
def test_a_value_error_that_a_library_raised_is_a_bug_and_shows_its_traceback(capsys, library):
    with pytest.raises(SystemExit) as end, mpi.abort_on_error(mpi.SerialComm()):
        library()
    found = capsys.readouterr().err
    assert end.value.code == 1 and "Traceback" in found and "library()" in found


@pytest.mark.parametrize("rank", [0, 2])
def test_a_librarys_error_on_any_rank_shows_its_traceback(script, rank):
    text = FAIL.format(rank=rank, everyone=False).replace(
        'raise ValueError("a.txt: found 1, expected 2")', "np.stack([])"
    )
    done = script(3, "import numpy as np" + text)
    assert done.returncode != 0 and "Traceback" in done.stderr and "need at least one array to stack" in done.stderr


def test_an_error_of_a_commands_own_code_is_one_line_wherever_it_was_started(capsys):
    with pytest.raises(SystemExit), mpi.abort_on_error(mpi.SerialComm()):
        Train(epochs=0)
    assert capsys.readouterr().err == "error: epochs: expected at least 1, found 0\n"


def test_a_signal_in_the_middle_of_an_import_comes_wrapped_and_is_one_all_the_same(capsys):
    with pytest.raises(SystemExit) as end, mpi.abort_on_error(mpi.SerialComm()):
        raise RuntimeError("Error calling __set_name__") from mpi.Terminated()  # as Python 3.11 does it
    assert end.value.code == 143 and capsys.readouterr().err.startswith("interrupted: ")


def test_without_mpi4py_a_plain_process_is_a_world_of_one():
    code = "import sys; sys.modules['mpi4py'] = None; from hpc import mpi; print(mpi.world().size)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


def test_ranks_without_mpi4py_say_so(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(mpi.MPIError, match="one of 4 MPI ranks, but it cannot be imported"):
        mpi.world()


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])  # srun, without --mpi
def test_the_launcher_of_another_mpi_or_of_none_is_recognised(name):
    code = "from hpc import mpi\nwith mpi.abort_on_error(mpi.SerialComm()):\n    mpi.world()"
    done = run([sys.executable, "-c", code], **{name: "4"})
    assert done.returncode == 1
    assert "started 4 ranks, but each finds itself in a world of 1" in done.stderr


def test_shares_cover_all_once():
    class Comm:
        size = 3

        def __init__(self, rank):
            self.rank = rank

    parts = [mpi.share(10, Comm(rank)) for rank in range(3)]
    assert [i for part in parts for i in part] == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_serial_exchange_returns_what_was_sent():
    comm = mpi.SerialComm()
    values = np.arange(6).reshape(2, 3)
    counts, received = comm.alltoall(np.array([2])), np.empty_like(values)
    comm.alltoallv(values, counts, received, counts)
    assert (received == values).all() and counts.tolist() == [2] and comm.max(3) == 3
    assert comm.gather(1) == comm.allgather(1) == [1] and comm.allreduce(2) == comm.bcast(2) == 2
