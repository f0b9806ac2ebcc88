"""The whole chain on real GADGET-2 snapshots, as a user runs it; killed, and run again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import DATA, run, until

from cosmogan.gan import released

ROOT = Path(__file__).parent.parent
STAGES = ["simulate", "preprocess", "train", "select", "sample", "validate", "report"]


def write_experiment(folder: Path) -> Path:
    """Three real snapshots, one of them held out; networks for 8³ cells, trained for two short epochs."""
    sets = ("g2_32_mpc_f1", "g2_32_mpc_f1_n4", "g2_32_mpc_f2_longids")
    tree = {
        "name": "real",
        "output": str(folder / "run"),
        "held_out": [2],
        "preprocess": {
            "snapshots": [str(DATA / s / "snapshot_006") for s in sets],
            "n_mesh": 32,
            "subvolume": 8,
            "shards": 2,
        },
        "model": {"kappa": 4, "width": 8, "latent_dimension": 16, "density_bias": True},
        "train": {"epochs": 2, "generator_rate": 1e-3, "discriminator_rate": 5e-4, "ema": 200, "device": "cpu"},
        "select": {"n_samples": 16, "n_tune": 16},
        "sample": {"n_samples": 48, "samples_per_shard": 20},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A chain that was killed while it trained, and run again to its end."""
    folder = tmp_path_factory.mktemp("pipeline")
    path = write_experiment(folder)
    command = [sys.executable, "-m", "cosmogan.run", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    first = folder / "run" / "train" / "checkpoints"
    until(lambda: list(first.glob("step-*.pt")) or process.poll() is not None, "a checkpoint")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(first.glob("step-*.pt"))
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_chain_goes_on_after_a_kill_and_ends_with_a_report(finished):
    folder, text = finished
    assert "[2/7] preprocess: done before" in text
    assert all(f"[{i}/7] {stage}" in text for i, stage in enumerate(STAGES, 1))
    page = folder / "run" / "report" / "index.html"
    assert str(page) in text and "what to try next" in text
    assert "<img" in page.read_text() and len(list((page.parent / "figures").glob("*.csv"))) >= 10


def test_every_stage_left_what_the_next_needs(finished):
    run_folder = finished[0] / "run"
    with h5py.File(run_folder / "statistics.h5") as file:
        assert file.attrs["format"] == "cosmogan-statistics/2"
        assert file["power/nbody/samples"].shape[0] == 64 and file["power/generated/samples"].shape[0] == 48
        norm = file["latents/norm"][:]
    generator = released.load(run_folder / "generator" / "generator.safetensors")
    np.testing.assert_allclose(norm, generator.latents(1, np.arange(48)).norm(dim=1), rtol=1e-5)
    drawn = generator.sample(3, seed=7)
    assert drawn.shape == (3, 8, 8, 8) and (drawn >= 0).all()
    assert yaml.safe_load((run_folder / "config.yaml").read_text())["held_out"] == [2]


def test_a_finished_chain_says_so_quickly_and_writes_nothing(finished):
    folder = finished[0]
    before = {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*") if p.is_file() and p.name != "config.yaml"}
    start = os.times()
    done = run([sys.executable, "-m", "cosmogan.run", folder / "experiment.yaml"], cwd=folder)
    end = os.times()
    assert done.returncode == 0 and all(f"{stage}: done before" in done.stdout for stage in STAGES)
    used = end.children_user + end.children_system - start.children_user - start.children_system
    assert used < 2  # CPU seconds: it takes 0.3, and torch alone would take 2
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_failing_stage_is_named_and_stops_the_chain(tmp_path):
    path = write_experiment(tmp_path)
    done = run([sys.executable, "-m", "cosmogan.run", path, "train.batch_size=4000", "train.batch_norm_group=4"])
    assert done.returncode == 1
    assert "error: train: failed with exit status 1" in done.stderr and "4000" in done.stderr
    assert "select" not in done.stdout


def test_help_of_every_command_has_an_example(python):
    for stage in [*STAGES, "run"]:
        done = python(f"cosmogan.{stage}", "--help")
        assert done.returncode == 0 and "example:" in done.stdout and "CONFIG" in done.stdout, stage
    assert "examples:" in python("hpc.launch", "--help").stdout
