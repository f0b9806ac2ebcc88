"""Training in real processes: any number of them, stopped, killed, resumed, on a full disk."""

import shutil
import signal
import subprocess
import sys

import pytest
import torch
from conftest import run, until
from small_experiment import load, write
from trained import assert_close, assert_same, finish, generators, metrics, start, state

from cosmogan import config
from cosmogan.training.work import train
from hpc import lock
from hpc.chain import Command
from hpc.distributed import Processes

pytestmark = pytest.mark.usefixtures("frequent_records")
LAUNCHED = {"epochs": 2, "epoch_repeats": 3, "batch_size": 16, "gate": 0.51, "rate_end": 0.5}
LAUNCHED |= {"generator_rate": 2e-3, "discriminator_rate": 1e-3, "discriminator_loss": 1.0}
LAUNCHED |= {"model": {"discriminator_log": 0.01, "discriminator_power": [1, 3000]}}


def launch(folder, processes, step=-1, number=signal.SIGTERM, **settings):
    """Train in processes of their own, which one signal each ends in the middle of a step."""
    return start(write(folder, **{**LAUNCHED, **settings}), processes, step, number)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder of the same training in float64 in this process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cosmogan.training.metrics.INTERVAL", 5)
        train(load(folder, **LAUNCHED, precision="float64"), Processes())
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder of the same training in float64 on two processes, from copies of the shards."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "node").mkdir()
    text = finish(launch(folder, 2, precision="float64", stage_to=str(folder / "node")))
    assert text.count("copying 2 shards") == 1, text
    return folder


def assert_same_training(folder, expected):
    """Weights, running statistics, the average, both Adams, gate decisions and metrics, to summation order."""
    found, one = state(folder), state(expected)
    assert_close(found, one, 1e-9)
    assert not torch.equal(found[".generator.network.0.weight"], one[".generator.network.0.weight"])
    for line, other in zip(metrics(folder), metrics(expected), strict=True):
        assert line.keys() == other.keys() and line["gate_rate"] == other["gate_rate"]
        assert all(value == pytest.approx(other[name], rel=1e-9) for name, value in line.items() if value is not None)


def test_two_processes_train_the_same_model_as_one(alone, pair):
    assert {part for name in state(alone) for part in name.split(".")} >= {"exp_avg_sq", "running_var", "average"}
    assert_same_training(pair, alone)
    rates = {line["gate_rate"] for line in metrics(alone)}
    assert any(0 < rate < 1 for rate in rates), rates


def test_two_processes_leave_no_copies(pair):
    assert not list((pair / "node").iterdir())


@pytest.mark.slow
def test_four_processes_train_the_same_model_as_one(tmp_path, alone):
    finish(launch(tmp_path, 4, precision="float64"))
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
def test_stopped_by_two_processes_and_resumed_by_any_number(tmp_path, pair):
    """Bit for bit on as many processes, in the middle of an epoch and of a record; to summation order on others."""
    text = finish(launch(tmp_path / "2", 2, step=32, precision="float64"), status=1)
    assert text.count("stopped by SIGTERM at step 34") == 1, text
    shutil.copytree(tmp_path / "2", tmp_path / "1")
    assert "resuming at step 34" in finish(launch(tmp_path / "2", 2, precision="float64"))
    train(load(tmp_path / "1", **LAUNCHED, precision="float64"), Processes())
    found, expected = state(tmp_path / "2"), state(pair)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_same(generators(tmp_path / "2"), generators(pair))
    assert metrics(tmp_path / "2") == metrics(pair)
    assert_same_training(tmp_path / "1", pair)


def test_killed_and_resumed(tmp_path, alone, capsys):
    finish(launch(tmp_path, 1, step=32, number=signal.SIGKILL, precision="float64"), status=1)
    train(load(tmp_path, **LAUNCHED, precision="float64"), Processes())
    assert "resuming at step 24" in capsys.readouterr().out  # the last epoch's end
    found, expected = state(tmp_path), state(alone)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert metrics(tmp_path) == metrics(alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float32"},
        {"precision": "float64", "loss": "relativistic", "gate": 0.0, "r1": 1.0},
        {"precision": "float64", "loss": "wasserstein", "gate": 0.0, "n_critic": 3, "random_crops": True, "r1": 1.0}
        | {"discriminator_loss": None},
    ],
)
def test_the_same_model_in_float32_and_with_a_critic_crops_and_r1(tmp_path, settings):
    settings = {"epochs": 1, **settings}
    runs = [launch(tmp_path / str(n), n, **settings) for n in (2, 4)]
    train(load(tmp_path / "1", **{**LAUNCHED, **settings}), Processes())
    for launched in runs:
        finish(launched)
    for n in (2, 4):
        found, expected = (
            {name: value for name, value in state(tmp_path / str(m)).items() if "network" in name} for m in (n, 1)
        )
        weights = [torch.cat([value.flatten() for value in tree.values()]) for tree in (found, expected)]
        difference = ((weights[0] - weights[1]).norm() / weights[1].norm()).item()
        assert 0 < difference < (1e-4 if settings["precision"] == "float32" else 1e-9)


@pytest.mark.slow
def test_a_full_disk_ends_all_processes_with_one_line(tmp_path):
    path = write(tmp_path, **LAUNCHED)
    wrapper = tmp_path / "driver.py"
    wrapper.write_text(
        "import resource, runpy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"  # a checkpoint is larger
        'runpy.run_module("cosmogan.train", run_name="__main__")\n'
    )
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", wrapper, path]
    done = run([sys.executable, *command])
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode != 0
    assert len(lines) == 1 and "File too large while writing it" in lines[0], done.stderr
    assert not list((tmp_path / "run/train/checkpoints").iterdir())


def test_a_second_start_is_refused_and_workers_end_with_a_torchrun_that_was_killed(tmp_path):
    path = write(tmp_path, **LAUNCHED | {"epochs": 500})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "cosmogan.train", str(path)]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: list(tmp_path.glob("run/train/generators/epoch-*")), "an epoch")
        experiment = load(tmp_path, **LAUNCHED | {"epochs": 500})
        first = lock.holder(experiment.folder, "train")
        with pytest.raises(ValueError, match=rf"train is at work here already: process {first['process']} on "):
            train(experiment, Processes())
        assert Command("cosmogan.train").at_work("train", experiment) == first
    finally:
        launcher.kill()
        launcher.wait()
    until(lambda: lock.holder(experiment.folder, "train") is None, "the workers' end")
    assert config.load(experiment.folder / "config.yaml") == experiment
