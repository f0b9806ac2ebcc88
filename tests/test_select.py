import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_experiment import load, write

from cosmogan import config, judge, select, train
from cosmogan.config import Select
from cosmogan.gan import matching, released
from hpc import rundir
from hpc.distributed import Processes
from hpc.mpi import SerialComm
from hpc.notes import Notes
from hpc.settings import to_tree

SLOW = """
import sys, time
from cosmogan import config, select
from cosmogan.gan import matching, released
from hpc import mpi
matching.BATCH, write = 4, released.write_weights
def slowly(path, *rest):
    time.sleep(1)
    write(path, *rest)
released.write_weights = slowly
comm = mpi.world()
with mpi.abort_on_error(comm):
    select.select(config.load(sys.argv[1], ["select.match_steps=2", "select.n_tune=0"]), comm)
"""


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
    parts = {"mean", "low", "median", "high", "pdf", "mean_density"}
    assert {"epoch", "ema", "score", "error", *parts} == set(found["candidates"][0])
    assert all(0 < line["error"] < line["score"] for line in found["candidates"])
    ordered = [line["score"] for line in found["candidates"]]
    assert ordered == sorted(ordered) and len(set(ordered)) == 6
    best = found["chosen"]
    wanted = select.choose(found["candidates"])
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


def test_an_average_is_taken_from_equals():
    def candidate(score, ema):
        return {"score": score, "error": 0.02, "ema": ema}

    plain, average = candidate(0.05, False), candidate(0.06, True)
    assert select.choose([plain, candidate(0.055, False), average, candidate(0.065, True)]) is average
    assert select.choose([plain, candidate(0.08, True)]) is plain
    assert select.choose([average, plain]) is average


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
    monkeypatch.setattr(judge.Judge, "score", lambda *a, f=judge.Judge.score: counted.append(a) or f(*a))
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


def test_an_amplitude_is_not_taken_for_a_score_of_as_many_samples(tmp_path):
    """With as many samples for both, scale 1 has both."""

    class Judge:
        settings = Select(n_samples=32, n_tune=32)

        def candidate(self, line):
            return line

        def key(self, candidate, latent_scale, n):
            return f"{candidate} {latent_scale} {n}"

        def amplitude(self, candidate, latent_scale, n):
            return np.log(latent_scale), 0.01

        def score_together(self, candidate, latent_scale, n):
            return {"score": 1.0, "mean": 0.1, "median": 0.1, "mean_density": 0.1}

    judge, notes = Judge(), Notes(tmp_path, 0)
    notes.add(judge.key({"epoch": 1, "ema": False}, 1.0, 32), {"score": 1.0})
    tuned = select._tune({"epoch": 1, "ema": False}, judge, notes, SerialComm())
    assert tuned["latent_scale"] == pytest.approx(1.0, abs=1e-3)


