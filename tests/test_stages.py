"""Every stage of a chain: stopped, the same command goes on; done, it says so; no two work in one folder."""

import pytest
import tiny_experiment

from cosmogan import config
from cosmogan.reporting import drawing
from hpc import lock
from hpc.chain import load_chain
from hpc.distributed import Processes
from hpc.mpi import SerialComm
from hpc.receipts import Receipt
from hpc.stage import execute

STAGES = load_chain().stages
OTHER = {
    "simulate": "simulate.n_steps=4",
    "preprocess": "preprocess.window=ngp",
    "train": "train.seed=5",
}  # keep results


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The smallest experiment."""
    return tiny_experiment.write(tmp_path_factory.mktemp("stages"))


def stage(name, path, *overrides):
    return STAGES[name].of(config.load(path, overrides))


def run(made):
    execute(made, Processes() if made.name == "train" else SerialComm())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_refused_beside_another_goes_on_and_says_that_it_is_done(name, path, monkeypatch, capsys):
    monkeypatch.setattr(drawing, "exhibits", lambda runs, folder: ([], []))  # the figures take long
    for before in STAGES:
        if before == name:
            break
        run(stage(before, path))
    made = stage(name, path)
    assert made.name == name and not made.is_done()
    with lock.alone(made.workplace, name), pytest.raises(ValueError, match=f"{name} is at work here already"):
        run(made)

    def stopped(receipt, **results):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Receipt, "finish", stopped)
        run(made)
    assert not stage(name, path).is_done() and lock.holder(made.workplace, name) is None
    run(stage(name, path))
    done = stage(name, path)
    assert done.is_done()
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(type(done), "run", lambda *_: pytest.fail("worked again"))
        run(done)
    assert capsys.readouterr().out == f"{name}: {done.when_done()}\n"
    if name in OTHER:
        with pytest.raises(ValueError, match=f"`{name}` was begun here with other settings"):
            run(stage(name, path, OTHER[name]))
