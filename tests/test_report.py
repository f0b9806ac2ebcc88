"""`report`: the page, its figures and their files, several runs together, and what it does when things are missing."""

import base64
import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
import synthetic
from conftest import ROOT

from cosmogan import config, report
from cosmogan.reporting import catalogue, criteria, document, facts, page, runs, work
from cosmogan.shards import latents_file, statistics_file
from hpc import settings
from hpc.mpi import SerialComm


def write_training(experiment):
    """Write what `train` and `select` leave, the last line of the metrics cut off."""
    rng = np.random.default_rng(0)
    names = ("loss_discriminator", "loss_generator", "score_real", "score_fake", "gate_rate")
    records = [
        {"step": 50 * i, "n_seen": 800 * i, "samples_per_second": 400.0, **dict(zip(names, rng.random(5), strict=True))}
        for i in range(1, 30)
    ]
    folder = experiment.train_folder
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(record) for record in records] + ['{"step": 15']
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    candidates = [{"epoch": e, "ema": ema, "score": 1 / e, "error": 0.1} for e in range(1, 6) for ema in (False, True)]
    tuned = {"latent_scale": 0.985, "latent_scale_error": 0.003, "trials": [[0.8, -0.5, 0.02], [1.25, 0.6, 0.03]]}
    chosen = {"candidates": candidates, "chosen": candidates[-1] | tuned}
    path = experiment.folder / "select" / "scores.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(chosen))


def entry(name):
    """A figure of the catalogue."""
    return next(one for one in catalogue.CATALOGUE if one.name == name)


