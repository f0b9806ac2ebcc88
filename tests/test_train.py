import shutil
import signal

import numpy as np
import pytest
import torch
from small_experiment import STEPS, load, write
from tapes import Tapes
from trained import assert_same, generators, interrupt_after, metrics

from cosmogan import config, shards
from cosmogan.training import session, setup
from cosmogan.training.checkpoint import Checkpoints
from cosmogan.training.plan import TrainingStage
from cosmogan.training.work import train
from hpc.distributed import Processes

pytestmark = pytest.mark.usefixtures("frequent_records")


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
        train(load(tmp_path), Processes())
    assert stopped.value.code == 128 + number
    assert "at step 24 of 48" in capsys.readouterr().out
    assert [signal.getsignal(n) for n in session.Interruption.signals] == handlers
    lift()
    train(load(tmp_path), Processes())
    assert "resuming at step 24" in capsys.readouterr().out
    assert_same(generators(tmp_path), generators(uninterrupted))


def test_it_may_be_recorded_in_graphs_for_a_part_of_the_time(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.setattr("cosmogan.training.cuda_graphs.Recorder", Tapes)
    lift = interrupt_after(monkeypatch, 22)
    with pytest.raises(SystemExit):
        train(load(tmp_path, cuda_graphs=True), Processes())
    lift()
    train(load(tmp_path), Processes())
    assert_same(generators(tmp_path), generators(uninterrupted))


@pytest.fixture
def opened(monkeypatch):
    """Record every shard that is opened."""
    paths, open_file = [], shards.folder.open_file
    monkeypatch.setattr(shards.folder, "open_file", lambda path: paths.append(path) or open_file(path))
    return paths


def test_training_from_copies_on_the_node_is_the_same_bit_for_bit(tmp_path, monkeypatch, uninterrupted, opened):
    (tmp_path / "node").mkdir()
    monkeypatch.setenv("NODE", str(tmp_path / "node"))
    lift = interrupt_after(monkeypatch, 22)
    with pytest.raises(SystemExit):
        train(load(tmp_path, stage_to="$NODE"), Processes())
    assert sorted(path.name for path in opened) == ["simulation-000.h5", "simulation-001.h5"]  # once, not held out
    assert {path.parent.parent for path in opened} == {tmp_path / "node"} and not list((tmp_path / "node").iterdir())
    lift()
    train(load(tmp_path), Processes())  # goes on from the shards themselves
    assert_same(generators(tmp_path), generators(uninterrupted))


def test_copies_are_gone_after_an_error(tmp_path):
    (tmp_path / "node").mkdir()
    damaged = load(tmp_path, stage_to=str(tmp_path / "node")).shards_folder / "simulation-001.h5"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"^{damaged}: found SHA-256 .* damaged"):
        train(load(tmp_path, stage_to=str(tmp_path / "node")), Processes())
    assert not list((tmp_path / "node").iterdir())


def test_all_processes_but_the_first_open_no_shard_to_begin_with(tmp_path, opened):
    setup.prepare(load(tmp_path), Processes(rank=1, size=1, local_rank=1))
    assert opened == []
    setup.prepare(load(tmp_path), Processes())
    assert len(opened) == 2


def test_metrics_have_no_gaps_and_no_doubles_after_a_kill(tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    train(load(whole), Processes())
    lift = interrupt_after(monkeypatch, 27)
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda store, state: state["step"] == 16 and save(store, state))
    with pytest.raises(SystemExit):  # its last checkpoint is at step 16; the metrics went on to step 25
        train(load(tmp_path), Processes())
    assert metrics(tmp_path)[-1]["step"] == 25
    monkeypatch.undo()
    lift()
    monkeypatch.setattr("cosmogan.training.metrics.INTERVAL", 5)
    train(load(tmp_path), Processes())
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
        train(load(tmp_path), Processes())
    lift()
    newest = tmp_path / "run/train/checkpoints/step-00000024.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    capsys.readouterr()
    train(load(tmp_path), Processes())
    said = capsys.readouterr().out
    assert said.count("step-00000024.pt: damaged") == 1 and "resuming at step 16" in said
    assert_same(generators(tmp_path), generators(uninterrupted))


def test_a_finished_run_says_so_and_more_epochs_go_on(tmp_path, capsys):
    train(load(tmp_path, epochs=1), Processes())
    first = generators(tmp_path)
    train(load(tmp_path, epochs=1, device="cpu", checkpoint_minutes=3.0), Processes())
    assert "finished (1 epochs); nothing to do" in capsys.readouterr().out
    train(load(tmp_path, epochs=2), Processes())
    assert "resuming at step 16 of 32" in capsys.readouterr().out
    both = generators(tmp_path)
    assert len(both) == 4
    assert_same({name: both[name] for name in first}, first)


