"""Runs that are killed, stopped, or run out of disk: nothing complete is lost, and the same command completes them."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import HANGS, environment, until

from cosmogan import config, preprocess, shards
from cosmogan.simulations import gridding
from hpc.mpi import SerialComm

# Run preprocess, and have a real signal sent to a rank when it comes to a stage for the nth time.
FAULTY = """
import contextlib, os, runpy, signal, time
from pathlib import Path
from hpc import timing

stage, rank, turn, number = os.environ["FAULT"].split(":")
mine = rank == "all" or rank == os.environ["PMI_RANK"]
turns, measure = 0, timing.Timer.__call__

@contextlib.contextmanager
def call(self, name, *moved):
    global turns
    with measure(self, name, *moved):
        turns += name == stage and mine
        if name == stage and mine and turns == int(turn):
            if int(number):
                os.kill(os.getpid(), int(number))
            else:
                Path("reached").touch()
                time.sleep(600)
        yield

timing.Timer.__call__ = call
runpy.run_module("cosmogan.preprocess", run_name="__main__")
"""
KILL, TERM = int(signal.SIGKILL), int(signal.SIGTERM)


@pytest.fixture
def experiment(data, tmp_path):
    """Two boxes of clustered particles, three shards each, several rounds on three ranks."""
    real = data / "g2_64_kpc_f1" / "snapshot_006"
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(real)
    tree = {"name": "test", "output": str(tmp_path / "run")}
    tree["preprocess"] = {
        "snapshots": [str(tmp_path / name) for name in ("a", "b")],
        "length_unit": "kpc/h",
        "n_mesh": 64,
        "subvolume": 16,
        "shards": 3,
        "memory_per_rank": 1,
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    (tmp_path / "faulty.py").write_text(FAULTY)
    return path


def files(folder):
    """The shards and their bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.h5"))}


@pytest.fixture
def whole(experiment, tmp_path):
    """What an undisturbed run writes."""
    preprocess.preprocess(
        config.load(experiment, [f"output={tmp_path / 'whole'}", "preprocess.memory_per_rank=64"]), SerialComm()
    )
    return files(tmp_path / "whole" / "shards")


def complete(experiment, tmp_path, mpirun, whole):
    """Run the plain command again: all is there in the end, and no shard was made twice."""
    folder = tmp_path / "run" / "shards"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    done = mpirun(2, "cosmogan.preprocess", experiment)
    assert done.returncode == 0, done.stderr
    if before:
        assert f"{len(before)} of 6 shards are there already" in done.stdout
    assert files(folder) == whole and len(shards.Folder(folder)) == 128
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".part")]
    return len(before)


@pytest.mark.parametrize(
    ("stage", "rank", "turn", "kept"),
    [
        ("headers", 0, 1, 0),
        ("read", 1, 2, 0),
        ("route", 2, 3, 0),
        ("wait", 0, 2, 0),
        ("exchange", 1, 2, 0),
        ("paint", 1, 12, 3),
        ("write", 2, 2, 3),
        ("checksum", 1, 2, 3),
    ],
)
def test_a_killed_rank_ends_all_and_nothing_complete_is_lost(
    experiment, tmp_path, mpirun, whole, stage, rank, turn, kept
):
    done = mpirun(3, "faulty", experiment, cwd=tmp_path, FAULT=f"{stage}:{rank}:{turn}:{KILL}")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "signal 9 (SIGKILL)" in line]
    assert len(said) == 1 and said[0].startswith(f"error (rank {rank} of 3 on "), done.stderr
    assert "lower preprocess.memory_per_rank" in said[0] and "run the same command again" in said[0]
    assert complete(experiment, tmp_path, mpirun, whole) >= kept


def test_the_end_of_the_time_limit_is_one_line_and_no_half_file(experiment, tmp_path, mpirun, whole):
    done = mpirun(3, "faulty", experiment, cwd=tmp_path, FAULT=f"write:all:2:{TERM}")
    assert done.returncode != 0
    assert done.stderr.count("interrupted: run the same command again to resume\n") == 1, done.stderr
    assert complete(experiment, tmp_path, mpirun, whole) == 3


def test_a_launcher_that_is_stopped_takes_all_ranks_along(experiment, tmp_path, whole, launcher, mpirun):
    command = [launcher, "-n", "3", sys.executable, "-m", "faulty", str(experiment)]
    variables = environment(FAULT="paint:1:5:0")
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until((tmp_path / "reached").exists, "a rank amid its work")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=HANGS)
    assert process.returncode != 0
    assert not [line for line in _processes() if str(experiment) in line]
    complete(experiment, tmp_path, mpirun, whole)


def _processes():
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


FULL = """
import contextlib, resource, runpy
from hpc import timing

measure = timing.Timer.__call__

@contextlib.contextmanager
def call(self, name, *moved):
    if name == "write":  # not before: MPI's own shared memory is a file, too
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    with measure(self, name, *moved):
        yield

timing.Timer.__call__ = call
runpy.run_module("cosmogan.preprocess", run_name="__main__")
"""


def test_a_file_that_cannot_grow_is_one_line_on_all_ranks(experiment, tmp_path, mpirun, whole):
    (tmp_path / "full.py").write_text(FULL)
    done = mpirun(3, "full", experiment, cwd=tmp_path)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and ".h5: File too large" in lines[0] and "run the same command again" in lines[0]
    assert complete(experiment, tmp_path, mpirun, whole) == 0


def test_no_room_for_the_shards_is_found_before_any_work(experiment, monkeypatch):
    usage = gridding.shutil.disk_usage("/")
    monkeypatch.setattr(gridding.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    settings = config.load(experiment, ["preprocess.memory_per_rank=64"])
    with pytest.raises(ValueError, match=r"shards: expected room for 2.097 MB of shards, found 1 MB free; free some"):
        preprocess.preprocess(settings, SerialComm())


def test_a_changed_number_of_ranks_keeps_the_bytes(experiment, tmp_path, mpirun, whole):
    for ranks in (2, 5, 8):
        done = mpirun(ranks, "cosmogan.preprocess", experiment, f"output={tmp_path / str(ranks)}")
        assert done.returncode == 0, done.stderr
        assert files(tmp_path / str(ranks) / "shards") == whole


@pytest.mark.slow
def test_64_ranks_keep_the_bytes(experiment, tmp_path, mpirun, whole):
    done = mpirun(64, "cosmogan.preprocess", experiment)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "run" / "shards") == whole
    assert np.isclose(shards.Folder(tmp_path / "run" / "shards").read(np.arange(64)).mean(dtype=np.float64), 1)