class Page(HTMLParser):
    """The page's text, images and links, and whether its tags close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.narrow, self.text = [], [], [], []
        self.links, self.places, self.names = [], [], []  # links to files, links within the page, what these lead to
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            kept = self.narrow if attributes["class"] == "for-phone" else self.images
            kept.append((attributes["alt"], attributes["src"]))
        elif tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "a":
            (self.places if attributes["href"].startswith("#") else self.links).append(attributes["href"])
        self.names += [attributes["id"]] if "id" in attributes else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing_beside_it(measured, capsys, monkeypatch):
    names = ("losses", "selection", "volumes", "slices", "power", "latent-norm", "diversity")
    monkeypatch.setattr(catalogue, "CATALOGUE", [entry(name) for name in names])
    write_training(measured)
    report.report(measured, SerialComm())
    path = measured.report_folder / "index.html"
    assert capsys.readouterr().out.rstrip().endswith(str(path.resolve()))
    read = Page(path.read_text())
    assert read.open == []
    shown = [one for one in catalogue.CATALOGUE if one.name != "latent-norm"]
    assert [title for title, _ in read.images] == [catalogue.heading(one) for one in shown]
    assert [title for title, _ in read.narrow] == [catalogue.heading(entry(name)) for name in ("volumes", "slices")]
    for _, source in read.images + read.narrow:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert len(read.names) == len(set(read.names))
    linked = [place.removeprefix("#") for place in read.places]
    assert set(linked) <= set(read.names)
    assert linked[: len(shown) + 3] == ["criteria", "figures", *(one.name for one in shown), "data"]
    starts = {".pdf": b"%PDF", ".png": b"\x89PNG", ".csv": b""}
    for link in read.links:
        assert (path.parent / link).read_bytes().startswith(starts[link[-4:]])
    with_numbers = [one.name for one in shown if one.name not in ("volumes", "slices")]
    assert [link for link in read.links if link.endswith("csv")] == [f"figures/{name}.csv" for name in with_numbers]
    text = " ".join(read.text)
    assert text.index("the reference was trained on") < text.index("The paper's claims") < text.index("Figures")
    assert "averaged weights of epoch 5, its latents scaled by 0.985" in text
    assert "23200 samples seen, 0:58 of training steps" in text
    assert "Left out: Norms of the latent vectors (the samples' latents are not known)." in text
    assert report.stage(measured).is_done() and report.stage(measured).verdict.exists()
    report.report(measured, SerialComm())
    assert "report: done" in capsys.readouterr().out


def test_a_page_with_all_figures_is_small_enough_to_send(measured, tmp_path):
    run = runs.Run(statistics_file.read(measured.statistics_path))
    rng = np.random.default_rng(0)  # volumes of the paper's size, of which each point has its own size and colour
    volumes = {name: rng.lognormal(0, 1, (2, 64, 64, 64)) for name in ("nbody", "generated")}
    run = dataclasses.replace(run, tree=run.tree | {"volumes": volumes, "latents": {"norm": rng.normal(11, 1, 500)}})
    text = page.page("", document.single(run, criteria.rows(run.tree), tmp_path))
    assert text.count("<figure") >= 14
    assert len(text.encode()) < 2_000_000


def test_ranks_that_validate_need_no_matplotlib():
    code = "import sys, cosmogan.validate, cosmogan.report; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_without_statistics_one_line_says_which_stage_to_run(tmp_path, python):
    path = synthetic.write_config(tmp_path)
    finished = python("cosmogan.report", path)
    assert finished.returncode == 1
    expected = r"error: .*statistics.h5: not found; run `python -m cosmogan.validate` with this CONFIG first\n"
    assert re.fullmatch(expected, finished.stderr)


def test_rejection_sampling_is_shown_when_it_was_asked_for(measured):
    norm = np.random.default_rng(0).normal(11, 1, 500)
    latents_file.write_judged(measured.rejection_path, norm=norm, accepted=norm > 11.5)
    asked = settings.to_tree(dataclasses.replace(measured, sample=config.Sample(rejection=True)))
    assert not runs.read(measured.folder, measured.statistics_path, settings.to_tree(measured)).judged
    judged = runs.read(measured.folder, measured.statistics_path, asked)
    caption = catalogue.drawn(entry("latent-norm"), [judged]).caption
    assert f"accepted {sum(norm > 11.5)} of 500 samples, {100 * np.mean(norm > 11.5):.2f} ± " in caption
    measured.rejection_path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"rejection\.npz: damaged; delete it and run `sample` again"):
        runs.read(measured.folder, measured.statistics_path, asked)
    measured.rejection_path.unlink()


def test_a_damaged_file_of_statistics_is_named(tmp_path):
    experiment = config.load(synthetic.write_config(tmp_path))
    experiment.folder.mkdir()
    experiment.statistics_path.write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    with pytest.raises(ValueError, match=r"statistics.h5: cannot be read .*damaged: delete it .*validate"):
        statistics_file.read(experiment.statistics_path)
    with h5py.File(experiment.statistics_path, "w", libver="latest") as file:
        file.attrs["format"] = "any"
    whole = experiment.statistics_path.read_bytes()
    experiment.statistics_path.write_bytes(whole.replace(b"OHDR", b"OHDX", 1))  # where HDF5's first object begins
    with pytest.raises(ValueError, match=r"statistics.h5: cannot be read .*damaged: delete it .*validate"):
        statistics_file.read(experiment.statistics_path)


def test_an_mpi_that_does_not_fit_its_launcher_is_an_error_without_a_traceback(python, tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no MPI')")
    ranks = {"PMI_RANK": "0", "PMI_SIZE": "2", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = python("cosmogan.report", "none.yaml", cwd=tmp_path, **ranks)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: mpi4py: started as one of 2 MPI ranks, but it cannot be imported (no MPI)")


@pytest.fixture
def two(measured, tmp_path):
    """Folders of two runs that differ in the prior and the width, and in how generated samples are off."""
    tree = statistics_file.read(measured.statistics_path)
    folders = []
    for name, prior in (("heavy", "student_t"), ("light", "gaussian")):
        folder = tmp_path / name
        made = dataclasses.replace(measured, name=name, output=str(folder), model=config.Model(kappa=4.0, prior=prior))
        made.freeze()
        statistics_file.write(made.statistics_path, tree | {"name": name})
        folders.append(folder)
    return folders


def test_several_runs_share_one_page(two, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", [entry(name) for name in ("losses", "power", "variance")])
    work.write_several(two, tmp_path / "both")
    read = Page((tmp_path / "both" / "index.html").read_text())
    text = " ".join(read.text)
    assert read.open == []
    assert [title.split(" (")[0] for title, _ in read.images] == [one.title for one in catalogue.CATALOGUE[1:]]
    assert re.search(r'model\.prior "student_t" "gaussian"', text)
    assert "model.kappa" not in text
    assert "Losses" not in text
    assert "heavy: furthest off" in text
    assert "light: furthest off" in text
    assert text.count("light: the reference was trained on") == 1
    columns = (tmp_path / "both" / "figures" / "power.csv").read_text().partition("\n")[0]
    assert all(f"{name} / N-body - 1" in columns for name in ("heavy", "light"))


def test_runs_that_cannot_be_compared_are_refused(two, tmp_path):
    with pytest.raises(ValueError, match=r"--compare: expected 2 to 6 folders of runs, found 1"):
        work.write_several(two[:1], tmp_path)
    with pytest.raises(ValueError, match=r"nowhere.statistics.h5: not found"):
        work.write_several([two[0], tmp_path / "nowhere"], tmp_path)
    other = two[1] / "statistics.h5"
    statistics_file.write(other, statistics_file.read(other) | {"cell_size": 2.0})
    with pytest.raises(ValueError, match=r"light: expected the cell_size of .*heavy, 4, found 2"):
        work.write_several(two, tmp_path)


def test_a_folder_for_the_page_of_one_run_is_refused(python, tmp_path):
    done = python("cosmogan.report", "--output", tmp_path / "page", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --output: expected together with --compare") and done.stderr.count("\n") == 1


def test_runs_of_one_name_are_told_apart_by_their_folders(two):
    for folder in two:
        path = folder / "statistics.h5"
        statistics_file.write(path, statistics_file.read(path) | {"name": "same"})
    assert [run.name for run in runs.read_several(two)] == ["heavy", "light"]
    twins = [folder.rename(folder.with_name(f"{folder.name}-prior")) / "run" for folder in two]
    for twin in twins:
        twin.mkdir()
        (twin.parent / "statistics.h5").rename(twin / "statistics.h5")
    assert [run.name for run in runs.read_several(twins)] == ["heavy-prior/run", "light-prior/run"]
    with pytest.raises(ValueError, match=r"--compare: expected different folders, found .*/run, .*/run"):
        runs.read_several([twins[0], twins[0]])


def test_what_is_not_known_of_foreign_samples_is_left_out(measured):
    run = runs.Run(statistics_file.read(measured.statistics_path))
    tree = run.tree | {"redshift": float("nan"), "mean_cell_mass": float("nan"), "samples_sha256": "", "window": 0}
    bare = dataclasses.replace(run, tree=tree)
    text = facts.data([bare])
    assert "nan" not in text
    assert not [words for words in ("redshift", "simulation [Mpc/h]", "mass assignment") if words in text]
    assert "side of a cell [Mpc/h]" in text
    assert "redshift" not in document._size(bare)
