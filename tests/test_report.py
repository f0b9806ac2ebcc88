"""`report`: the page, its figures and their files, several runs together, and what it does when things are missing."""

import base64
import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import synthetic

from cosmogan import archive, config, report, results, validate
from cosmogan.reporting import catalogue, document, facts, page, runs, style, verdict
from cosmogan.statistics import criteria
from cosmogan.statistics.criteria import Finding
from hpc import settings
from hpc.mpi import SerialComm


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that was validated; the generated set has too much structure. Of the bispectra one is enough to draw."""
    experiment = config.load(synthetic.write_run(tmp_path_factory.mktemp("report"), amplitude=1.3))
    validate.validate(experiment, SerialComm())
    tree = results.read(experiment.statistics_path)
    few = {name: found for name, found in tree.items() if not re.search("_[1-9]$", name)}
    results.write(experiment.statistics_path, few | {"warnings": json.dumps(["the reference was trained on"])})
    return experiment


@pytest.fixture
def run(measured):
    """The run as figures take it."""
    return runs.Run(results.read(measured.statistics_path))


def entry(name):
    """A figure of the catalogue."""
    return next(one for one in catalogue.CATALOGUE if one.name == name)


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


class Page(HTMLParser):
    """The page's text, images and links, and whether its tags close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.narrow, self.text, self.links = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            kept = self.narrow if attributes["class"] == "for-phone" else self.images
            kept.append((attributes["alt"], attributes["src"]))
        elif tag != "meta":
            self.open.append(tag)
        if tag == "a":
            self.links.append(attributes["href"])

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
    assert report.done(measured)
    report.report(measured, SerialComm())
    assert "report: done" in capsys.readouterr().out


def test_numbers_of_a_figure_are_those_of_the_statistics(run):
    drawn = catalogue.drawn(entry("power"), [run])
    rows = list(csv.DictReader(io.StringIO(catalogue.csv_text(drawn.table))))
    power = run.tree["power"]
    for column, expected in (
        ("k [h/Mpc]", power["k"]),
        ("N-body mean [(Mpc/h)^3]", power["nbody"]["mean"]),
        ("generated 84 % [(Mpc/h)^3]", power["generated"]["percentiles"][2]),
        ("generated / N-body - 1", power["ratio"]["mean"]),
        ("noise floor (rms)", run.floor("power")),
    ):
        np.testing.assert_allclose([float(row[column]) for row in rows], expected, rtol=1e-7)
    matrix = catalogue.drawn(entry("covariance"), [run]).table["generated / N-body covariance - 1"]
    np.testing.assert_array_equal(matrix, power["ratio"]["covariance"].ravel())


def test_the_noise_floor_is_the_rms_of_what_is_known(run):
    halves = np.array([[0.3, np.nan, 0.1], [-0.4, np.inf, np.nan]])
    one = dataclasses.replace(run, tree={"noise_floor": {"power": halves}})
    np.testing.assert_allclose(one.floor("power"), [np.sqrt(0.125), np.nan, 0.1])


def test_a_figure_without_its_data_is_left_out_with_the_reason(run):
    found = {one.name: catalogue.drawn(one, [dataclasses.replace(run, tree={})]) for one in catalogue.CATALOGUE}
    assert found["losses"] == "there is no record of a training (train/metrics.jsonl)"
    assert found["selection"] == "there is no record of a selection (select/scores.json)"
    assert found["bispectrum"] == "no triangle of the paper fits a subvolume of so few cells"
    assert found["peaks"] == "peaks was not measured"
    assert all(isinstance(reason, str) for reason in found.values())


def test_without_statistics_one_line_says_which_stage_to_run(tmp_path, python):
    path = synthetic.write_config(tmp_path)
    finished = python("cosmogan.report", path)
    assert finished.returncode == 1
    expected = r"error: .*statistics.h5: not found; run `python -m cosmogan.validate` with this CONFIG first\n"
    assert re.fullmatch(expected, finished.stderr)


def test_rejection_sampling_is_shown_when_it_was_asked_for(measured):
    norm = np.random.default_rng(0).normal(11, 1, 500)
    archive.write_judged(measured.rejection_path, norm=norm, accepted=norm > 11.5)
    asked = settings.to_tree(dataclasses.replace(measured, sample=config.Sample(rejection=True)))
    assert not runs.read(measured.folder, measured.statistics_path, settings.to_tree(measured)).judged
    judged = runs.read(measured.folder, measured.statistics_path, asked)
    caption = catalogue.drawn(entry("latent-norm"), [judged]).caption
    assert f"accepted {sum(norm > 11.5)} of 500 samples, {100 * np.mean(norm > 11.5):.2f} ± " in caption
    measured.rejection_path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"rejection\.npz: damaged; delete it and run `sample` again"):
        runs.read(measured.folder, measured.statistics_path, asked)
    measured.rejection_path.unlink()


