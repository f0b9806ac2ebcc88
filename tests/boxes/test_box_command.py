"""A local generator from nothing to a report, and the boxes that it draws."""

import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml
from conftest import ROOT, environment, run, until
from trained import generators

from cosmogan import shards
from cosmogan.boxes import geometry
from cosmogan.shards import statistics_file
from cosmogan.training.pairs import Boxes

TREE = {
    "name": "small box",
    "output": "run",
    "held_out": [2],
    "simulate": {
        "n_simulations": 3,
        "box_size": 64,
        "n_particles": 32,
        "n_steps": 6,
        "transfer": "eisenstein-hu",
        "write": "shards",
    },
    "input": {"n_steps": 2, "blocks": 1},
    "preprocess": {"length_unit": "Mpc/h", "n_mesh": 32, "subvolume": 8},
    "model": {"kappa": 5, "width": 4, "discriminator_kappa": [0.5], "discriminator_log": 0.01, "density_bias": True},
    "train": {
        "epochs": 2,
        "batch_size": 8,
        "batch_norm_group": 4,
        "generator_rate": 4e-3,
        "energy_score": 10,
        "gate": 0,
        "ema": 60,
        "device": "cpu",
    },
    "select": {"n_samples": 64, "first_epoch": 2, "calibrate": True, "n_calibrate": 80},
    "sample": {"n_samples": 128},
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A chain that ran to its end; its folder and what it said."""
    folder = tmp_path_factory.mktemp("box")
    (folder / "box.yaml").write_text(yaml.safe_dump(TREE))
    for command in ("preprocess", "train", "run"):  # each within the time limit of one command
        done = run([sys.executable, "-m", f"cosmogan.{command}", "box.yaml"], cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_a_chain_ends_with_a_report_of_whole_boxes(chain):
    folder, _ = chain
    tree = statistics_file.read(folder / "run/statistics.h5")
    boxes = tree["whole_boxes"]
    assert boxes["n_draws"] == 2 and boxes["slabs"].shape == (3, 32, 32)
    low = boxes["k"] < 0.3
    assert (boxes["correlation"]["mean"][low] > 0.95).all()  # a draw has the large scales of its box
    assert not np.allclose(boxes["scatter_ratio"]["mean"], 0)
    page = (folder / "run/report/index.html").read_text()
    assert "Whole boxes beside their simulations" in page and "A slab of a box" in page
    assert "mapped quick run" in page and tree["n_mapped_input"] == 64
    mapped, real = (tree["pdf_unscaled"][label]["mean"] for label in ("mapped_input", "nbody"))
    np.testing.assert_allclose(mapped[real > 3e-3], real[real > 3e-3], rtol=0.4)  # of another box


def test_a_chain_that_is_done_says_so(chain):
    folder, _ = chain
    done = run([sys.executable, "-m", "cosmogan.run", "box.yaml"], cwd=folder)
    assert done.returncode == 0 and done.stdout.count("done before") == 7, done.stdout + done.stderr


def test_the_quick_simulation_has_the_modes_of_the_box(chain):
    folder, _ = chain
    target, quick = (Boxes(shards.open(folder / "run" / name)).box(1) for name in ("shards", "input/shards"))
    assert not np.array_equal(target, quick)
    assert np.corrcoef(target.flatten(), quick.flatten())[0, 1] > 0.8


def draw(folder, name, *options, ranks=1, **more):
    """Draw a box; return its density."""
    command = [sys.executable, "-m", "cosmogan.box", "box.yaml", "--output", name, *options]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    done = run(command, cwd=folder, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    with h5py.File(folder / name / "box.h5") as file:
        return file["density"][:]


@pytest.fixture(scope="module")
def box(chain):
    """A box of 72³ cells: of eight tiles, seven of them cut off by its faces."""
    return draw(chain[0], "box-a", "--n-mesh", "72", "--seed", "7")


def test_a_box_of_another_size(chain, box):
    with h5py.File(chain[0] / "box-a/box.h5") as file:
        about = dict(file.attrs)
    assert box.shape == (72, 72, 72) and box.dtype == np.float32
    assert about["box_size"] == pytest.approx(144) and about["cell_size"] == pytest.approx(2)
    assert about["seed"] == 7 and about["sigma_8"] == pytest.approx(0.82)
    assert (box >= 0).all() and box.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("ranks", "threads"), [(3, "1"), (1, "2")])
def test_a_box_is_the_same_on_any_ranks_and_threads(chain, box, ranks, threads):
    name = f"box-{ranks}-{threads}"
    again = draw(chain[0], name, "--n-mesh", "72", "--seed", "7", ranks=ranks, OMP_NUM_THREADS=threads)
    np.testing.assert_array_equal(again, box)


def test_a_region_is_the_same_as_in_the_whole_box(chain, box):
    part = draw(chain[0], "box-part", "--n-mesh", "72", "--seed", "7", "--region", *["60", "0", "10", "12", "8", "59"])
    np.testing.assert_array_equal(part, box[60:72, :8, 10:69])


def test_a_box_can_be_moved(chain, box):
    """The file names its parts by their place beside it."""
    shutil.copytree(chain[0] / "box-a", chain[0] / "elsewhere" / "moved")
    with h5py.File(chain[0] / "elsewhere/moved/box.h5") as file:
        np.testing.assert_array_equal(file["density"][:], box)


def test_python_draws_the_same(chain, box):
    import cosmogan

    generator = cosmogan.load_generator(chain[0] / "run/generator/generator.safetensors")
    np.testing.assert_array_equal(generator.box(n_mesh=72, seed=7, region=(64, 0, 0, 8, 72, 72)), box[64:])


def test_other_tiles_give_the_same_but_for_rounding(chain, box, monkeypatch):
    import cosmogan

    monkeypatch.setattr(geometry, "TILE", 24)
    generator = cosmogan.load_generator(chain[0] / "run/generator/generator.safetensors")
    other = generator.box(n_mesh=72, seed=7, region=(40, 20, 0, 30, 30, 30))
    np.testing.assert_allclose(other, box[40:70, 20:50, :30], rtol=1e-5, atol=1e-6)


def test_sampled_subvolumes_are_parts_of_their_box(chain):
    """They are drawn with the box's own random numbers, so those of one box fit together."""
    folder, _ = chain
    whole = draw(folder, "box-held-out", "--number", "2", "--seed", "1")
    samples, quick = shards.open(folder / "run/samples"), shards.open(folder / "run/input/shards")
    rows = quick.rows_of([2])
    for sample, (x, y, z) in zip(samples[:64], quick.corners[rows].tolist(), strict=True):
        np.testing.assert_allclose(sample, whole[x : x + 8, y : y + 8, z : z + 8], rtol=2e-4, atol=1e-5)


def test_a_killed_box_is_finished_by_the_same_command(chain, box):
    folder, _ = chain
    command = [
        sys.executable,
        "-m",
        "cosmogan.box",
        "box.yaml",
        "--output",
        "box-killed",
        "--n-mesh",
        "72",
        "--seed",
        "7",
    ]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL)
    first = folder / "box-killed/columns"
    until(lambda: list(first.glob("x*.h5")) or process.poll() is not None, "a column")
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in first.glob("x*.h5")}
    np.testing.assert_array_equal(draw(folder, "box-killed", "--n-mesh", "72", "--seed", "7"), box)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_another_box_in_the_same_folder_is_refused(chain, box):
    command = [sys.executable, "-m", "cosmogan.box", "box.yaml", "--output", "box-a", "--n-mesh", "72", "--seed", "8"]
    done = run(command, cwd=chain[0])
    assert done.returncode == 1 and "box.seed" in done.stderr and "other settings" in done.stderr


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--box-size", "64", "--n-mesh", "16"], "box.n_mesh: 16 cells a side of 64 Mpc/h are 4 Mpc/h wide"),
        (["sample.generator=web-32"], "expected a local generator, which draws boxes; found one that draws subvolumes"),
        (["cosmology.sigma_8=0.7"], "warning: cosmology.sigma_8: 0.7, but the generator was trained on 0.82"),
    ],
)
def test_what_the_generator_was_not_trained_on(chain, options, line):
    command = [sys.executable, "-m", "cosmogan.box", "box.yaml", "--output", f"box-{options[-1][:5]}", *options]
    done = run(command, cwd=chain[0])
    assert line in done.stdout + done.stderr
    assert (done.returncode == 0) == ("warning" in line)


