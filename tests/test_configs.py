"""The experiments that come with the package: each loads, and differs from the main one in what it is named after."""

import itertools

import pytest
import small_experiment

from cosmogan import config, shards
from cosmogan.training import setup
from hpc import settings
from hpc.cluster.machines import load_cluster

FOLDER = config.configs_folder()
OTHER = {"demo", "demo-box", "demo-cosmology", "demo-redshift", "feder2020", "feder2020-redshift", "web-32", "web-64"}
REPRODUCE = {f"reproduce-{scale}" for scale in ("smoke", "quarter", "full")}
DIFFERENCES = {
    "feder2020-gaussian": {"model.prior: student_t -> gaussian"},
    "feder2020-cauchy": {"model.prior: student_t -> cauchy"},
    "feder2020-mixture": {"model.prior: student_t -> gaussian_mixture"},
    "feder2020-kappa4": {"model.kappa: 45.0 -> 4.0"},
    "feder2020-kappa20": {"model.kappa: 45.0 -> 20.0"},
    "feder2020-kappa30": {"model.kappa: 45.0 -> 30.0"},
    "feder2020-half": {"n_training: None -> 16"},
    "feder2020-quarter": {"n_training: None -> 8"},
    "feder2020-eighth": {"n_training: None -> 4"},
    "feder2020-decay": {"train.rate_decay: 1.0 -> 0.5"},
    "best": {
        "model.discriminator_kappa: [] -> [0.5]",
        "train.random_crops: False -> True",
        "select.orient: False -> True",
        "select.calibrate: False -> True",
    },
    "feder2020-wgan": {
        "train.loss: bce -> wasserstein",
        "train.n_critic: 1 -> 5",
        "train.discriminator_rate: 5e-05 -> 0.0001",
        "train.betas: [0.5, 0.999] -> [0.0, 0.9]",
        "train.gate: 0.2 -> 0.0",
    },
}


def load(name):
    return config.load(FOLDER / f"{name}.yaml")


def test_every_file_is_known_here():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == OTHER | REPRODUCE | DIFFERENCES.keys()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_an_experiment_differs_from_the_main_one_in_what_it_is_named_after(name):
    main, experiment = load("feder2020"), load(name)
    found = set(settings.differences(settings.to_tree(main), settings.to_tree(experiment)))
    folders = {
        f"name: feder2020 -> {name}",
        f"output: runs/feder2020 -> runs/{name}",
        "data: None -> runs/feder2020",
    }
    assert found == folders | DIFFERENCES[name]
    assert experiment.snapshots == main.snapshots and experiment.shards_folder == main.shards_folder
    assert experiment.train_folder != main.train_folder


@pytest.mark.parametrize("name", ["feder2020", "demo"])
def test_a_generator_of_all_redshifts_is_trained_on_four_and_drawn_at_seven(name):
    main, experiment = load(name), load(f"{name}-redshift")
    assert experiment.model.condition == ("redshift",) and experiment.model.kappa == 4
    assert experiment.redshifts == (3, 1.5, 0.5, 0) and experiment.simulate.redshifts == (3, 2, 1.5, 1, 0.5, 0.25, 0)
    assert experiment.shards_folder != main.shards_folder  # which hold one redshift
    if name == "feder2020":
        assert experiment.simulations_folder == main.simulations_folder
        assert len(experiment.trained_on(range(36))) == 24 and experiment.train == main.train


def test_smaller_training_sets_are_parts_of_the_larger_and_hold_out_the_same():
    sets = [load(name) for name in ("feder2020", "feder2020-half", "feder2020-quarter", "feder2020-eighth")]
    simulations = [set(experiment.trained_on(range(36))) for experiment in sets]
    assert [len(numbers) for numbers in simulations] == [32, 16, 8, 4]
    assert all(small < large for large, small in itertools.pairwise(simulations))
    assert all(not numbers & {32, 33, 34, 35} for numbers in simulations)


def test_only_the_first_simulations_are_trained_on(tmp_path):
    small_experiment.write_shards(tmp_path / "shards", simulations=4)
    path = small_experiment.write(tmp_path)
    folder = shards.Folder(tmp_path / "shards")
    for n, expected in ((1, {0}), (2, {0, 1}), ("null", {0, 1, 3})):
        experiment = config.load(path, ["simulate.n_simulations=4", f"n_training={n}"])
        assert set(folder.simulations[setup.training_rows(experiment, folder)]) == expected
    experiment = config.load(path, ["preprocess.snapshots=[a]", "n_training=4"])
    with pytest.raises(ValueError, match="n_training: expected at most the 3 not held out, found 4"):
        setup.training_rows(experiment, folder)


@pytest.mark.parametrize(("name", "training", "held_out"), [("quarter", 8, 2), ("full", 32, 4)])
def test_the_reproduction_is_the_paper_at_redshift_0_straight_to_shards(name, training, held_out):
    main, experiment = load("feder2020"), load(f"reproduce-{name}")
    for section in ("cosmology", "preprocess", "model", "train", "select", "sample", "validate"):
        assert experiment.section(section) == main.section(section)
    assert experiment.straight_to_shards and experiment.simulate.redshifts == (0,)
    numbers = range(experiment.simulate.n_simulations)
    assert len(experiment.trained_on(numbers)) == training and len(experiment.held_out) == held_out
    assert experiment.data_folder != main.data_folder  # which keeps snapshots


@pytest.mark.parametrize(("name", "tasks"), [("one-gpu", 1), ("four-gpus", 4)])
def test_a_machine_with_gpus_has_a_process_for_each(name, tasks):
    stages = load_cluster(name).stages
    assert {stages[stage].tasks for stage in ("train", "select", "sample", "validate")} == {tasks}
    assert stages["simulate"].tasks == 1 and list(stages) == list(load_cluster("local").stages)


@pytest.mark.parametrize("name", sorted({*OTHER, *REPRODUCE, *DIFFERENCES}))
def test_the_processes_of_this_machine_share_the_batches(name):
    train, processes = load(name).train, load_cluster("local").stages["train"].tasks
    assert train.batch_size % (train.batch_norm_group * processes) == 0
