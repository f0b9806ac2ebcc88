"""`validate` in blocks: what is measured is never measured again, whatever happened in between."""

import numpy as np
import pytest
import synthetic

from cosmogan import config, shards, statistics, validate
from cosmogan.shards import statistics_file
from cosmogan.validation import baselines, blocks, measure
from cosmogan.validation.blocks import Blocks
from cosmogan.validation.volume_statistics import Measurement
from hpc.mpi import SerialComm


class Stopped(BaseException):
    """A Ctrl-C."""


def test_a_stopped_run_goes_on_from_its_blocks_and_ends_with_the_same_file(tmp_path, monkeypatch):
    paths = [synthetic.write_run(tmp_path / name) for name in ("whole", "stopped") if (tmp_path / name).mkdir() is None]
    whole, stopped = map(config.load, paths)
    validate.validate(whole, SerialComm())
    measured, real = [], Measurement.all

    def counted(self, density):
        if len(measured) == 6:
            raise Stopped
        measured.append(len(density))
        return real(self, density)

    monkeypatch.setattr(Measurement, "all", counted)
    with pytest.raises(Stopped):
        validate.validate(stopped, SerialComm())
    left = sorted(path.name for path in (stopped.folder / "validate").iterdir())
    assert len(left) == 6 and left[0] == "generated-000000.npz"
    (stopped.folder / "validate" / left[1]).write_bytes(b"PK cut off")
    measured.clear()
    monkeypatch.setattr(Measurement, "all", lambda self, density: measured.append(len(density)) or real(self, density))
    validate.validate(stopped, SerialComm())
    assert sum(measured) == 27 + 54 - 6 * 8 + 8 + 5  # one of six blocks was damaged, and one of them has only 3 samples
    assert not (stopped.folder / "validate").exists()
    first, second = (statistics_file.read(run.statistics_path) for run in (whole, stopped))
    np.testing.assert_array_equal(first["power"]["generated"]["samples"], second["power"]["generated"]["samples"])
    np.testing.assert_array_equal(first["neighbours"]["nbody"]["peers"], second["neighbours"]["nbody"]["peers"])


def test_blocks_of_other_settings_are_measured_again(tmp_path):
    calls = []

    def work(part):
        calls.append(part)
        return {"x": np.arange(part.start, part.stop)}

    for key, expected in (("a", 3), ("a", 3), ("b", 6)):
        made = Blocks(tmp_path, key, 4, SerialComm())
        made.measure("numbers × two", 10, lambda part: part, work)
        assert len(calls) == expected
        np.testing.assert_array_equal(made.read("numbers × two")["x"], np.arange(10))
    np.testing.assert_array_equal(made.block("numbers × two", 2)["x"], [8, 9])
    np.testing.assert_array_equal(made.read("numbers × two", rows=np.array([1, 4, 9]))["x"], [1, 4, 9])
    assert made.read("numbers × two", lambda name: name == "y") == {}
    assert blocks.Blocks(tmp_path, "b", 4, SerialComm()).block("numbers × two", 0)["x"][3] == 3


def test_memory_does_not_hold_the_volumes(tmp_path):
    """Volumes are read block by block: never more than a batch at once."""
    experiment = config.load(synthetic.write_run(tmp_path))
    held = []

    class Watched(shards.Folder):
        def read(self, rows):
            held.append(len(rows))
            return super().read(rows)

    compared = baselines.compared(experiment)
    for volumes in (compared.nbody, compared.generated, compared.training):
        object.__setattr__(volumes, "source", Watched(volumes.source.path))
    measure.everything(compared, tmp_path / "blocks", SerialComm())
    assert max(held) == experiment.validate.batch_size
    assert sum(held) > 27 + 54 + 54