def test_norms_of_the_latents_are_shown_where_they_are_known(run):
    known = dataclasses.replace(run, tree=run.tree | {"latents": {"norm": np.linspace(9, 13, 101)}})
    assert "generated: median 11.00" in catalogue.drawn(entry("latent-norm"), [known]).caption


def test_a_damaged_file_of_statistics_is_named(tmp_path):
    experiment = config.load(synthetic.write_config(tmp_path))
    experiment.folder.mkdir()
    experiment.statistics_path.write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    with pytest.raises(ValueError, match=r"statistics.h5: damaged .*validate"):
        results.read(experiment.statistics_path)


@pytest.fixture
def two(measured, tmp_path):
    """Folders of two runs that differ in the prior and the width, and in how generated samples are off."""
    tree = results.read(measured.statistics_path)
    folders = []
    for name, prior in (("heavy", "student_t"), ("light", "gaussian")):
        folder = tmp_path / name
        made = dataclasses.replace(measured, name=name, output=str(folder), model=config.Model(kappa=4.0, prior=prior))
        made.freeze()
        results.write(made.statistics_path, tree | {"name": name})
        folders.append(folder)
    return folders


def test_several_runs_share_one_page(two, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", [entry(name) for name in ("losses", "power", "variance")])
    report.compare(two, tmp_path / "both")
    read = Page((tmp_path / "both" / "index.html").read_text())
    text = " ".join(read.text)
    assert read.open == []
    assert [title.split(" (")[0] for title, _ in read.images] == [one.title for one in catalogue.CATALOGUE[1:]]
    assert re.search(r'model\.prior "student_t" "gaussian"', text)
    assert "heavy: furthest off" in text
    assert "light: furthest off" in text
    assert text.count("light: the reference was trained on") == 1
    columns = (tmp_path / "both" / "figures" / "power.csv").read_text().partition("\n")[0]
    assert all(f"{name} / N-body - 1" in columns for name in ("heavy", "light"))


@pytest.mark.parametrize("name", [one.name for one in catalogue.CATALOGUE if one.several])
def test_every_figure_of_several_runs_names_them_all(run, name):
    latents = {"latents": {"norm": np.linspace(9, 13, 101)}}
    found = [
        dataclasses.replace(run, name=f"run-{i}", color=color, dash=dash, marker=marker, tree=run.tree | latents)
        for i, (color, dash, marker) in enumerate(style.RUNS[:2])
    ]
    drawn = catalogue.drawn(entry(name), found)
    words = [text.get_text() for text in drawn.figure.findobj(matplotlib.text.Text)]
    assert all(any(f"run-{i}" in word for word in words) for i in range(2))


def test_runs_that_cannot_be_compared_are_refused(two, tmp_path):
    with pytest.raises(ValueError, match=r"--compare: expected 2 to 6 folders of runs, found 1"):
        report.compare(two[:1], tmp_path)
    with pytest.raises(ValueError, match=r"nowhere.statistics.h5: not found"):
        report.compare([two[0], tmp_path / "nowhere"], tmp_path)
    other = two[1] / "statistics.h5"
    results.write(other, results.read(other) | {"cell_size": 2.0})
    with pytest.raises(ValueError, match=r"light: expected the cell_size of .*heavy, 4, found 2"):
        report.compare(two, tmp_path)


def test_runs_of_one_name_are_told_apart_by_their_folders(two):
    for folder in two:
        path = folder / "statistics.h5"
        results.write(path, results.read(path) | {"name": "same"})
    assert [run.name for run in runs.read_several(two)] == ["heavy", "light"]


def test_samples_without_a_training_set_are_compared_with_the_reference(run):
    found = run.tree["neighbours"]
    nbody = {name: values for name, values in found["nbody"].items() if not name.startswith("training")}
    copied = found["generated"]["training"].copy()
    copied[0] = 1.0
    generated = found["generated"] | {"training": copied}
    neighbours = {**found, "compared_with": "nbody", "nbody": nbody, "generated": generated}
    drawn = catalogue.drawn(entry("neighbours"), [dataclasses.replace(run, tree=run.tree | {"neighbours": neighbours})])
    assert "1 of a reference subvolume" in drawn.caption
    assert drawn.table["training upper edge"][-1] == 1.0


def test_what_is_not_known_of_foreign_samples_is_left_out(run):
    tree = run.tree | {"redshift": float("nan"), "mean_cell_mass": float("nan"), "samples_sha256": ""}
    bare = dataclasses.replace(run, tree=tree)
    text = facts.data([bare])
    assert "nan" not in text
    assert "redshift" not in text
    assert "side of a cell [Mpc/h]" in text
    assert "redshift" not in document._size(bare)


def test_too_much_structure_fails_what_it_should_and_the_row_says_so(run):
    judged = {row.name: row for row in verdict.rows(run.tree)}
    power = judged["power"]
    assert not power.passed
    assert not power.within_noise
    assert power.found.value > 0.3
    assert judged["cross_power"].passed
    assert document.line(power)[-1] == "✗ fail"
    assert verdict.count(list(judged.values()), verdict.PAPER).startswith("the paper's claims: ")


def test_a_value_at_its_limit_passes_and_one_that_is_not_known_fails():
    def row(value, floor=0.0):
        return verdict.Row("x", verdict.PAPER, "", "", Finding(value, 0.01, floor), 0.05, "%")

    assert row(0.05).passed
    assert not row(0.051).passed
    assert not row(float("nan")).passed
    assert row(0.06, floor=0.07).within_noise
    cells = tuple(cell.replace("\N{NO-BREAK SPACE}", " ") for cell in document.line(row(0.06, floor=0.07)))
    assert cells == ("", "", "6.0 ± 1.0 %", "7.0 %", "✗ fail, within noise")


def test_judging_finds_the_shift_its_error_and_the_noise():
    rng = np.random.default_rng(0)
    real, fake = 10 + rng.standard_normal((400, 1)), 11 + rng.standard_normal((400, 1))
    again = criteria.Again.of(np.zeros(400), 400, seed=0)
    found = criteria.judge(criteria.worst_mean, real, fake, again)
    assert found.value == pytest.approx(0.1, abs=0.02)
    assert found.error == pytest.approx(np.sqrt(2 / 400) / 10, rel=0.4)
    assert 0 < found.floor < 0.03
    assert criteria.median_shift(real, fake) == pytest.approx(0.1, abs=0.03)
    assert criteria.worst_factor(real, fake) == pytest.approx(criteria.worst_factor(fake, real))
    assert criteria.worst_variance(real, 2 * fake) == pytest.approx(3, abs=1)


def test_cross_power_is_significant_only_when_samples_share_something():
    samples = np.random.default_rng(1).standard_normal((500, 20))
    assert criteria.significance(samples) < 1.6
    assert criteria.significance(samples + 0.5) > 5


def test_the_pdf_agrees_down_to_where_it_first_does_not():
    rng = np.random.default_rng(2)
    real = np.full((200, 5), 0.2) + 1e-3 * rng.standard_normal((200, 5))
    edges = np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0])
    fake = real * np.array([1.0, 1.5, 1.1, 0.9, 1.0])
    assert criteria.lowest_agreement(real, fake, edges) == 0.1
    assert criteria.lowest_agreement(real, fake[:, ::-1], edges) == 10.0
    assert criteria.lowest_agreement(real, 2 * fake, edges) == np.inf


def test_figures_stand_in_rows_of_two_and_a_lone_one_has_its_caption_beside_it():
    def exhibit(title, wide):
        return page.Exhibit(title, "", [b""] * (2 if wide else 1), b"", {})

    order = [exhibit(name, name.isupper()) for name in ("a", "B", "c", "d", "e")]
    kinds = re.findall('<figure class="(.*?)"><h3>(.)', page.figures(order))
    assert kinds == [("alone", "a"), ("wide", "B"), ("", "c"), ("", "d"), ("alone", "e")]


def test_names_of_curves_keep_apart_and_inside():
    np.testing.assert_allclose(style.spread([0.2, 0.21, 0.99, 1.0], 0.1), [0.2, 0.3, 0.9, 1.0])
    np.testing.assert_allclose(style.spread([0.1, 0.5], 0.1), [0.1, 0.5])
    assert style.spread([], 0.1) == []


def test_figures_leave_matplotlibs_global_state_alone(run):
    before = dict(matplotlib.rcParams)
    drawn = catalogue.drawn(entry("mean-density"), [run])
    assert catalogue.files(drawn)[".pdf"] == catalogue.files(catalogue.drawn(entry("mean-density"), [run]))[".pdf"]
    assert dict(matplotlib.rcParams) == before