def same(one, other):
    """Say whether two files hold the same weights and running statistics."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def select_matched(trained, steps=3):
    """Select with so many steps of matching; return the experiment, what was chosen, and the released JSON."""
    experiment = config.load(write(trained), [f"select.match_steps={steps}"])
    select.select(experiment, SerialComm())
    return experiment, scores(trained)["chosen"], json.loads(experiment.generator_path.with_suffix(".json").read_text())


def forget(experiment):
    """Let a selection be made again, from what was found."""
    experiment.generator_path.unlink()
    (experiment.folder / "receipts/select.json").unlink()


@pytest.fixture
def steps_taken(trained, monkeypatch):
    """The steps of matching that are taken, of few samples each; there were none before."""
    for name in ("select/matched.safetensors", "receipts/select.json"):
        (trained / "run" / name).unlink(missing_ok=True)
    taken = []
    monkeypatch.setattr(matching, "BATCH", 8)
    advance = matching.Matching.advance
    monkeypatch.setattr(matching.Matching, "advance", lambda self: taken.append(self) or advance(self))
    return taken


def test_a_matched_generator_is_released(trained, steps_taken, capsys):
    experiment, chosen, settings = select_matched(trained)
    assert "3 steps matched it to the training set: energy distance" in capsys.readouterr().out
    kind = "-ema" if chosen["ema"] else ""
    epoch = trained / "run/train/generators" / f"epoch-{chosen['epoch']:04d}{kind}.safetensors"
    path = trained / "run/select/matched.safetensors"
    assert same(experiment.generator_path, path) and not same(path, epoch)
    ours, theirs = load_file(path), load_file(epoch)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "running" in name)
    assert settings["match_steps"] == chosen["match_steps"] == 3 and "distances" not in settings["scores"]
    assert settings["latent_scale"] == chosen["latent_scale"]
    assert len(chosen["distances"]) == len(steps_taken) == 3
    scored = next(line for line in scores(trained)["candidates"] if all(line[n] == chosen[n] for n in ("epoch", "ema")))
    assert scored["score"] != chosen["score"]
    assert released.load(experiment.generator_path).sample(3).shape == (3, 8, 8, 8)


def test_a_matching_that_is_there_whole_is_not_made_again(trained, steps_taken):
    experiment, chosen, settings = select_matched(trained)
    forget(experiment)
    assert select_matched(trained)[1:] == (chosen, settings) and len(steps_taken) == 3
    path = trained / "run/select/matched.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"????")
    forget(experiment)
    assert select_matched(trained)[1:] == (chosen, settings) and len(steps_taken) == 6
    assert path.read_bytes() == whole


def test_a_matching_that_was_stopped_goes_on_bit_for_bit(trained, steps_taken, monkeypatch):
    _, chosen, settings = select_matched(trained)
    path = trained / "run/select/matched.safetensors"
    whole = path.read_bytes()
    (trained / "run/receipts/select.json").unlink()
    path.unlink()
    advance = matching.Matching.advance

    def stopping(self):
        if len(self.distances) == 2:
            raise KeyboardInterrupt
        advance(self)

    soon = config.load(write(trained), ["select.match_steps=3", "train.checkpoint_minutes=1e-9"])
    with monkeypatch.context() as patched:
        patched.setattr(matching.Matching, "advance", stopping)
        with pytest.raises(KeyboardInterrupt):
            select.select(soon, SerialComm())
    assert not path.exists()
    steps_taken.clear()
    assert select_matched(trained)[1:] == (chosen, settings)
    assert len(steps_taken) == 1 and path.read_bytes() == whole
    assert not path.with_suffix("").exists()


def test_a_matching_of_as_many_steps_as_are_asked_for_is_released(trained, steps_taken):
    experiment = select_matched(trained)[0]
    assert select.done(experiment)
    other = config.load(write(trained), ["select.match_steps=2"])
    assert not select.done(other) and not select.done(load(trained))
    _, chosen, settings = select_matched(trained, 2)
    assert settings["match_steps"] == len(chosen["distances"]) == 2
    experiment, chosen, settings = select_matched(trained, 0)
    assert "match_steps" not in settings and "distances" not in chosen
    kind = "-ema" if chosen["ema"] else ""
    name = f"epoch-{chosen['epoch']:04d}{kind}.safetensors"
    assert same(experiment.generator_path, trained / "run/train/generators" / name)
    recipe = json.loads((trained / "run/receipts/select.json").read_text())["recipe"]
    assert "match_steps" not in json.dumps(recipe)


def test_without_tuning_a_matched_generator_has_latents_of_scale_1(trained, steps_taken):
    experiment = config.load(write(trained), ["select.match_steps=2", "select.n_tune=0"])
    select.select(experiment, SerialComm())
    settings = json.loads(experiment.generator_path.with_suffix(".json").read_text())
    assert settings["latent_scale"] == 1 and settings["match_steps"] == 2
    assert same(experiment.generator_path, trained / "run/select/matched.safetensors")


def test_no_rank_reads_matched_weights_before_they_are_written(trained, steps_taken, mpirun):
    (trained / "slow.py").write_text(SLOW)
    done = mpirun(2, "slow", write(trained), cwd=trained)
    assert done.returncode == 0, done.stderr
    assert same(trained / "run/generator/generator.safetensors", trained / "run/select/matched.safetensors")