def break_volume(experiment, value):
    path = next(experiment.samples_folder.glob("*.h5"))
    with shards.folder.h5py.File(path, "r+") as file:
        file["density"][5, 1, 1, 1] = value


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (-1.0, "-1"), (np.inf, "inf")])
def test_impossible_densities_are_named_and_nothing_is_lost(tmp_path, value, word):
    experiment = config.load(synthetic.write_run(tmp_path))
    break_volume(experiment, value)
    with pytest.raises(
        ValueError, match=rf"samples: volume \d+: found a density of {word} \(1 of 4096 cells\), expected"
    ):
        validate.validate(experiment, SerialComm())
    assert len(list((experiment.folder / "validate").glob("nbody-*.npz"))) == 4


def test_a_broken_shard_is_named_and_nothing_is_lost(tmp_path):
    experiment = config.load(synthetic.write_run(tmp_path))
    path = sorted(experiment.samples_folder.glob("*.h5"))[-1]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"shard-1.h5: .*"):
        validate.validate(experiment, SerialComm())
    assert len(list((experiment.folder / "validate").glob("*.npz"))) >= 4


def test_fewer_samples_than_bins_say_what_is_needed(tmp_path):
    path = synthetic.write_run(tmp_path)
    synthetic.write_config(tmp_path, preprocess={"n_mesh": 48, "subvolume": 16})
    synthetic.write_few(tmp_path / "run" / "samples", 12)
    with pytest.raises(ValueError, match=r"samples: found 12 subvolumes to compare, expected 14 or more: .* 13 bins"):
        validate.validate(config.load(path), SerialComm())
    validate.validate(config.load(path, ["validate.n_k=8"]), SerialComm())


def test_samples_of_a_generator_that_saw_the_held_out_boxes_are_called_out(tmp_path, capsys):
    experiment = config.load(synthetic.write_run(tmp_path))
    settings = experiment.generator_path.with_suffix(".json")
    settings.parent.mkdir()
    settings.write_text(f'{{"config": {{"output": "{experiment.output}", "data": null, "held_out": [1]}}}}')
    validate.validate(experiment, SerialComm())
    assert "WARNING: the generator was trained on simulations [2], which are held out here" in capsys.readouterr().out
    assert "trained on simulations [2]" in statistics_file.read(experiment.statistics_path)["warnings"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["validate.k_bins=paper", "validate.n_k=4"], r"n_k: expected null with k_bins: paper, found 4"),
        (["validate.shot_noise=-1"], r"shot_noise: expected no negative power, found -1"),
        (["validate.engine=nbodykit", "validate.window=cic"], r"validate.engine: nbodykit measures as the paper does"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, overrides, message, monkeypatch):
    monkeypatch.setattr("cosmogan.statistics.reference.require", lambda engine: None)
    path = synthetic.write_run(tmp_path)
    with pytest.raises(ValueError, match=message):
        validate.validate(config.load(path, overrides), SerialComm())


def test_corrections_and_the_papers_bins_reach_the_file(tmp_path):
    path = synthetic.write_run(tmp_path)
    words = ["validate.window=cic", "validate.shot_noise=2.5", "validate.k_bins=paper", "cosmology.h=0.8"]
    experiment = config.load(path, words)
    validate.validate(experiment, SerialComm())
    tree = statistics_file.read(experiment.statistics_path)
    assert (tree["correction_window"], tree["shot_noise"], tree["k_bins"]) == (2, 2.5, "paper")
    folder, rows = shards.open(experiment.shards_folder), np.arange(54, 81)
    edges = statistics.paper_edges(64.0, 16, 0.8)
    correction = statistics.Correction(window=2, shot_noise=2.5)
    expected = statistics.power_spectrum(folder.read(rows), 64.0, edges, correction)
    np.testing.assert_allclose(tree["power"]["nbody"]["samples"], expected.power, rtol=1e-5)
    np.testing.assert_allclose(tree["power"]["k"], expected.k)
    triangles = statistics.paper_triangles(64.0, 16)[0]
    expected = statistics.bispectrum(folder.read(rows), 64.0, triangles, correction).bispectrum
    np.testing.assert_allclose(tree["bispectrum_0"]["nbody"]["samples"], expected, rtol=1e-3)
