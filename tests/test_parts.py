"""Parts of the work, as a job array does it: they and a run that finishes make what one run makes, byte for byte."""

import json
import shutil
import subprocess
import sys

import pytest
import test_sample
import test_simulate
from conftest import HANGS, ROOT, environment, run
from preprocess_experiment import write_config
from small_experiment import load, write

from cosmogan import cli, config, preprocess, sample, select, simulate
from cosmogan.selection import candidates
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.mpi import SerialComm
from hpc.part import Part

released_at = test_sample.released_at


def at_once(module, *arguments, of=2):
    """Run all parts at the same time, each in a process of its own."""
    line = [sys.executable, "-m", module, *map(str, arguments), "--part"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [subprocess.Popen([*line, f"{i}/{of}"], env=environment(), **pipes) for i in range(1, of + 1)]
    said = [process.communicate(timeout=HANGS)[0] for process in started]
    assert [process.returncode for process in started] == [0] * of, said
    return said


def files(folder):
    """The bytes of all files but the records of stages and notes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and "receipts" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.name.startswith("notes")}


def record(folder, stage):
    """A stage's record without what took how long."""
    found = json.loads((folder / "receipts" / f"{stage}.json").read_text())
    return found | {"results": {k: v for k, v in found["results"].items() if k not in ("seconds", "stages")}}


def whole_run(work, folder, stage, *made):
    """What a whole run makes, which is then taken away."""
    work()
    kept = files(folder), record(folder, stage)
    (folder / "receipts" / f"{stage}.json").unlink()
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    return kept


@pytest.mark.parametrize("write", ["both", "shards"])
def test_boxes(tmp_path, write):
    made = test_simulate.experiment(tmp_path, "simulate.n_simulations=3", f"simulate.write={write}")
    assert simulate.stage(made).parts() == 3
    folders = made.simulations_folder, made.shards_folder
    kept = whole_run(lambda: simulate.simulate(made, SerialComm()), made.folder, "simulate", *folders)
    made.shards_folder.mkdir()
    leftover = made.shards_folder / ".a.h5.elsewhere.1.part"
    leftover.touch()
    for number in (4, 2, 3, 1):  # more parts than boxes
        simulate.simulate(made, SerialComm(), Part(number, 4))
        assert not simulate.stage(made).is_done() and leftover.exists()  # for all that a part knows it is being written
    assert len(files(made.folder)) == len(kept[0]) + 1
    simulate.simulate(made, SerialComm())
    assert simulate.stage(made).is_done() and (files(made.folder), record(made.folder, "simulate")) == kept


def test_snapshots_at_once(data, tmp_path):
    for i, number in enumerate((6, 6, 6)):
        (tmp_path / f"box-{i}").symlink_to(data / "g2_32_mpc_f1" / f"snapshot_00{number}")
    path = write_config(tmp_path, [tmp_path / "box-{simulation:d}"], shards=2)
    made = config.load(path)
    assert preprocess.stage(made).parts() == 3
    folder = made.shards_folder
    kept = whole_run(lambda: preprocess.preprocess(made, SerialComm()), folder, "preprocess", folder)
    said = at_once("cosmogan.preprocess", path)
    assert "preprocess, part 1/2: its 4 shards are there" in said[0] and "part 2/2: its 2 shards" in said[1]
    assert len(files(folder)) == 6 and not preprocess.stage(made).is_done()  # no manifest
    preprocess.preprocess(made, SerialComm())
    assert (files(folder), record(folder, "preprocess")) == kept


def test_a_part_does_not_simulate(tmp_path):
    made = test_simulate.experiment(tmp_path)
    assert preprocess.stage(made).parts() == 2
    with pytest.raises(ValueError, match=r"^--part: .*simulations: boxes are missing; run simulate first"):
        preprocess.preprocess(made, SerialComm(), Part(1, 2))


def test_candidates(tmp_path, monkeypatch):
    made = load(tmp_path, epochs=2)
    train(made, Processes())
    assert select.stage(made).parts() == 4
    choice = [made.folder / "generator", made.folder / "select"]
    kept = whole_run(lambda: select.select(made, SerialComm()), made.folder, "select", *choice)
    for number in (3, 1, 2):
        select.select(made, SerialComm(), Part(number, 3))
    assert not made.generator_path.exists() and not (made.folder / "receipts" / "select.json").exists()
    monkeypatch.setattr(candidates.CandidateScorer, "score", lambda *_: pytest.fail("scored again"))
    select.select(made, SerialComm())
    assert (files(made.folder), record(made.folder, "select")) == kept


def test_samples_at_once(released_at):
    path = write(released_at)
    made = config.load(path)
    assert sample.stage(made).parts() == 3
    folder = made.samples_folder
    kept = whole_run(lambda: sample.sample(made, SerialComm()), made.folder, "sample", folder)
    at_once("cosmogan.sample", path)
    assert len(files(folder)) == 3 and not sample.stage(made).is_done()
    sample.sample(made, SerialComm())
    assert (files(made.folder), record(made.folder, "sample")) == kept


@pytest.mark.parametrize("setting", ["sample.latents_only=true", "sample.rejection=true"])
def test_what_is_one_piece_has_no_parts(released_at, setting):
    made = config.load(write(released_at), [setting])
    assert sample.stage(made).parts() == 1
    with pytest.raises(ValueError, match=r"^--part: found 1/2 with"):
        sample.sample(made, SerialComm(), Part(1, 2))


def test_the_number_of_items_is_known_before_anything_is_made_and_without_torch(tmp_path):
    code = """
import sys
from cosmogan import cli, preprocess, sample, select, simulate
experiment = cli.load(sys.argv[1:])
print([module.stage(experiment).parts() for module in (simulate, preprocess, select, sample)], "torch" in sys.modules)
"""
    overrides = [f"output={tmp_path / 'run'}", "simulate.n_simulations=20", "train.epochs=7", "select.first_epoch=3"]
    more = ["train.ema=null", "sample.n_samples=1001", "sample.samples_per_shard=500"]
    done = run([sys.executable, "-c", code, ROOT / "configs/demo.yaml", *overrides, *more])
    assert done.stdout == "[20, 20, 5, 3] False\n", done.stderr


def test_an_experiment_is_loaded_from_the_words_of_a_command_line(tmp_path, monkeypatch, capsys):
    path = write(tmp_path)
    assert cli.load([str(path), "train.epochs=9"]) == config.load(path, ["train.epochs=9"])
    assert cli.load([str(path)]) == config.load(path)
    assert capsys.readouterr().out == ""
    monkeypatch.chdir(tmp_path)
    path.rename("cosmogan.yaml")
    assert cli.load(["train.epochs=9"]) == config.load("cosmogan.yaml", ["train.epochs=9"])
    assert capsys.readouterr().out == "no CONFIG given: using cosmogan.yaml\n"


def test_a_wrong_part_is_one_line(tmp_path, python):
    done = python("cosmogan.preprocess", "nowhere.yaml", "--part", "5/4")
    assert (done.returncode, done.stderr) == (1, "error: --part: expected I/N with I from 1 to N, as 2/8, found 5/4\n")
