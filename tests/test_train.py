import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_experiment import load, write

from cosmogan import config, shards, train
from cosmogan.gan import session
from cosmogan.gan.checkpoint import Checkpoints
from cosmogan.gan.trainer import Trainer
from hpc.distributed import Processes

ROOT = Path(__file__).parent.parent
MACHINE = ("samples_per_second", "data_wait", "memory")
STEPS = 3 * 16  # three epochs of 128 subvolumes in batches of 8


def generators(folder):
    """All epochs' generators of a run: {name: {tensor's name: tensor}}."""
    return {path.name: load_file(path) for path in sorted((folder / "run/train/generators").iterdir())}


def metrics(folder):
    """The metrics without what the machine did."""
    lines = (folder / "run/train/metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in MACHINE} for line in lines]


def state(folder):
    """The trainer of a run's last checkpoint, flattened: {dotted name: tensor}."""
    path = max((folder / "run/train/checkpoints").glob("step-*.pt"))
    return dict(flattened("", torch.load(path, weights_only=True)["trainer"]))


def flattened(prefix, tree):
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from flattened(f"{prefix}.{name}", value)
    if isinstance(tree, torch.Tensor):
        yield prefix, tree


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
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda store, state: state["step"] == 16 and save(store, state))
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
        "score_real", "score_fake", "gate_rate", "gradient_discriminator", "gradient_generator",
        "weights_discriminator", "weights_generator",
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


def test_named_settings_may_change(tmp_path, capsys):
    train.work(load(tmp_path, epochs=1), Processes())
    changes = {"generator_rate": 2e-4, "gate": 0.1}
    with pytest.raises(ValueError, match=r"train\.gate: 0\.2 -> 0\.1\)"):
        train.work(load(tmp_path, epochs=2, allow_changed=["train.generator_rate"], **changes), Processes())
    allowed = ["train.generator_rate", "train.gate"]
    train.work(load(tmp_path, epochs=2, allow_changed=allowed, **changes), Processes())
    assert "resuming at step 16 of 32" in capsys.readouterr().out
    train.work(load(tmp_path, epochs=2, **changes), Processes())  # the new ones are on record now
    assert "nothing to do" in capsys.readouterr().out
    for name in ("train.batch_size", "train"):
        with pytest.raises(ValueError, match=f"allow_changed: {name} never may change"):
            train.work(load(tmp_path, epochs=3, allow_changed=[name]), Processes())


def test_networks_of_another_shape_are_one_line(tmp_path):
    train.work(load(tmp_path, epochs=1), Processes())
    path = write(tmp_path, epochs=2, allow_changed=["model.width"])
    path.write_text(path.read_text().replace("width: 4", "width: 8"))
    with pytest.raises(ValueError, match=r"checkpoints of other networks than the settings describe: .*size mismatch"):
        train.work(config.load(path), Processes())


def test_other_data_are_refused_by_name(tmp_path):
    train.work(load(tmp_path, epochs=1), Processes())
    manifest = tmp_path / "shards/manifest.json"
    manifest.write_text(manifest.read_text().replace('"redshift": 0.0', '"redshift": 1.0'))
    with pytest.raises(ValueError, match=r"data\.geometry\.redshift: 0\.0 -> 1\.0; data\.manifest_sha256"):
        train.work(load(tmp_path, epochs=2), Processes())
    train.work(load(tmp_path, epochs=2, allow_changed=["data"]), Processes())


def test_subvolumes_of_another_size_or_unit_are_one_line(tmp_path, monkeypatch):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("subvolume: 8", "subvolume: 16"))
    with pytest.raises(ValueError, match=r"subvolumes of 8³ cells, expected preprocess\.subvolume = 16"):
        train.work(config.load(path), Processes())
    read = shards.Folder.read
    for factor in (3.8, 0.0):  # in 10¹⁰ M☉, as the paper's figures have it; and nothing at all
        monkeypatch.setattr(shards.Folder, "read", lambda self, rows, f=factor: np.float32(f) * read(self, rows))
        with pytest.raises(ValueError, match=r"shards: densities with a mean of .*expected a mean near 1"):
            train.work(load(tmp_path), Processes())


def test_too_few_subvolumes_and_wrong_kinds_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"128 subvolumes to train on .*held_out: \[2\].*train\.batch_size = 256"):
        train.work(load(tmp_path, batch_size=256), Processes())
    manifest = tmp_path / "shards/manifest.json"
    manifest.write_text(manifest.read_text().replace('"simulated"', '"generated"'))
    with pytest.raises(ValueError, match="expected simulated subvolumes, found generated"):
        train.work(load(tmp_path), Processes())


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoints, "save", lambda store, state: saved.append(state["step"]))
    train.work(load(tmp_path, epochs=1, checkpoint_minutes=1e-9), Processes())
    assert saved == list(range(1, 17))


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
        train.work(load(tmp_path, checkpoint_minutes=1e-9), Processes())
    monkeypatch.undo()
    monkeypatch.setattr("cosmogan.gan.record.INTERVAL", 5)
    train.work(load(tmp_path), Processes())  # without what spoilt it
    assert "resuming at step 16" in capsys.readouterr().out
    assert_same(generators(tmp_path), generators(uninterrupted))


