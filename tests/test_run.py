"""The chain on this machine ends in time, and takes the stage that runs with it."""

import os
import re
import signal
import subprocess
import threading
import time

import pytest
from conftest import until

from cosmogan import config, run
from hpc import mpi
from hpc.chain import Command


@pytest.fixture
def started(monkeypatch):
    """Processes that stages were started as; each sleeps in place of its work."""
    made, popen = [], subprocess.Popen

    def start(*arguments, **options):
        made.append(popen(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(run, "command_line", lambda stage, arguments: ["sleep", "60"])
    monkeypatch.setattr(subprocess, "Popen", start)
    return made


def test_when_the_minutes_are_over_the_stage_is_asked_to_end(started, capsys):
    with pytest.raises(SystemExit) as end:
        run._run_stage("train", Command("cosmogan.train"), "config.yaml", 0.2)
    assert end.value.code == 75
    assert capsys.readouterr().out == "train: the time is up; run the same command again to resume\n"
    assert started[0].returncode == -signal.SIGTERM


def test_a_chain_that_is_asked_to_end_asks_its_stage(started):
    def tell():
        until(lambda: started, "the stage")  # before that, the signal would end these tests
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=tell).start()
    with pytest.raises(SystemExit) as end, mpi.abort_on_error(mpi.SerialComm()):
        run._run_stage("train", Command("cosmogan.train"), "config.yaml", None)
    assert end.value.code == 143
    assert started[0].returncode == -signal.SIGTERM


def test_before_and_after_each_stage_it_says_what_is_left_of_the_minutes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "command_line", lambda stage, arguments: ["true"])
    monkeypatch.setattr(Command, "done", lambda stage, experiment: False)
    experiment = config.Experiment(name="x", output=str(tmp_path))
    run.run(experiment, {"sample": Command("cosmogan.sample")}, minutes=10)
    before, after = capsys.readouterr().out.splitlines()[:2]
    assert before == "[1/1] sample: 10:00 left"
    assert re.fullmatch(r"\[1/1\] sample: took 0:0\d, (10:00|9:5\d) left", after)
