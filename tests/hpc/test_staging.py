"""Copies on a node's disk: right, alone, and gone in the end, however it comes."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import environment

from hpc import staging
from hpc.files import checksum

JOB = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in what a shell runs in the background
from pathlib import Path
from hpc import mpi, staging
from hpc.files import checksum

class Alone:
    rank = local_rank = 0
    size = 1
    def each(self, chosen, work):
        return [work()]

files = {path: checksum(path) for path in sorted(Path(sys.argv[1]).iterdir())}
with mpi.abort_on_error(mpi.SerialComm()), staging.staged(files, "$NODE/local", "stage_to", Alone()) as copies:
    print([copy.read_text() for copy in copies.values()], flush=True)
    if len(sys.argv) > 2:
        os.kill(os.getpid(), int(sys.argv[2]))
"""


class Alone:
    """One process, without torch."""

    rank = local_rank = 0
    size = 1

    def each(self, chosen, work):
        return [work()]


@pytest.fixture
def local(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "local"


@pytest.fixture
def files(local):
    return {path: checksum(path) for path in sorted((local.parent / "data").iterdir())}


def job(local, *number):
    """Run a process that copies and is then sent a signal."""
    words = [sys.executable, "-c", JOB, local.parent / "data", *number]
    options = {"env": environment(NODE=str(local.parent)), "capture_output": True, "text": True, "check": False}
    return subprocess.run([str(word) for word in words], **options)


def test_copies_are_there_while_they_are_needed(local, files):
    with staging.staged(files, str(local), "stage_to", Alone()) as copies:
        assert [copy.read_text() for copy in copies.values()] == ["a", "b"] and list(copies) == list(files)
        (folder,) = {copy.parent for copy in copies.values()}
        assert folder.parent == local and folder.stat().st_mode & 0o777 == 0o700
    assert not list(local.iterdir())
    with pytest.raises(RuntimeError), staging.staged(files, str(local), "stage_to", Alone()):
        raise RuntimeError
    assert not list(local.iterdir())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_asked_to_end_takes_its_copies_away(local, number, status):
    done = job(local, int(number))
    assert done.returncode == status and not list(local.iterdir()), done.stderr


def test_what_a_killed_job_left_is_removed_by_the_next_and_a_living_ones_is_not(local, files):
    assert job(local, int(signal.SIGKILL)).returncode == -signal.SIGKILL
    (left,) = local.iterdir()
    (local / "mine").mkdir()
    with staging.staged(files, str(local), "stage_to", Alone()) as copies:
        assert not left.exists()
        done = job(local)
        assert (done.returncode, done.stdout) == (0, "['a', 'b']\n"), done.stderr
        assert all(copy.exists() for copy in copies.values())
    assert [path.name for path in local.iterdir()] == ["mine"]


@pytest.mark.parametrize("opened", [False, True])
def test_a_folder_that_was_taken_for_a_dead_ones_is_made_again(local, files, monkeypatch, opened):
    """By another job, before this one has locked it."""
    open_folder, seen = os.open, []

    def lose(folder, flags):
        seen.append(folder)
        if len(seen) > 1:
            return open_folder(folder, flags)
        descriptor = open_folder(folder, flags) if opened else None
        folder.rmdir()
        return open_folder(folder, flags) if descriptor is None else descriptor

    monkeypatch.setattr(staging.os, "open", lose)
    with staging.staged(files, str(local), "stage_to", Alone()) as copies:
        assert len(seen) == 2 and all(copy.parent == seen[1] for copy in copies.values())


def test_damage_is_found_while_copying(local, files):
    first = next(iter(files))
    first.write_text("A")
    with pytest.raises(ValueError, match=rf"^{first}: found SHA-256 559aead08264…, expected ca978112ca1b…: damaged"):
        staging.staged(files, str(local), "stage_to", Alone()).__enter__()
    assert not list(local.iterdir())


def test_a_full_disk_is_named_before_anything_is_copied(local, files, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2, 1, 1))
    with pytest.raises(ValueError, match=rf"^stage_to: {local}: expected room for 2e-09 GB, found 1e-09 GB free; free"):
        staging.staged(files, str(local), "stage_to", Alone()).__enter__()
    assert not list(local.iterdir())


def test_a_disk_that_fills_up_meanwhile_is_named(local, files, monkeypatch):
    def full(path, mode):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(staging, "open", full, raising=False)
    with pytest.raises(ValueError, match=rf"^stage_to: {local}: expected room for a, 1e-09 GB, found "):
        staging.staged(files, str(local), "stage_to", Alone()).__enter__()
    assert not list(local.iterdir())


def test_a_place_that_is_none_is_named(local, files, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(ValueError, match=r"^stage_to: \$NOWHERE/x: \$NOWHERE is not set"):
        staging.staged(files, "$NOWHERE/x", "stage_to", Alone()).__enter__()
    with pytest.raises(ValueError, match=rf"^stage_to: expected a folder on this node to write to, found {local}/x"):
        staging.staged(files, f"{local}/x", "stage_to", Alone()).__enter__()
    assert os.path.isdir(local)
