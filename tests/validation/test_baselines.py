"""`validate` beside the generated set: mapped Gaussian mocks, where whole training boxes are there."""

import h5py
import numpy as np
import pytest
import synthetic

from cosmogan import config, shards, validate
from cosmogan.reporting import catalogue, criteria, document, runs
from cosmogan.shards import statistics_file
from cosmogan.validation import baselines
from hpc.mpi import SerialComm


@pytest.fixture
def experiment(tmp_path):
    """A run whose shards know where in their boxes the subvolumes lie."""
    experiment = config.load(synthetic.write_run(tmp_path))
    k = synthetic.N_MESH // synthetic.SUBVOLUME
    listed = []
    for path in sorted(experiment.shards_folder.glob("*.h5")):
        with h5py.File(path, "r+") as file:
            file["corner"][:] = synthetic.SUBVOLUME * np.indices((k, k, k)).reshape(3, -1).T
        listed.append(shards.describe(path))
    shards.write_manifest(experiment.shards_folder, synthetic.GEOMETRY, "simulated", listed, {})
    return experiment


def test_mocks_are_measured_judged_and_always_the_same(experiment, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", [])
    validate.validate(experiment, SerialComm())
    tree = statistics_file.read(experiment.statistics_path)
    assert tree["n_mocks"] == 27 and tree["mocks_off"] < 0.3
    (mocks,) = runs.Run(tree).beside()
    assert mocks.name == "mapped Gaussian"
    text = "".join(document.single(runs.Run(tree), criteria.rows(tree), experiment.report_folder / "figures"))
    assert "nearer to N-body than mapped Gaussian mocks in" in text and "<th>mapped Gaussian</th>" in text
    assert "†" not in text  # nothing is calibrated
    calibrated = criteria.rows(tree, calibrated=True)
    text = "".join(document.single(runs.Run(tree), calibrated, experiment.report_folder / "figures"))
    assert text.count("without †") == 2 and text.count("†: a calibrated generator") == 1
    first, second = (baselines.compared(experiment).beside["mocks"] for _ in range(2))
    np.testing.assert_array_equal(first.read(np.array([3, 20])), second.read(np.array([3, 20])))


def test_boxes_that_are_not_whole_give_no_mocks(experiment):
    with h5py.File(sorted(experiment.shards_folder.glob("*.h5"))[0], "r+") as file:
        file["corner"][0] = file["corner"][1]
    compared = baselines.compared(experiment)
    assert compared.beside["mocks"].source.whole_boxes == [1]
