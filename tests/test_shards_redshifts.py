"""Several redshifts in one folder."""

import dataclasses
import pickle

import numpy as np
import pytest
import small_experiment
import synthetic
from shard_folders import GEOMETRY, VALUES, at, write_values

from cosmogan import config, shards, validate
from cosmogan.selection import candidates
from cosmogan.training import setup
from cosmogan.training.plan import TrainingStage
from hpc import mpi
from hpc.distributed import Processes
from hpc.files import read_json


@pytest.fixture
def several(tmp_path):
    """Redshifts 0.5 and 3, each with both simulations; 3 a step late in one."""
    return write_values(tmp_path, (0.5, 0.5, 3.0, 3.001))


def test_all_redshifts_of_a_folder_are_one_array(several):
    opened = shards.open(several)
    assert opened.manifest["geometry"]["redshift"] is None and np.isnan(opened.geometry.redshift)
    assert opened.redshift_values == (0.5, 3.0) and opened.redshifts.tolist() == [0.5] * 8 + [3.0] * 8
    np.testing.assert_array_equal(opened[:], np.concatenate([VALUES, VALUES + 1000]))


@pytest.mark.parametrize(("redshift", "added"), [(0.5, 0), (0.501, 0), (3, 1000), (3.003, 1000)])
def test_one_redshift_of_a_folder_is_chosen(several, redshift, added):
    opened = shards.open_one(several, redshift)
    assert opened.geometry == at(3.0 if added else 0.5) and len(opened.redshift_values) == 1
    np.testing.assert_array_equal(opened[:], VALUES + added)
    assert opened.simulations.tolist() == [0] * 3 + [1] * 5 and opened.rows_of([1]).tolist() == [3, 4, 5, 6, 7]
    assert opened.corners[:, 0].tolist() == list(range(8))
    assert pickle.loads(pickle.dumps(opened)).shape == (8, 4, 4, 4)


@pytest.mark.parametrize("redshift", [0.502, 2.9, 10])
def test_a_redshift_that_is_not_there_is_an_error_that_names_those_there_are(several, redshift):
    with pytest.raises(ValueError, match=rf"no subvolumes of redshift {redshift:g}; there are 0.5, 3"):
        shards.open(several, redshift=redshift)


def test_one_of_several_redshifts_must_be_chosen(several):
    with pytest.raises(ValueError) as caught:
        shards.open_one(several)
    assert str(caught.value) == f"{several}: has redshifts 0.5, 3; choose one with redshift: 0.5"


def test_the_only_redshift_need_not_be_chosen(tmp_path):
    folder = write_values(tmp_path)
    assert shards.open_one(folder).geometry == GEOMETRY == shards.open_one(folder, 0.5).geometry


def add_redshift(folder, redshift):
    """Add to a folder its own subvolumes at another redshift, twice as dense."""
    old, lines = shards.Folder(folder), read_json(folder / "manifest.json")["shards"]
    geometry = dataclasses.replace(old.geometry, redshift=redshift)
    for number in range(3):
        density = 2 * old[old.rows_of([number])]
        path = folder / f"z{redshift:g}-{number}.h5"
        with shards.create(path, len(density), geometry, "simulated", {}) as file:
            file["density"][:] = density
            file["simulation"][:], file["corner"][:] = number, 0
        lines.append(shards.describe(path))
    shards.write_manifest(folder, geometry, "simulated", lines, {})
    return old


CHOOSE = r"shards: has redshifts 0, 1; choose one with redshift: 0$"


def test_training_takes_one_redshift(tmp_path):
    experiment = small_experiment.load(tmp_path)
    old = add_redshift(tmp_path / "shards", 1.0)
    with pytest.raises(ValueError, match=CHOOSE):
        setup.prepare(experiment, Processes(0, 1, 0))
    for redshift, factor in ((0, 1), (1.0, 2)):
        chosen = dataclasses.replace(experiment, redshift=redshift)
        _, data, _ = setup.prepare(chosen, Processes(0, 1, 0))
        np.testing.assert_array_equal(data._read(data.rows), factor * old[old.rows_of([0, 1])])
    assert TrainingStage(chosen).receipt.recipe != TrainingStage(experiment).receipt.recipe


def test_selection_takes_one_redshift(tmp_path):
    experiment = small_experiment.load(tmp_path)
    add_redshift(tmp_path / "shards", 1.0)
    with pytest.raises(ValueError, match=CHOOSE):
        candidates.CandidateScorer(experiment, mpi.SerialComm())
    means = []
    for redshift in (0.0, 1.0):
        judged = candidates.CandidateScorer(dataclasses.replace(experiment, redshift=redshift), mpi.SerialComm())
        means.append(judged.conditions[0].target.mean_density.mean())
    assert means[1] == pytest.approx(2 * means[0])


def test_validation_takes_one_redshift(tmp_path):
    path = synthetic.write_run(tmp_path)
    shards_folder = tmp_path / "run" / "shards"
    add_redshift(shards_folder, 1.0)
    with pytest.raises(ValueError, match=CHOOSE):
        validate.validate(config.load(path), mpi.SerialComm())
    with pytest.raises(ValueError, match=r"samples: expected the redshift of .*shards, 1, found 0"):
        validate.validate(config.load(path, ["redshift=1"]), mpi.SerialComm())
    chosen = config.load(path, ["redshift=0"])
    validate.validate(chosen, mpi.SerialComm())
    assert validate.stage(chosen).is_done()
