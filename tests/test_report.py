"""`report`: the page, its verdict, and what it does when things are missing."""

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import synthetic

from cosmogan import archive, config, report, results, validate
from cosmogan.reporting import figures_density, style, verdict
from cosmogan.statistics import criteria
from cosmogan.statistics.criteria import Finding
from hpc.mpi import SerialComm

FIGURES = ("slices", "voxel-pdf", "mean-density", "power", "cross-power", "variance", "covariance", "bispectrum")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that was validated; the generated set has too much structure."""
    experiment = config.load(synthetic.write_run(tmp_path_factory.mktemp("report"), amplitude=1.3))
    validate.validate(experiment, SerialComm())
    return experiment


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
        self.open, self.images, self.text, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.images.append((attributes["alt"], attributes["src"]))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_without_a_record_of_training_has_the_other_figures(measured):
    report.report(measured, SerialComm())
    read = Page((measured.report_folder / "index.html").read_text())
    assert len(read.images) == len(FIGURES)


def test_the_page_is_whole_and_needs_nothing_beside_it(measured, capsys):
    write_training(measured)
    report.report(measured, SerialComm())
    path = measured.report_folder / "index.html"
    assert capsys.readouterr().out.rstrip().endswith(str(path.resolve()))
    read = Page(path.read_text())
    assert read.open == []
    assert all(link.startswith("data:image/png;base64,") for link in read.links)
    assert len(read.images) == len(FIGURES) + 2
    for _, source in read.images:
        assert base64.b64decode(source.split(",")[1]).startswith(b"\x89PNG")
    for name in (*FIGURES, "training", "selection"):
        assert (measured.report_folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    text = " ".join(read.text)
    assert text.index("The paper's claims") < text.index("Figures")
    assert "averaged weights of epoch 5, its latents scaled by 0.985" in text
    assert "23200 samples seen, 0:58 of training steps" in text
    assert report.done(measured)
    report.report(measured, SerialComm())
    assert "report: done" in capsys.readouterr().out


def test_without_statistics_one_line_says_which_stage_to_run(tmp_path, python):
    path = synthetic.write_config(tmp_path)
    finished = python("cosmogan.report", path)
    assert finished.returncode == 1
    expected = r"error: .*statistics.h5: not found; run `python -m cosmogan.validate` with this CONFIG first\n"
    assert re.fullmatch(expected, finished.stderr)


def test_rejection_sampling_is_shown_when_it_was_asked_for(measured):
    norm = np.random.default_rng(0).normal(11, 1, 500)
    archive.write_judged(measured.rejection_path, norm=norm, accepted=norm > 11.5)
    assert "rejection" not in report._sources(measured)
    asked = dataclasses.replace(measured, sample=config.Sample(rejection=True))
    report.report(asked, SerialComm())
    text = (measured.report_folder / "index.html").read_text()
    assert f"accepted {sum(norm > 11.5)} of 500 samples, {100 * np.mean(norm > 11.5):.2f} ± " in text
    assert (measured.report_folder / "rejection.png").exists()
    measured.rejection_path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"rejection\.npz: damaged; delete it and run `sample` again"):
        report.report(asked, SerialComm())


def test_a_damaged_file_of_statistics_is_named(tmp_path):
    experiment = config.load(synthetic.write_config(tmp_path))
    experiment.folder.mkdir()
    experiment.statistics_path.write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    with pytest.raises(ValueError, match=r"statistics.h5: damaged .*validate"):
        results.read(experiment.statistics_path)


def test_too_much_structure_fails_what_it_should_and_the_row_says_so(measured):
    judged = {row.name: row for row in verdict.rows(results.read(measured.statistics_path))}
    power = judged["power"]
    assert not power.passed
    assert not power.within_noise
    assert power.found.value > 0.3
    assert judged["cross_power"].passed
    assert report._line(power)[-1] == "✗ fail"
    assert verdict.count(list(judged.values()), verdict.PAPER).startswith("the paper's claims: ")


def test_a_value_at_its_limit_passes_and_one_that_is_not_known_fails():
    def row(value, floor=0.0):
        return verdict.Row("x", verdict.PAPER, "", "", Finding(value, 0.01, floor), 0.05, "%")

    assert row(0.05).passed
    assert not row(0.051).passed
    assert not row(float("nan")).passed
    assert row(0.06, floor=0.07).within_noise
    assert report._line(row(0.06, floor=0.07)) == ("", "", "6.0 % ± 1.0 %", "7.0 %", "✗ fail, within noise")


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


def test_figures_leave_matplotlibs_global_state_alone(measured):
    before = dict(matplotlib.rcParams)
    density = results.read(measured.statistics_path)["mean_density"]
    shown = figures_density.mean_density(density["nbody"]["samples"][:, 0], density["generated"]["samples"][:, 0])
    assert style.png(shown).startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
