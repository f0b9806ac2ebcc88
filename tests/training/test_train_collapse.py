import os
import signal

import pytest
import torch
from small_experiment import STEPS, load
from trained import assert_same, generators, metrics

from cosmogan.training.plan import TrainingStage
from cosmogan.training.trainer import Trainer
from cosmogan.training.work import train
from hpc.distributed import Processes

pytestmark = pytest.mark.usefixtures("frequent_records")


def spoil(monkeypatch, step, restarts):
    """Make the generator's weights NaN at a step, while no more than so many restarts were made."""
    update = Trainer.update

    def spoiling(self, density, votes):
        if self.step == step and self.restarts <= restarts:
            self.generator.parameters[0].detach()[0] = torch.nan
        return update(self, density, votes)

    monkeypatch.setattr(Trainer, "update", spoiling)


def test_a_collapse_is_one_line_and_leaves_a_good_checkpoint(tmp_path, monkeypatch, uninterrupted, capsys):
    spoil(monkeypatch, 22, restarts=0)
    with pytest.raises(ValueError, match=r"collapsed at step 22: the loss is nan; lower .*the last good step is 16"):
        train(load(tmp_path, checkpoint_minutes=1e-9), Processes())
    monkeypatch.undo()
    monkeypatch.setattr("cosmogan.training.metrics.INTERVAL", 5)
    train(load(tmp_path), Processes())  # without what spoilt it
    assert "resuming at step 16" in capsys.readouterr().out
    assert_same(generators(tmp_path), generators(uninterrupted))


@pytest.mark.parametrize(("step", "good"), [(22, 16), (5, 0)])
def test_a_restart_goes_on_with_another_seed(tmp_path, monkeypatch, uninterrupted, capsys, step, good):
    spoil(monkeypatch, step, restarts=0)
    whole = tmp_path / "whole"
    train(load(whole, on_collapse="restart"), Processes())
    assert f"restart 1 of 3: another seed from step {good}" in capsys.readouterr().out
    assert TrainingStage(load(whole)).receipt.results()["restarts"] == 1
    assert [line["step"] for line in metrics(whole)] == list(range(5, STEPS + 1, 5))
    found, expected = generators(whole), generators(uninterrupted)
    assert not torch.equal(found["epoch-0003.safetensors"]["0.weight"], expected["epoch-0003.safetensors"]["0.weight"])
    # the restart is remembered: stopped and resumed it has the same seed
    spoilt_and_stopped = Trainer.update

    def stopping(self, density, votes):
        if self.restarts == 1 and self.step == 26:
            os.kill(os.getpid(), signal.SIGTERM)
        return spoilt_and_stopped(self, density, votes)

    monkeypatch.setattr(Trainer, "update", stopping)
    for _ in range(2):
        try:
            train(load(tmp_path, on_collapse="restart"), Processes())
        except SystemExit:
            monkeypatch.setattr(Trainer, "update", spoilt_and_stopped)
    assert_same(generators(tmp_path), found)
    assert metrics(tmp_path) == metrics(whole)


def test_restarts_are_bounded(tmp_path, monkeypatch):
    spoil(monkeypatch, 18, restarts=9)
    with pytest.raises(ValueError, match=r"collapsed at step 18.*\(2 restarts were made\)"):
        train(load(tmp_path, on_collapse="restart", max_restarts=2), Processes())