def test_a_training_that_was_deleted_is_not_done(tmp_path, capsys):
    few = {"epochs": 1, "batch_size": 64}  # two steps
    train(load(tmp_path, **few), Processes())
    before = generators(tmp_path)
    shutil.rmtree(tmp_path / "run/train/generators")
    with pytest.raises(
        ValueError, match=r"train/generators: training is finished, but there are none; delete .*run/train"
    ):
        train(load(tmp_path, **few), Processes())
    shutil.rmtree(tmp_path / "run/train")
    train(load(tmp_path, **few), Processes())
    assert_same(generators(tmp_path), before)
    shutil.rmtree(tmp_path / "run/train")
    train(load(tmp_path, generator_rate=0.5, **few), Processes())  # nothing is left to keep
    assert TrainingStage(load(tmp_path, generator_rate=0.5, **few)).is_done()


def test_other_settings_are_refused_by_name(tmp_path):
    train(load(tmp_path, epochs=1), Processes())
    with pytest.raises(ValueError, match=r"train\.generator_rate: 0\.0001 -> 0\.5"):
        train(load(tmp_path, epochs=2, generator_rate=0.5), Processes())


def test_named_settings_may_change(tmp_path, capsys):
    train(load(tmp_path, epochs=1), Processes())
    changes = {"generator_rate": 2e-4, "gate": 0.1}
    with pytest.raises(ValueError, match=r"train\.gate: 0\.2 -> 0\.1\)"):
        train(load(tmp_path, epochs=2, allow_changed=["train.generator_rate"], **changes), Processes())
    allowed = ["train.generator_rate", "train.gate"]
    train(load(tmp_path, epochs=2, allow_changed=allowed, **changes), Processes())
    assert "resuming at step 16 of 32" in capsys.readouterr().out
    train(load(tmp_path, epochs=2, **changes), Processes())  # the new ones are on record now
    assert "nothing to do" in capsys.readouterr().out
    for name in ("train.batch_size", "train"):
        with pytest.raises(ValueError, match=f"allow_changed: {name} never may change"):
            train(load(tmp_path, epochs=3, allow_changed=[name]), Processes())


def test_networks_of_another_shape_are_one_line(tmp_path):
    train(load(tmp_path, epochs=1), Processes())
    path = write(tmp_path, epochs=2, allow_changed=["model.width"])
    path.write_text(path.read_text().replace("width: 4", "width: 8"))
    with pytest.raises(ValueError, match=r"checkpoints of other networks than .*: generator\.\S+: \[.*\] -> \["):
        train(config.load(path), Processes())


def test_other_data_are_refused_by_name(tmp_path):
    train(load(tmp_path, epochs=1), Processes())
    manifest = tmp_path / "shards/manifest.json"
    manifest.write_text(manifest.read_text().replace('"redshift": 0.0', '"redshift": 1.0'))
    with pytest.raises(ValueError, match=r"data\.geometry\.redshift: 0\.0 -> 1\.0; data\.manifest_sha256"):
        train(load(tmp_path, epochs=2), Processes())
    train(load(tmp_path, epochs=2, allow_changed=["data"]), Processes())


def test_subvolumes_of_another_size_or_unit_are_one_line(tmp_path, monkeypatch):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("subvolume: 8", "subvolume: 16"))
    with pytest.raises(ValueError, match=r"subvolumes of 8³ cells, expected preprocess\.subvolume = 16"):
        train(config.load(path), Processes())
    read = shards.Folder.read
    for factor in (3.8, 0.0):  # in 10¹⁰ M☉, as the paper's figures have it; and nothing at all
        monkeypatch.setattr(shards.Folder, "read", lambda self, rows, f=factor: np.float32(f) * read(self, rows))
        with pytest.raises(ValueError, match=r"shards: densities with a mean of .*expected a mean near 1"):
            train(load(tmp_path), Processes())


def test_too_few_subvolumes_and_wrong_kinds_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"128 subvolumes to train on .*held_out: \[2\].*train\.batch_size = 256"):
        train(load(tmp_path, batch_size=256), Processes())
    manifest = tmp_path / "shards/manifest.json"
    manifest.write_text(manifest.read_text().replace('"simulated"', '"generated"'))
    with pytest.raises(ValueError, match="expected simulated subvolumes, found generated"):
        train(load(tmp_path), Processes())


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoints, "save", lambda store, state: saved.append(state["step"]))
    train(load(tmp_path, epochs=1, checkpoint_minutes=1e-9), Processes())
    assert saved == list(range(1, 17))


def test_previews_show_where_the_generator_stands(tmp_path):
    few = {"epochs": 1, "batch_size": 64}  # two steps
    train(load(tmp_path / "1", preview_minutes=1e-9, **few), Processes())
    previews = sorted((tmp_path / "1/run/train/previews").iterdir())
    assert [path.name for path in previews] == ["step-00000001.png", "step-00000002.png"]
    assert previews[0].read_bytes() != previews[1].read_bytes()
    train(load(tmp_path / "2", preview_minutes=None, **few), Processes())
    assert_same(generators(tmp_path / "1"), generators(tmp_path / "2"))  # looking changes nothing
