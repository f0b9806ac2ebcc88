import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_experiment import load, write

from cosmogan import config, select
from cosmogan.config import Select
from cosmogan.gan import released
from cosmogan.selection import candidates, work
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.files import checksum
from hpc.mpi import SerialComm
from hpc.partial_results import PartialResults
from hpc.settings import to_tree


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(load(folder), Processes())
    return folder


def scores(folder):
    return json.loads((folder / "run/select/scores.json").read_text())


def test_the_best_generator_is_released_with_all_that_it_needs(trained, capsys):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    said = capsys.readouterr().out
    found = scores(trained)
    assert len(found["candidates"]) == 6
    parts = {"mean", "low", "median", "high", "pdf", "mean_density"}
    assert {"epoch", "ema", "score", "error", *parts} == set(found["candidates"][0])
    assert all(0 < line["error"] < line["score"] for line in found["candidates"])
    ordered = [line["score"] for line in found["candidates"]]
    assert ordered == sorted(ordered) and len(set(ordered)) == 6
    best = found["chosen"]
    wanted = work.choose(found["candidates"])
    assert (best["epoch"], best["ema"]) == (wanted["epoch"], wanted["ema"])
    assert 0.8 <= best["latent_scale"] <= 1.25
    assert len({amplitude for _, amplitude, _ in best["trials"]}) == len(best["trials"]) >= 2
    settings = json.loads(experiment.generator_path.with_suffix(".json").read_text())
    for name in ("epoch", "ema", "latent_scale", "latent_scale_error"):
        assert settings[name] == best[name]
    assert settings["scores"] == {name: best[name] for name in ("score", "error", *parts)}
    assert settings["config"] == to_tree(experiment) and {"torch", "numpy", "python"} <= set(settings["versions"])
    assert (trained / "run/select/scores.png").read_bytes().startswith(b"\x89PNG")
    assert settings["model"] == experiment.section("model")["model"] | {"subvolume": 8}
    assert settings["sha256"] == checksum(experiment.generator_path)
    assert settings["data"] == checksum(trained / "shards/manifest.json")
    kind = "-ema" if best["ema"] else ""
    path = trained / "run/train/generators" / f"epoch-{best['epoch']:04d}{kind}.safetensors"
    ours, theirs = load_file(experiment.generator_path), load_file(path)
    assert ours.keys() == theirs.keys() and "1.running_var" in ours
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert released.load(experiment.generator_path).sample(3).shape == (3, 8, 8, 8)
    assert "weights" in said and f"of epoch {best['epoch']}" in said

    select.select(experiment, SerialComm())
    assert capsys.readouterr().out == f"select: done: {experiment.generator_path}\n"


def test_an_average_is_taken_from_equals():
    def candidate(score, ema):
        return {"score": score, "error": 0.02, "ema": ema}

    plain, average = candidate(0.05, False), candidate(0.06, True)
    assert work.choose([plain, candidate(0.055, False), average, candidate(0.065, True)]) is average
    assert work.choose([plain, candidate(0.08, True)]) is plain
    assert work.choose([average, plain]) is average


def test_the_prior_is_recorded_in_checkpoint_and_released_generator(trained):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    newest = max((trained / "run/train/checkpoints").glob("*.pt"))
    recorded = torch.load(newest, weights_only=True)["model"]
    assert recorded == to_tree(experiment.model) and recorded["prior"] == "student_t"
    assert released.load(experiment.generator_path).model == experiment.model


def test_ranks_share_the_work_and_agree(trained, mpirun, tmp_path):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    alone = scores(trained)
    experiment.generator_path.unlink()
    for path in (trained / "run/select").glob("*"):
        path.unlink()
    done = mpirun(2, "cosmogan.select", write(trained))
    assert done.returncode == 0, done.stderr
    for one, two in zip(alone["candidates"], scores(trained)["candidates"], strict=True):
        assert one["epoch"] == two["epoch"] and one["score"] == pytest.approx(two["score"], rel=1e-4)
    assert scores(trained)["chosen"]["latent_scale"] == pytest.approx(alone["chosen"]["latent_scale"], rel=1e-6)


