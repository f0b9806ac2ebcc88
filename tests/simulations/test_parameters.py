"""Numbers of the simulations, from the snapshots' headers, the embedded simulator and a user's file into the shards."""

import numpy as np
import pytest
import snapshot_files as made
import yaml
from conftest import DATA

from cosmogan import config, preprocess, shards, simulate
from cosmogan.shards.verify import verify
from cosmogan.simulations import parameters, snapshots
from cosmogan.training import subvolumes
from hpc.mpi import SerialComm


def test_a_latin_hypercube_has_one_point_in_each_part_of_each_axis():
    points = parameters.latin_hypercube(7, 3, seed=1)
    assert np.array_equal(np.sort(np.floor(7 * points), axis=0), np.arange(7)[:, None] * np.ones(3))
    assert np.array_equal(points, parameters.latin_hypercube(7, 3, seed=1))
    assert len(np.unique(np.argsort(points, axis=0), axis=1).T) > 1  # no line through the cube


def write(folder, **changed):
    tree = {
        "name": "several",
        "output": str(folder / "run"),
        "held_out": [2],
        "simulate": {
            "n_simulations": 3,
            "box_size": 64,
            "n_particles": 16,
            "transfer": "eisenstein-hu",
            "mesh_factor": 1,
            "n_steps": 4,
            "redshifts": [1, 0],
            "latin_hypercube": {"omega_m": [0.2, 0.4], "sigma_8": [0.7, 0.9]},
        },
        "preprocess": {"n_mesh": 16, "subvolume": 8, "shards": 1},
        "model": {"condition": ["redshift", "omega_m", "sigma_8"]},
    }
    path = folder / "several.yaml"
    path.write_text(yaml.safe_dump(tree | changed))
    return config.load(path)


def test_embedded_boxes_have_their_own_cosmologies_and_the_shards_carry_them(tmp_path, capsys):
    experiment = write(tmp_path)
    simulate.simulate(experiment, SerialComm())
    preprocess.preprocess(experiment, SerialComm())
    assert preprocess.stage(experiment).is_done() and verify(experiment.shards_folder)
    with shards.open(experiment.shards_folder) as folder:
        found = subvolumes.values(experiment.model.condition, folder)
        assert len(folder) == 3 * 2 * 8 and len(np.unique(found, axis=0)) == 6
        for number in range(3):
            cosmology = parameters.box_cosmology(experiment, number)
            own = found[folder.simulations == number]
            assert np.allclose(own[:, 1:], [cosmology.omega_m, cosmology.sigma_8])
            mass = {shard.mean_cell_mass for shard in folder.shards if shard.simulation == number}
            assert len(mass) == 1 and np.isclose(mass.pop(), 27.7536627 * cosmology.omega_m * 4.0**3, rtol=1e-3)
        early, late = (folder[folder.redshifts == z].var() for z in (1.0, 0.0))
        assert early < late
    simulate.simulate(write(tmp_path), SerialComm())
    assert "all boxes are in" in capsys.readouterr().out  # the points are the same again


def test_a_hypercube_without_a_universe_is_refused(tmp_path):
    hypercube = {"n_simulations": 3, "latin_hypercube": {"omega_m": [0.001, 0.002]}}
    with pytest.raises(ValueError, match=r"simulate\.latin_hypercube: box 0: omega_b: expected .* omega_m"):
        parameters.box_cosmology(write(tmp_path, simulate=hypercube), 0)
    hypercube = {"n_simulations": 3, "n_particles": 16, "latin_hypercube": {"omega_m": [0.001, 0.15]}}
    with pytest.raises(ValueError, match=r"simulate\.latin_hypercube: box 2: omega_b: expected .* omega_m"):
        simulate.simulate(write(tmp_path, simulate=hypercube), SerialComm())
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"latin_hypercube: expected omega_m, .*, found sigma8"):
        write(tmp_path, simulate={"latin_hypercube": {"sigma8": [0.7, 0.8]}})


def users(folder, text):
    """Return an experiment on two real snapshots, with such a file of parameters."""
    (folder / "parameters.yaml").write_text(text)
    snapshots = [str(DATA / name / "snapshot_006") for name in ("g2_32_mpc_f1", "g2_32_mpc_f1_n4")]
    own = {"snapshots": snapshots, "n_mesh": 16, "subvolume": 8, "parameters": str(folder / "parameters.yaml")}
    return write(folder, held_out=[], simulate={}, preprocess=own, model={"condition": ["sigma_8"]})


def test_a_users_file_says_what_the_headers_do_not(tmp_path):
    experiment = users(tmp_path, "0: {sigma_8: 0.8}\n1: {sigma_8: 0.9}\n")
    preprocess.preprocess(experiment, SerialComm())
    folder = subvolumes.open_shards(experiment)
    assert np.array_equal(subvolumes.values(experiment.model.condition, folder)[:, 0], np.repeat([0.8, 0.9], 8))


def test_a_users_file_may_say_what_is_0_in_the_headers(tmp_path):
    made.write_binary(tmp_path / "s", made.positions(t1=8), {1: made.mean_mass(8)}, Omega0=0.0, HubbleParam=0.0)
    (tmp_path / "parameters.yaml").write_text("0: {omega_m: 0.3}\n")
    own = {"snapshots": [str(tmp_path / "s")], "n_mesh": 8, "subvolume": 4}
    own["parameters"] = str(tmp_path / "parameters.yaml")
    experiment = write(tmp_path, held_out=[], simulate={}, preprocess=own, model={})
    assert parameters.of_all(experiment, snapshots.find(experiment)) == {0: {"omega_m": 0.3}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0: {sigma_8: 0.8}", r"expected numbers of simulation 1, as 1: \{sigma_8: 0\.8\}, found None"),
        ("0: {sigma_8: big}\n1: {sigma_8: 0.9}", "expected numbers of simulation 0"),
        ("0: {omega_m: 0.5}\n1: {omega_m: 0.5}", r"omega_m of simulation 0 is 0\.5, but .*snapshot_006 has 0\.2"),
        ("[1, 2]", "expected lines such as 0:"),
    ],
)
def test_a_users_file_that_cannot_be_right_is_refused(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=rf"preprocess\.parameters: .*parameters\.yaml: {complaint}"):
        preprocess.preprocess(users(tmp_path, text), SerialComm())
