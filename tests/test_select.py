import json

import numpy as np
import pytest
from safetensors.torch import load_file
from small_experiment import load, write

from cosmogan import select, train
from cosmogan.gan import released, scoring
from hpc import rundir
from hpc.distributed import Processes
from hpc.mpi import SerialComm


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train.work(load(folder), Processes())
    return folder


def scores(folder):
    return json.loads((folder / "run/select/scores.json").read_text())


def test_the_best_generator_is_released_with_all_that_it_needs(trained, capsys):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    said = capsys.readouterr().out
    found = scores(trained)
    assert len(found["candidates"]) == 6
    assert {"epoch", "ema", "score", "power", "pdf", "mean_density"} <= set(found["candidates"][0])
    ordered = [line["score"] for line in found["candidates"]]
    assert ordered == sorted(ordered) and len(set(ordered)) == 6
    best = found["chosen"]
    assert (best["epoch"], best["ema"]) == tuple(found["candidates"][0][name] for name in ("epoch", "ema"))
    assert 0.8 <= found["latent_scale"] <= 1.25
    settings = json.loads(experiment.generator_path.with_suffix(".json").read_text())
    assert settings["latent_scale"] == found["latent_scale"] and settings["epoch"] == best["epoch"]
    assert settings["model"] == experiment.section("model")["model"] | {"subvolume": 8}
    assert settings["sha256"] == rundir.checksum(experiment.generator_path)
    assert settings["data"] == rundir.checksum(trained / "shards/manifest.json")
    kind = "-ema" if best["ema"] else ""
    path = trained / "run/train/generators" / f"epoch-{best['epoch']:04d}{kind}.safetensors"
    ours, theirs = load_file(experiment.generator_path), load_file(path)
    assert ours.keys() == theirs.keys() and "1.running_var" in ours
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert released.load(experiment.generator_path).sample(3).shape == (3, 8, 8, 8)
    assert "weights" in said and f"of epoch {best['epoch']}" in said

    select.select(experiment, SerialComm())
    assert capsys.readouterr().out == f"select: done: {experiment.generator_path}\n"


def test_ranks_share_the_work_and_agree(trained, mpirun, tmp_path):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    alone = scores(trained)
    rundir.checksum(experiment.generator_path)
    experiment.generator_path.unlink()
    done = mpirun(2, "cosmogan.select", write(trained))
    assert done.returncode == 0, done.stderr
    for one, two in zip(alone["candidates"], scores(trained)["candidates"], strict=True):
        assert one["epoch"] == two["epoch"] and one["score"] == pytest.approx(two["score"], rel=1e-4)
    assert scores(trained)["latent_scale"] == alone["latent_scale"]


def test_unfinished_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"run/train: training is not finished"):
        select.select(load(tmp_path), SerialComm())


def test_a_first_epoch_beyond_the_last_is_refused(trained, monkeypatch):
    experiment = load(trained)
    object.__setattr__(experiment.select, "first_epoch", 4)
    with pytest.raises(ValueError, match=r"select\.first_epoch: expected at most train\.epochs = 3, found 4"):
        select.select(experiment, SerialComm())


def summary(amplitude=1.0, mean=1.0, seed=0):
    random = np.random.default_rng(seed)
    power = amplitude * random.gamma(4, size=(500, 6)) / 4
    return scoring.Summary(power, np.full((500, 3), [0.5, 0.5, 0.0]), np.full(500, mean))


def test_the_score_of_equal_sets_is_zero_and_its_parts_are_squared_log_ratios():
    assert scoring.compare(summary(), summary())["score"] == 0
    louder = scoring.compare(summary(amplitude=1.2), summary())
    assert louder["power"] == pytest.approx(np.log(1.2) ** 2) == louder["scatter"]
    assert louder["mean_density"] == louder["pdf"] == 0
    heavier = scoring.compare(summary(mean=1.05), summary())
    assert heavier["score"] == pytest.approx(4 * np.log(1.05) ** 2)


def test_scatter_is_seen_where_the_mean_agrees():
    calm = summary()
    calm = scoring.Summary(np.tile(calm.power.mean(0), (500, 1)), calm.pdf, calm.mean_density)
    found = scoring.compare(calm, summary())
    assert found["power"] == pytest.approx(0, abs=1e-20) and found["scatter"] > 0.1


def test_an_empty_universe_has_a_finite_score():
    nothing = scoring.Summary(np.zeros((4, 6)), np.zeros((4, 3)), np.zeros(4))
    assert np.isfinite(scoring.compare(nothing, summary())["score"])