@pytest.mark.parametrize(("step", "good"), [(22, 16), (5, 0)])
def test_a_restart_goes_on_with_another_seed(tmp_path, monkeypatch, uninterrupted, capsys, step, good):
    spoil(monkeypatch, step, restarts=0)
    whole = tmp_path / "whole"
    train.work(load(whole, on_collapse="restart"), Processes())
    assert f"restart 1 of 3: another seed from step {good}" in capsys.readouterr().out
    assert train.receipt(load(whole)).results()["restarts"] == 1
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
            train.work(load(tmp_path, on_collapse="restart"), Processes())
        except SystemExit:
            monkeypatch.setattr(Trainer, "update", spoilt_and_stopped)
    assert_same(generators(tmp_path), found)
    assert metrics(tmp_path) == metrics(whole)


def test_restarts_are_bounded(tmp_path, monkeypatch):
    spoil(monkeypatch, 18, restarts=9)
    with pytest.raises(ValueError, match=r"collapsed at step 18.*\(2 restarts were made\)"):
        train.work(load(tmp_path, on_collapse="restart", max_restarts=2), Processes())


def test_previews_show_where_the_generator_stands(tmp_path):
    few = {"epochs": 1, "batch_size": 64}  # two steps
    train.work(load(tmp_path / "1", preview_minutes=1e-9, **few), Processes())
    previews = sorted((tmp_path / "1/run/train/previews").iterdir())
    assert [path.name for path in previews] == ["step-00000001.png", "step-00000002.png"]
    assert previews[0].read_bytes() != previews[1].read_bytes()
    train.work(load(tmp_path / "2", preview_minutes=None, **few), Processes())
    assert_same(generators(tmp_path / "1"), generators(tmp_path / "2"))  # looking changes nothing


# Real processes: 24 steps, in one epoch and a half.
LAUNCHED = {"epochs": 2, "epoch_repeats": 3, "batch_size": 16, "gate": 0.51, "rate_end": 0.5}
LAUNCHED |= {"generator_rate": 2e-3, "discriminator_rate": 1e-3}
DRIVER = """\
import os, runpy
from cosmogan.gan import record
from cosmogan.gan.trainer import Trainer
record.INTERVAL = 5
update = Trainer.update
def stopped(self, density, votes):
    if self.step == {step}:
        os.kill(os.getpid(), {number})
    return update(self, density, votes)
Trainer.update = stopped
runpy.run_module("cosmogan.train", run_name="__main__")
"""


def launch(folder, processes, step=-1, number=signal.SIGTERM, **settings):
    """Train in processes of their own, which one signal each ends in the middle of a step."""
    path = write(folder, **{**LAUNCHED, **settings})
    driver = folder / "driver.py"
    driver.write_text(DRIVER.format(step=step, number=int(number)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), driver, path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment}
    return subprocess.Popen([str(word) for word in command], **options)


def finish(run, status=0):
    text, _ = run.communicate(timeout=200)
    assert (run.returncode == 0) == (status == 0), text
    return text


def assert_close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name in one:
        a, b = one[name].double(), other[name].double()
        assert (a - b).norm() <= tolerance * a.norm() + 1e-30, (name, ((a - b).norm() / a.norm()).item())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder of the same training in float64 in this process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cosmogan.gan.record.INTERVAL", 5)
        train.work(load(folder, **LAUNCHED, precision="float64"), Processes())
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder of the same training in float64 on two processes."""
    folder = tmp_path_factory.mktemp("pair")
    finish(launch(folder, 2, precision="float64"))
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
    train.work(load(tmp_path / "1", **LAUNCHED, precision="float64"), Processes())
    found, expected = state(tmp_path / "2"), state(pair)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_same(generators(tmp_path / "2"), generators(pair))
    assert metrics(tmp_path / "2") == metrics(pair)
    assert_same_training(tmp_path / "1", pair)


def test_killed_and_resumed(tmp_path, alone, capsys):
    finish(launch(tmp_path, 1, step=32, number=signal.SIGKILL, precision="float64"), status=1)
    train.work(load(tmp_path, **LAUNCHED, precision="float64"), Processes())
    assert "resuming at step 24" in capsys.readouterr().out  # the last epoch's end
    found, expected = state(tmp_path), state(alone)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert metrics(tmp_path) == metrics(alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"precision": "float32"}, {"precision": "float64", "loss": "wasserstein", "gate": 0.0, "n_critic": 3}],
)
def test_the_same_model_in_float32_and_with_a_critic(tmp_path, settings):
    settings = {"epochs": 1, **settings}
    runs = [launch(tmp_path / str(n), n, **settings) for n in (2, 4)]
    train.work(load(tmp_path / "1", **{**LAUNCHED, **settings}), Processes())
    for run in runs:
        finish(run)
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
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environment, text=True, capture_output=True, timeout=100, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert done.returncode != 0
    assert len(lines) == 1 and "cannot be written (File too large)" in lines[0], done.stderr
    assert not list((tmp_path / "run/train/checkpoints").iterdir())
