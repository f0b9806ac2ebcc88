"""Ranks that end in every way there is: only of the one that SIGKILL ended a line is said, and nobody stays behind."""

import signal
import socket
import subprocess
import sys

import pytest
from conftest import HANGS, environment, until

RANK = """
import os, signal, time
from hpc import mpi
comm = mpi.world("part.memory")
with mpi.abort_on_error(comm):
    comm.barrier()
    if comm.rank == 0:
        print("ready", flush=True)
    {end}
    comm.barrier()
"""
ON_RANK_1 = "if comm.rank == 1: "
SELF = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def ranks(tmp_path, mpirun):
    def call(end, n=3):
        (tmp_path / "watched_ranks.py").write_text(RANK.format(end=end))
        return mpirun(n, "watched_ranks", tmp_path, cwd=tmp_path)

    return call


def lines(text):
    return [line for line in text.splitlines() if "SIGKILL" in line]


def left(folder):
    """The processes of a test that there are: its folder is the last word of their command lines."""
    shown = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if line.endswith(f"-m watched_ranks {folder}")]


def test_of_a_killed_rank_one_line_says_where_why_and_what_to_do(ranks):
    done = ranks(ON_RANK_1 + SELF)
    assert done.returncode != 0
    assert lines(done.stderr) == [
        f"error (rank 1 of 3 on {socket.gethostname()}): ended by signal 9 (SIGKILL), most likely for want of memory: "
        "lower part.memory or start fewer ranks on a node, and run the same command again to resume"
    ]


def test_of_many_killed_at_once_each_says_its_line(ranks):
    done = ranks(SELF, n=2)
    assert done.returncode != 0 and 1 <= len(lines(done.stderr)) <= 2


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        ON_RANK_1 + "raise ValueError('a.txt: found 1')",
        ON_RANK_1 + "os._exit(3)",
        ON_RANK_1 + "os.kill(os.getpid(), signal.SIGSEGV)",
        ON_RANK_1 + "os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_of_any_other_end_nothing_is_said_of_memory(tmp_path, ranks, end):
    done = ranks(end)
    assert (done.returncode == 0) == (end == "pass")
    assert "memory" not in done.stderr
    until(lambda: not left(tmp_path), "the end of all ranks")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_launcher_leaves_nobody_and_no_line(tmp_path, launcher, number):
    (tmp_path / "watched_ranks.py").write_text(RANK.format(end="time.sleep(600)"))
    command = [launcher, "-n", "3", sys.executable, "-m", "watched_ranks", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        assert len([line for line in left(tmp_path) if launcher not in line]) == 6  # ranks and those who watch them
        process.send_signal(number)
        _, said = process.communicate(timeout=HANGS)  # to the end of its pipes: nobody holds them
    assert process.returncode != 0 and not lines(said)
    until(lambda: not left(tmp_path), "the end of all ranks")
