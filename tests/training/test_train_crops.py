"""Training on random crops: resumed as any other, and refused where crops cannot be made."""

import os

import conditional_experiment
import pytest
from small_experiment import load
from trained import assert_same, generators, interrupt_after

from cosmogan.training import setup
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.settings import SettingsError


def test_resumed_is_uninterrupted_bit_for_bit(tmp_path, monkeypatch):
    settings = {"epochs": 1, "random_crops": True}
    train(load(tmp_path / "whole", **settings), Processes())
    lift = interrupt_after(monkeypatch, 9)
    with pytest.raises(SystemExit):
        train(load(tmp_path, **settings), Processes())
    lift()
    train(load(tmp_path, **settings), Processes())
    found = generators(tmp_path)
    assert_same(found, generators(tmp_path / "whole"))
    train(load(tmp_path / "plain", epochs=1), Processes())
    with pytest.raises(AssertionError):
        assert_same(found, generators(tmp_path / "plain"))


def test_boxes_that_are_not_whole_are_one_line(tmp_path):
    experiment = conditional_experiment.load(tmp_path, train={"random_crops": True, "batch_size": 8})
    with pytest.raises(ValueError, match=r"simulation 0 at redshift 3 does not have each of its 64 subvolumes once"):
        setup.prepare(experiment, Processes())


def test_boxes_that_cannot_be_held_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"train\.cache: expected auto, host or device with random_crops.*none"):
        load(tmp_path, random_crops=True, cache="none")
    monkeypatch.setattr(os, "sysconf", lambda name: 512)  # 512 pages of 512 bytes: exactly the set, not twice it
    with pytest.raises(ValueError, match=r"random_crops: the 262 kB of the training set, once a process, are more"):
        setup.prepare(load(tmp_path, random_crops=True), Processes())
    setup.prepare(load(tmp_path, random_crops=True, cache="host"), Processes())
