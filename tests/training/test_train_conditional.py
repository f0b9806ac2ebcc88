"""Conditional training in real processes: on any number of them, and through an interruption, it is the same."""

import signal

import pytest
from conditional_experiment import load
from trained import assert_close, assert_same, finish, generators, metrics, start, state

# What a condition adds to a step: its own latents' end, fakes' conditions from a prior, a scale that depends on it.
MODEL = {"kappa": 4.0, "width": 4, "latent_dimension": 6, "density_bias": True, "condition": ["redshift"]}
MODEL |= {"kappa_redshift": 0.5}
TRAIN = {"epochs": 1, "batch_size": 8, "batch_norm_group": 4, "ema": 100, "epoch_repeats": 1, "seed": 3}
TRAIN |= {"fake_conditions": "uniform", "precision": "float64"}


def launch(folder, processes=1, step=-1):
    """Train in processes of their own, which one SIGTERM each ends in the middle of a step, or never."""
    folder.mkdir(exist_ok=True)
    load(folder, model=MODEL, train=TRAIN)
    return start(folder / "conditional.yaml", processes, step, signal.SIGTERM)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder of the undisturbed training on one process."""
    folder = tmp_path_factory.mktemp("alone")
    finish(launch(folder))
    return folder


def test_two_processes_train_the_same_conditional_model_as_one(tmp_path, alone):
    finish(launch(tmp_path, processes=2))
    assert_close(state(tmp_path), state(alone), 1e-9)


def test_stopped_and_resumed_it_is_the_undisturbed_one_bit_for_bit(tmp_path, alone):
    assert "stopped by SIGTERM at step 12 of 24" in finish(launch(tmp_path, step=10), status=1)
    assert "resuming at step 12" in finish(launch(tmp_path))
    assert_same(generators(tmp_path), generators(alone))
    assert metrics(tmp_path) == metrics(alone)