def test_what_is_scored_is_not_scored_again(trained, monkeypatch, capsys):
    experiment = load(trained)
    select.select(experiment, SerialComm())
    before = scores(trained)
    experiment.generator_path.unlink()
    notes = sorted((trained / "run/select").glob("notes-*.jsonl"))
    lines = [line for path in notes for line in path.read_text().splitlines() if "median" in line]
    for path in notes[1:]:
        path.unlink()
    notes[0].write_text("\n".join(lines[:4]) + "\n" + lines[4][:50])  # killed in the midst of the fifth
    capsys.readouterr()
    counted = []
    monkeypatch.setattr(
        candidates.CandidateScorer, "score", lambda *a, f=candidates.CandidateScorer.score: counted.append(a) or f(*a)
    )
    select.select(experiment, SerialComm())
    assert "select: 4 of 6 are scored already" in capsys.readouterr().out and len(counted) == 2
    assert scores(trained) == before


def test_unfinished_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"run/train: training is not finished"):
        select.select(load(tmp_path), SerialComm())


def test_a_first_epoch_beyond_the_last_is_refused(trained, monkeypatch):
    experiment = load(trained)
    object.__setattr__(experiment.select, "first_epoch", 4)
    with pytest.raises(ValueError, match=r"select\.first_epoch: expected at most train\.epochs = 3, found 4"):
        select.select(experiment, SerialComm())


def test_the_bispectrum_counts_when_asked_for(trained):
    select.select(config.load(write(trained), ["select.bispectrum=true", "select.n_tune=0"]), SerialComm())
    found = scores(trained)
    assert all(0 < line["bispectrum"] <= 1 for line in found["candidates"])
    assert found["chosen"]["latent_scale"] == 1 and found["chosen"]["latent_scale_error"] is None


class CandidateScorer:
    """Judges a generator whose mean power goes with its latent scale, and whose score is given by it."""

    n_folds, comm, settings = 2, SerialComm(), Select(n_samples=32, n_tune=32)

    def __init__(self, score, best=1.0):
        self._score, self._best = score, best

    def candidate(self, line):
        return {name: line[name] for name in ("epoch", "ema")}

    def key(self, candidate, latent_scale, n):
        return f"{candidate} {latent_scale} {n}"

    def generator(self, candidate, latent_scale):
        return SimpleNamespace(latent_scale=latent_scale)

    def drawn(self, generator, n):
        return generator.latent_scale

    def amplitude(self, drawn, fold):
        return np.log(drawn / self._best), 0.01

    def score_on(self, fold, drawn):
        return self._score(drawn)

    def scored(self, drawn):
        return {"score": self._score(drawn), "mean": 0.1, "median": 0.1, "mean_density": 0.1}


BEST = {"epoch": 1, "ema": False}


def test_an_amplitude_is_not_taken_for_a_score_of_as_many_samples(tmp_path):
    """With as many samples for both, scale 1 has both."""
    scorer, partial = CandidateScorer(lambda scale: abs(scale - 1.1), best=1.1), PartialResults(tmp_path, 0)
    partial.add(scorer.key(BEST, 1.0, 32), {"score": 1.0})
    tuned, generator = work._tune(BEST, scorer, partial)
    assert tuned["latent_scale"] == generator.latent_scale == pytest.approx(1.1, abs=1e-3)


def test_a_latent_scale_that_is_no_better_on_boxes_left_out_is_not_taken(tmp_path, capsys):
    tuned, generator = work._tune(
        BEST, CandidateScorer(lambda scale: abs(scale - 1), best=1.1), PartialResults(tmp_path, 0)
    )
    assert tuned["latent_scale"] == generator.latent_scale == 1 and tuned["latent_scale_error"] is None
    assert len(tuned["trials"]) > 2 and "not taken, as it is no better than 1" in capsys.readouterr().out
