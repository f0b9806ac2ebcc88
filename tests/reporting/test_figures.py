"""The report's figures: their numbers, what they name, and what becomes of them when something is missing."""

import csv
import dataclasses
import io
import os
import re
import signal

import matplotlib
import numpy as np
import pytest

from cosmogan.reporting import catalogue, drawing, page, palette, runs, style
from cosmogan.shards import statistics_file
from cosmogan.statistics import ensemble


@pytest.fixture
def run(measured):
    """The run as figures take it."""
    return runs.Run(statistics_file.read(measured.statistics_path))


def entry(name):
    """A figure of the catalogue."""
    return next(one for one in catalogue.CATALOGUE if one.name == name)


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


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_while_it_draws_is_one_line(run, tmp_path):
    entries = [dataclasses.replace(entry("losses"), draw=killed)]
    with pytest.raises(ValueError, match=r"figures: one of 2 processes that draw figures ended early: it was killed"):
        drawing._beside(entries, [run], tmp_path / "figures", 2)


def test_norms_of_the_latents_are_shown_where_they_are_known(run):
    known = dataclasses.replace(run, tree=run.tree | {"latents": {"norm": np.linspace(9, 13, 101)}})
    assert "generated: median 11.00 ± " in catalogue.drawn(entry("latent-norm"), [known]).caption


@pytest.mark.parametrize("name", [one.name for one in catalogue.CATALOGUE if one.several])
def test_every_figure_of_several_runs_names_them_all(run, name):
    latents = {"latents": {"norm": np.linspace(9, 13, 101)}}
    found = [
        dataclasses.replace(run, name=f"run-{i}", color=color, dash=dash, marker=marker, tree=run.tree | latents)
        for i, (color, dash, marker) in enumerate(palette.RUNS[:2])
    ]
    drawn = catalogue.drawn(entry(name), found)
    words = [text.get_text() for text in drawn.figure.findobj(matplotlib.text.Text)]
    assert all(any(f"run-{i}" in word for word in words) for i in range(2))


def test_scaled_densities_of_different_kappa_are_not_compared(run):
    other = dataclasses.replace(run, name="other", tree=run.tree | {"kappa": 45.0})
    drawn = catalogue.drawn(entry("voxel-pdf"), [run, other])
    assert {column.split()[0] for column in drawn.table} == {"pdf_unscaled"}
    assert drawn.narrow is None


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


def test_figures_stand_in_rows_of_two_and_a_lone_one_has_its_caption_beside_it():
    def exhibit(title, wide):
        return page.Exhibit(title, title, "", "", [b""] * (2 if wide else 1), b"", {})

    order = [exhibit(name, name.isupper()) for name in ("a", "B", "c", "d", "e")]
    kinds = re.findall('<figure class="(.*?)"><h3 id=".">(.)', page.figures(order))
    assert kinds == [("alone", "a"), ("wide", "B"), ("", "c"), ("", "d"), ("alone", "e")]


def shown(run):
    """All figures that a run has, those for phones too."""
    drawn = [catalogue.drawn(one, [run]) for one in catalogue.CATALOGUE]
    return [figure for one in drawn if not isinstance(one, str) for figure in (one.figure, one.narrow) if figure]


def test_no_text_is_cut_off_or_on_another_one(run):
    latents = {"latents": {"norm": np.linspace(9, 13, 101)}}
    faults = []
    for figure in shown(dataclasses.replace(run, tree=run.tree | latents)):
        style.png(figure)
        width, height = figure.get_size_inches() * figure.dpi
        for ax in figure.axes:
            labels = [ax.title, ax.xaxis.label, ax.yaxis.label]
            texts = [text for text in (*labels, *ticks(ax), *ax.texts) if text.get_text() and text.get_visible()]
            boxes = [text.get_window_extent() for text in texts]
            outside = [box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height for box in boxes]
            faults += [text.get_text() for text, out in zip(texts, outside, strict=True) if out]
            marks = [tick.get_window_extent() for tick in ticks(ax)]
            for text, box in zip(texts, boxes, strict=True):
                if text in labels and any(box.overlaps(mark) for mark in marks):
                    faults.append(f"{text.get_text()} on a tick's label")
    assert not faults


def ticks(ax):
    """The visible labels of an axes' major ticks."""
    if not ax.axison:
        return []
    low, high = ax.get_xlim(), ax.get_ylim()
    across = [tick.label1 for tick in ax.xaxis.get_major_ticks() if min(low) <= tick.get_loc() <= max(low)]
    up = [tick.label1 for tick in ax.yaxis.get_major_ticks() if min(high) <= tick.get_loc() <= max(high)]
    return [label for label in across + up if label.get_text() and label.get_visible()]


def test_names_of_curves_keep_apart_and_inside():
    np.testing.assert_allclose(style.spread([0.2, 0.21, 0.99, 1.0], 0.1), [0.2, 0.3, 0.9, 1.0])
    np.testing.assert_allclose(style.spread([0.1, 0.5], 0.1), [0.1, 0.5])
    assert style.spread([], 0.1) == []


def test_figures_leave_matplotlibs_global_state_alone(run):
    before = dict(matplotlib.rcParams)
    drawn = catalogue.drawn(entry("mean-density"), [run])
    assert b"CreationDate" not in catalogue.files(drawn)[".pdf"]
    assert dict(matplotlib.rcParams) == before


def test_all_samples_stand_beside_the_accepted_ones(run):
    samples = 1.5 * run.tree["power"]["nbody"]["samples"]
    proposals = ensemble.summary(samples, ensemble.moments_of(samples, np.arange(len(samples))))
    drawn = catalogue.drawn(entry("rejection"), [dataclasses.replace(run, tree=run.tree | {"proposals": proposals})])
    np.testing.assert_allclose(drawn.table["all samples / N-body - 1"], 0.5)
    np.testing.assert_array_equal(drawn.table["accepted / N-body - 1"], run.tree["power"]["ratio"]["mean"])


def test_the_selection_shows_how_the_released_generator_was_calibrated_or_tuned(run):
    candidates = [{"epoch": 1, "ema": False, "score": 0.3, "error": 0.1}]
    tuned = {"latent_scale": 0.98, "latent_scale_error": 0.01, "trials": [[0.9, -0.2, 0.05], [1.1, 0.3, 0.05]]}
    calibrated = {"latent_scale": 1.0, "latent_scale_error": None, "calibration": {"kept": True}}

    def drawn(**chosen):
        scores = {"candidates": candidates, "chosen": {**candidates[0], "trials": [], **chosen}}
        return catalogue.drawn(entry("selection"), [dataclasses.replace(run, scores=scores)])

    def panels(drawn):
        return [ax.get_xlabel() for ax in drawn.figure.axes]

    plain = drawn(latent_scale=1.0, latent_scale_error=None)
    assert panels(plain) == ["epoch"] and "calibrated" not in plain.caption
    scaled = drawn(**tuned)
    assert panels(scaled) == ["epoch", "latent scale"] and "its latents scaled by 0.9800 ± 0.0100" in scaled.caption
    assert "epoch 1, calibrated to the training boxes." in drawn(**calibrated).caption
