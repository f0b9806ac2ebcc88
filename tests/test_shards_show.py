"""``python -m cosmogan.shards show``: the summary, the tally behind it, and the figure."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import shard_folders
import synthetic
from shard_folders import GEOMETRY, fill

from cosmogan import shards
from cosmogan.reporting import figures_shards
from cosmogan.shards import tally


@pytest.fixture
def folder(tmp_path):
    return shard_folders.write(tmp_path / "shards")


def test_show_says_what_is_in_a_folder(folder, python):
    done = python("cosmogan.shards", "show", folder, COLUMNS="80")
    assert done.returncode == 0 and done.stderr == ""
    text = done.stdout
    for fact in (
        "simulated subvolumes (cosmogan-subvolumes/1)",
        "3 files, ",
        "15 of 4³ cells, 8 Mpc/h a side",
        "32 Mpc/h, 16³ cells of 2 Mpc/h",
        "8 × 10¹⁰ M☉/h",
        "CIC",
        "sims/box0/snapshot_006",
        "sims/box2/snapshot_006",
        "python 3.",
    ):
        assert fact in text, text
    density = shards.open(folder)[:].astype("f8")
    row = text.splitlines()[-2].split()
    assert row[:3] == ["0.5", "3", "15"] and row[5] == "0" and row[7] == f"{6 / 15 / 64:.2%}"
    means = density.mean(axis=(1, 2, 3))
    assert np.allclose([float(x) for x in (*row[3:5], row[6])], [means.mean(), means.std(ddof=1), density.max()], 1e-3)
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_show_ends_quietly_when_nobody_reads_on(folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "cosmogan.shards", "show", str(folder)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == "" and done.returncode == 141


def test_a_tally_in_batches_is_that_of_all_at_once(folder, monkeypatch):
    whole = tally.tally(shards.open(folder))[0.5]
    monkeypatch.setattr(tally, "BATCH_BYTES", 2 * 256)
    part = tally.tally(shards.open(folder))[0.5]
    density = shards.open(folder)[:]
    np.testing.assert_array_equal(part.counts, whole.counts)
    np.testing.assert_array_equal(part.counts, np.histogram(density[density > 0], tally.edges())[0])
    assert part.counts.sum() + part.n_empty == part.n_voxels == density.size and part.n_bad == 0
    np.testing.assert_allclose([part.mean, part.scatter], [whole.mean, whole.scatter], rtol=1e-12)
    assert (part.pdf / tally.PER_DECADE).sum() == pytest.approx(1 - part.n_empty / density.size)


def test_densities_that_cannot_be_are_counted():
    one = tally.Tally()
    one.add(np.array([np.nan, np.inf, -1, 0, 1e-30, 1, 1e30, 2], "f4").reshape(1, 2, 2, 2))
    assert (one.n_bad, one.n_empty, one.counts.sum(), one.counts[0], one.counts[-1]) == (3, 1, 4, 1, 1)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_show_draws_a_figure(folder, tmp_path, python, suffix):
    path = tmp_path / f"figure{suffix}"
    done = python("cosmogan.shards", "show", folder, "--figure", path)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix])
    assert done.stdout.splitlines()[-1] == f"figure: {path}"


def test_the_figure_names_what_it_shows(tmp_path):
    lines = [fill(tmp_path / f"z{z}-s{i}.h5", i, 5, z) for z in (0, 1, 2, 4) for i in range(2)]
    shards.write_manifest(tmp_path, GEOMETRY, "simulated", lines, {})
    folder = shards.open(tmp_path)
    drawn = figures_shards.draw(folder, tally.tally(folder))
    axes = [ax for part in drawn.subfigs for ax in part.axes]
    slabs = [ax for ax in axes if ax.images]
    assert len(slabs) == 12 and [ax.get_ylabel() for ax in slabs[::4]] == ["z = 0", "z = 2", "z = 4"]
    assert [ax.get_title() for ax in slabs[:2]] == [
        "simulation 0\ncorner (4, 4, 4)",
        "simulation 0\ncorner (12, 12, 12)",
    ]
    shown = slabs[1].images[0].get_array()
    np.testing.assert_allclose(shown, np.maximum(folder[3, 0].T, slabs[1].images[0].norm.vmin))
    assert len({image.norm for ax in slabs for image in ax.images}) == 1
    (pdf,) = [ax for ax in axes if ax.lines and ax.get_xscale() == "log"]
    assert sorted(text.get_text() for text in pdf.texts) == ["z = 0", "z = 1", "z = 2", "z = 4"]


def test_show_of_no_folder_is_one_line(tmp_path, python):
    done = python("cosmogan.shards", "show", tmp_path)
    assert done.returncode == 1 and re.fullmatch(r"error: .*manifest.json: not found; run the stage.*\n", done.stderr)


def test_generated_samples_are_shown_with_their_seed(tmp_path, python):
    geometry = synthetic.GEOMETRY
    with shards.create(tmp_path / "a.h5", 3, geometry, "generated", {}) as file:
        file["density"][:] = 1
        file["seed"][:] = 7
        file["index"][:] = [10, 11, 12]
    source = {"generator": "abc", "latent_scale": 0.9}
    shards.write_manifest(tmp_path, geometry, "generated", [shards.describe(tmp_path / "a.h5")], source)
    done = python("cosmogan.shards", "show", tmp_path, "--figure", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert "seed 7, index 10 to 12" in done.stdout and "generator abc" in done.stdout
    assert json.loads((tmp_path / "manifest.json").read_text())["shards"][0]["redshift"] == 0


def test_show_says_which_simulation_is_which_file(tmp_path, python):
    lines = [fill(tmp_path / f"s{i}.h5", i, 2) for i in range(12)]
    shards.write_manifest(tmp_path, GEOMETRY, "simulated", lines, {})
    done = python("cosmogan.shards", "show", tmp_path)
    for i in range(12):
        assert f"simulation {i}: sims/box{i}/snapshot_006\n" in done.stdout
