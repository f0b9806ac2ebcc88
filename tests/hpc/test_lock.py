"""Who is at work in a folder; the kernel lets go of what a killed process held."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from conftest import until

from hpc import lock

WORK = """
import sys, time
from pathlib import Path
from hpc import lock
with lock.alone(Path(sys.argv[1]), "train", *map(int, sys.argv[2:])):
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def at_work(tmp_path):
    """Start a process that is at work in the folder."""
    started = []

    def start(*part):
        words = [sys.executable, "-c", WORK, tmp_path, *map(str, part)]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "at work\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_start_says_who_is_at_work_until_that_one_is_killed(tmp_path, at_work):
    first = at_work()
    who = rf"train is at work here already: process {first.pid} on {re.escape(os.uname().nodename)}, since \d{{4}}-"
    with pytest.raises(ValueError, match=who), lock.alone(tmp_path, "train"):
        pass
    with lock.alone(tmp_path, "select"):
        pass  # another stage is no matter
    assert lock.holder(tmp_path, "train")["process"] == str(first.pid)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert lock.holder(tmp_path, "train") is None
    with lock.alone(tmp_path, "train"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_parts_work_side_by_side_but_not_twice_nor_beside_the_whole(tmp_path, at_work):
    first = at_work(1)
    with lock.alone(tmp_path, "train", 2):
        pass
    assert lock.holder(tmp_path, "train") is not None
    for part in ((1,), ()):
        with pytest.raises(ValueError, match="is at work here already"), lock.alone(tmp_path, "train", *part):
            pass
    first.kill()
    first.wait()
    with lock.alone(tmp_path, "train", 2):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".train-part-1.lock"]  # of the one that was killed
    with lock.alone(tmp_path, "train"):
        assert [path.name for path in tmp_path.iterdir()] == [".train.lock"]


def test_whoever_looks_does_not_keep_the_work_from_beginning(tmp_path):
    (tmp_path / ".train.lock").touch()
    with open(tmp_path / ".train.lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        timer = threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        with lock.alone(tmp_path, "train"):
            assert lock.holder(tmp_path, "train")["process"] == str(os.getpid())
        timer.join()


def test_without_locks_there_is_one_warning_and_the_work_goes_on(tmp_path, monkeypatch, capsys):
    def none(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with lock.alone(tmp_path, "train"):
        assert capsys.readouterr().out.count("WARNING") == 1
    assert list(tmp_path.iterdir()) == []


LAUNCHER = """
import os, subprocess, sys, time
os.environ["TORCHELASTIC_RUN_ID"] = "none"
start = "import time; from hpc import killed_ranks; killed_ranks.end_with_launcher()"
work = f"{start}; print('begun', flush=True); time.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", work]).pid, flush=True)
time.sleep(60)
"""


def test_a_worker_ends_with_a_launcher_that_was_killed():
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True)
    worker = int(launcher.stdout.readline())
    assert launcher.stdout.readline() == "begun\n"
    launcher.kill()
    launcher.communicate()
    until(lambda: _is_over(worker), "the worker's end")


def _is_over(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
