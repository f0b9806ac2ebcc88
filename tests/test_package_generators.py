"""The generators that come with the package: drawn from by name, with no config, by whoever has installed it."""

import json
import sys

import numpy as np
import pytest
from conftest import ROOT, run

import cosmogan
from cosmogan import config, shards
from cosmogan.config import GENERATORS, SMALLEST_GENERATOR, generator_file
from cosmogan.sample import with_names
from cosmogan.training import plan


@pytest.fixture(scope="module")
def settings():
    return json.loads(GENERATORS["web-32"].with_suffix(".json").read_text())


def test_a_plain_install_carries_it_and_draws_with_no_config(tmp_path):
    built = run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", tmp_path / "lib"], cwd=ROOT)
    assert built.returncode == 0, built.stderr
    command = [sys.executable, "-m", "cosmogan.sample", "--pretrained", "-n", "8", "--figure", "out.png"]
    done = run(command, cwd=tmp_path, PYTHONPATH=str(tmp_path / "lib"))
    assert done.returncode == 0, done.stderr
    assert "sample: drew 8 volumes of 32³ cells: runs/web-32/samples" in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    drawn = shards.Folder(tmp_path / "runs/web-32/samples").read(np.arange(8))
    np.testing.assert_allclose(drawn, cosmogan.load_generator().sample(8), rtol=1e-5)


def test_its_volumes_are_a_cosmic_web_of_the_mean_density(settings):
    density = cosmogan.load_generator().sample(64, seed=3)
    assert density.shape == (64, 32, 32, 32) and density.min() >= 0 and settings["calibration"]["kept"]
    assert 0.85 < density.mean() < 1.15
    assert 0.2 < (density < 0.5).mean() < 0.8 and (density > 10).mean() > 1e-3  # voids, and knots


def test_it_is_what_its_experiment_trains(settings):
    experiment = config.load(config.configs_folder() / "web-32.yaml")
    for section in ("simulate", "preprocess", "model", "train", "select"):
        recorded, now = settings["config"][section], experiment.section(section)[section]
        # Later settings: defaults. It was calibrated after its release.
        names = (recorded.keys() & now.keys()) - set(plan.FREE) - {"n_tune", "calibrate"}
        assert all(recorded[name] == now[name] for name in names)
    assert tuple(settings["config"]["held_out"]) == experiment.held_out


def test_the_generator_of_the_papers_size_draws_a_cosmic_web():
    generator = cosmogan.load_generator("web-64")
    density = generator.sample(4, seed=2)
    assert density.shape == (4, 64, 64, 64) and generator.geometry["box_size"] / generator.geometry["n_mesh"] == 0.695
    assert density.min() == 0 and 0.05 < (density == 0).mean() < 0.3  # voids that no particle is in
    assert 0.5 < density.mean() < 1.5 and (density > 100).any()


@pytest.mark.parametrize("name", GENERATORS)
def test_it_is_small_calibrated_and_names_no_path_of_the_machine_that_made_it(name):
    settings = json.loads(GENERATORS[name].with_suffix(".json").read_text())
    assert settings["calibration"]["kept"] and GENERATORS[name].stat().st_size < 10e6
    assert not [text for text in _texts(settings) if text.startswith("/")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--pretrained", "-n", "8"], ["--pretrained=web-32", "-n", "8"]),
        (["--pretrained", "web-32", "mine.yaml"], ["--pretrained=web-32", "mine.yaml"]),
        (["--pretrained", "mine.yaml"], ["--pretrained=web-32", "mine.yaml"]),  # CONFIG is no generator's name
        (["--pretrained", "sample.seed=2"], ["--pretrained=web-32", "sample.seed=2"]),
        (["mine.yaml", "web-32"], ["mine.yaml", "web-32"]),
    ],
)
def test_a_name_follows_the_option_and_nothing_else_is_taken_for_one(words, named):
    assert with_names(words) == named


def test_a_generator_is_known_by_its_name_or_its_file(tmp_path):
    assert SMALLEST_GENERATOR in GENERATORS and generator_file("web-32") == GENERATORS["web-32"]
    assert generator_file(str(tmp_path / "g.safetensors")) == tmp_path / "g.safetensors"
    with pytest.raises(ValueError, match=r"generator web-33: expected web-32.* or a \.safetensors file"):
        cosmogan.load_generator("web-33")


def _texts(tree):
    """Yield all strings of a JSON tree."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(child)
