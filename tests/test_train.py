import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_experiment import load, write

from cosmogan import train
from cosmogan.gan import session
from cosmogan.gan.trainer import Trainer
from hpc.distributed import Processes

ROOT = Path(__file__).parent.parent
STEPS = 3 * 16  # three epochs of 128 subvolumes in batches of 8


def generators(folder):
    """All epochs' generators of a run: {name: {tensor's name: tensor}}."""
    return {path.name: load_file(path) for path in sorted((folder / "run/train/generators").iterdir())}


def metrics(folder):
    """The metrics without their times."""
    lines = (folder / "run/train/metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "samples_per_second"} for line in lines]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        for key, value in one[name].items():
            assert torch.equal(value, other[name][key]), (name, key)


def interrupt_after(monkeypatch, step, number=signal.SIGTERM):
    """Send this process a signal in the middle of a step; return what lifts it."""
    update = Trainer.update

    def interrupted(self, density, votes):
        if self.step == step:
            os.kill(os.getpid(), number)
        return update(self, density, votes)

    monkeypatch.setattr(Trainer, "update", interrupted)
    return lambda: monkeypatch.setattr(Trainer, "update", update)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    train.work(load(folder), Processes())
    return folder


@pytest.fixture(autouse=True)
def frequent_records(monkeypatch):
    monkeypatch.setattr("cosmogan.gan.record.INTERVAL", 5)


def test_what_a_run_leaves(uninterrupted):
    names = [f"epoch-000{epoch}{kind}.safetensors" for epoch in (1, 2, 3) for kind in ("-ema", "")]
    assert list(generators(uninterrupted)) == names
    kept = sorted((uninterrupted / "run/train/checkpoints").iterdir())
    assert [path.name for path in kept] == ["step-00000032.pt", "step-00000048.pt"]
    assert torch.load(kept[-1], weights_only=True)["step"] == STEPS
    assert list((uninterrupted / "run/train/tensorboard").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_resumed_is_uninterrupted_bit_for_bit(tmp_path, monkeypatch, uninterrupted, number, capsys):
    lift = interrupt_after(monkeypatch, 22, number)
    handlers = [signal.getsignal(n) for n in session.Interruption.signals]
    with pytest.raises(SystemExit) as stopped:
        train.work(load(tmp_path), Processes())
    assert stopped.value.code == 128 + number
    assert "at step 24 of 48" in capsys.readouterr().out
    assert [signal.getsignal(n) for n in session.Interruption.signals] == handlers
    lift()
    train.work(load(tmp_path), Processes())
    assert "resuming at step 24" in capsys.readouterr().out
    assert_same(generators(tmp_path), generators(uninterrupted))


def test_metrics_have_no_gaps_and_no_doubles_after_a_kill(tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    train.work(load(whole), Processes())
    lift = interrupt_after(monkeypatch, 27)
    update = session.checkpoint.save
    monkeypatch.setattr(
        session.checkpoint, "save", lambda folder, state, keep: state["step"] == 16 and update(folder, state, keep)
    )
    with pytest.raises(SystemExit):  # its last checkpoint is at step 16; the metrics went on to step 25
        train.work(load(tmp_path), Processes())
    assert metrics(tmp_path)[-1]["step"] == 25
    monkeypatch.undo()
    lift()
    monkeypatch.setattr("cosmogan.gan.record.INTERVAL", 5)
    train.work(load(tmp_path), Processes())
    assert metrics(tmp_path) == metrics(whole)
    found = metrics(tmp_path)
    assert [line["step"] for line in found] == list(range(5, STEPS + 1, 5))
    assert all(line["n_seen"] == 8 * line["step"] and line["epoch"] == -(-line["step"] // 16) for line in found)
    assert set(found[0]) == {"step", "epoch", "n_seen", "loss_discriminator", "loss_generator"} | {
        "score_real", "score_fake", "gate_rate"
    }  # fmt: skip


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, monkeypatch, uninterrupted, capsys):
    lift = interrupt_after(monkeypatch, 22)
    with pytest.raises(SystemExit):
        train.work(load(tmp_path), Processes())
    lift()
    newest = tmp_path / "run/train/checkpoints/step-00000024.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    capsys.readouterr()
    train.work(load(tmp_path), Processes())
    said = capsys.readouterr().out
    assert said.count("step-00000024.pt: damaged") == 1 and "resuming at step 16" in said
    assert_same(generators(tmp_path), generators(uninterrupted))


def test_a_finished_run_says_so_and_more_epochs_go_on(tmp_path, capsys):
    train.work(load(tmp_path, epochs=1), Processes())
    first = generators(tmp_path)
    train.work(load(tmp_path, epochs=1, device="cpu", checkpoint_minutes=3.0), Processes())
    assert "finished (1 epochs); nothing to do" in capsys.readouterr().out
    train.work(load(tmp_path, epochs=2), Processes())
    assert "resuming at step 16 of 32" in capsys.readouterr().out
    both = generators(tmp_path)
    assert len(both) == 4
    assert_same({name: both[name] for name in first}, first)


def test_other_settings_are_refused_by_name(tmp_path):
    train.work(load(tmp_path, epochs=1), Processes())
    with pytest.raises(ValueError, match=r"train\.generator_rate: 0\.0001 -> 0\.5"):
        train.work(load(tmp_path, epochs=2, generator_rate=0.5), Processes())


def test_too_few_subvolumes_and_wrong_kinds_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"128 subvolumes to train on .*held_out: \[2\].*train\.batch_size = 256"):
        train.work(load(tmp_path, batch_size=256), Processes())
    manifest = tmp_path / "shards/manifest.json"
    manifest.write_text(manifest.read_text().replace('"simulated"', '"generated"'))
    with pytest.raises(ValueError, match="expected simulated subvolumes, found generated"):
        train.work(load(tmp_path), Processes())


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(session.checkpoint, "save", lambda folder, state, keep: saved.append(state["step"]))
    train.work(load(tmp_path, epochs=1, checkpoint_minutes=1e-9), Processes())
    assert saved == list(range(1, 17))


def launch(folder, processes, **settings):
    """Train 20 steps with torchrun."""
    path = write(folder, epochs=1, batch_size=8, epoch_repeats=5, **settings)
    command = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "cosmogan.train", path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_two_processes_train_the_same_network_as_one(tmp_path):
    runs = {n: launch(tmp_path / str(n), n) for n in (1, 2)}
    for run in runs.values():
        text, _ = run.communicate(timeout=100)
        assert run.returncode == 0, text
    one, two = (generators(tmp_path / str(n)) for n in (1, 2))
    for name in one:
        a, b = (torch.cat([value.flatten() for value in found[name].values()]) for found in (one, two))
        assert ((a - b).norm() / a.norm()).item() < 1e-4
        assert not torch.equal(a, b)  # the sums were really made in another order


def test_kill_term_saves_and_leaves(tmp_path):
    run = launch(tmp_path, 2, rate_end=0.5)
    try:
        log = tmp_path / "run/train/metrics.jsonl"
        for _ in range(900):
            if log.exists() and log.read_text():
                break
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)  # torchrun passes it on to its workers
        text, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode != 0
    assert "train: stopped by SIGTERM" in text and "the same command goes on" in text, text
    assert list((tmp_path / "run/train/checkpoints").glob("step-*.pt"))