def test_a_local_generator_is_no_generator_of_subvolumes(chain):
    from cosmogan.gan import released

    with pytest.raises(ValueError, match=r"generator\.safetensors: a local generator, which draws boxes"):
        released.load(chain[0] / "run/generator/generator.safetensors")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("model.condition=[redshift]", "model.condition: expected [], as redshift and cosmology come with the input"),
        ("train.random_crops=true", "train.random_crops: expected false, as crops are always random"),
        ("sample.latents_only=true", "sample.latents_only: expected false, as there are no latents"),
        ("input.n_steps=null", "train.energy_score: expected 0 without input.n_steps, found 10"),
    ],
)
def test_settings_that_do_not_go_with_a_local_generator(chain, setting, line):
    done = run([sys.executable, "-m", "cosmogan.train", "box.yaml", setting], cwd=chain[0])
    assert done.returncode == 1 and line in done.stderr


def test_training_resumes_exactly_on_any_number_of_processes(chain, tmp_path):
    folder, _ = chain
    tree = TREE | {"output": str(tmp_path / "run"), "data": str(folder / "run")}
    tree["train"] = TREE["train"] | {"precision": "float64", "epochs": 2, "epoch_repeats": 1}
    trained = {}
    for name in ("once", "twice", "two processes"):
        path = tmp_path / name / "box.yaml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(tree | {"output": str(path.parent / "run")}))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if "two" in name else []
        for epochs in (1, 2) if name == "twice" else (2,):
            command = [sys.executable, *launcher, "-m", "cosmogan.train", str(path), f"train.epochs={epochs}"]
            done = run(command, cwd=ROOT)
            assert done.returncode == 0, done.stderr
        trained[name] = generators(path.parent)
    first = trained.pop("once")
    for name, other in trained.items():
        for file, tensors in first.items():
            for key, value in tensors.items():
                tolerance = 0 if name == "twice" else 1e-6
                np.testing.assert_allclose(other[file][key].numpy(), value.numpy(), rtol=tolerance, atol=tolerance)
