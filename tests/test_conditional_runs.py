"""Conditional runs from shards to a released generator."""

import dataclasses
import io
import shutil

import conditional_experiment
import numpy as np
import pytest
import small_experiment
from PIL import Image

import cosmogan
from cosmogan import config, preprocess, sample, select, shards, validate
from cosmogan.nbody import cosmology
from cosmogan.reporting import catalogue, figures_conditions
from cosmogan.reporting import conditions as reporting_conditions
from cosmogan.reporting.runs import Run
from cosmogan.shards import statistics_file
from cosmogan.shards.verify import verify
from cosmogan.statistics import power_spectrum, regions
from cosmogan.training import setup, subvolumes
from cosmogan.training.work import train
from cosmogan.validation import comparison
from hpc.distributed import Processes
from hpc.mpi import SerialComm

MORE = {"n_samples": 64, "samples_per_shard": 50}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A run that was trained and selected, and its generator."""
    experiment = conditional_experiment.load(tmp_path_factory.mktemp("conditional"))
    train(experiment, Processes())
    select.select(experiment, SerialComm())
    return experiment, cosmogan.load_generator(experiment.generator_path)


def test_a_released_generator_knows_its_conditions(released):
    generator = released[1]
    assert generator.conditions.names == ("redshift",) and generator.conditions.distinct == ((0.0,), (1.0,), (3.0,))
    assert generator.settings["conditions"]["high"] == [3.0]
    early, late = (generator.sample(4, seed=2, redshift=z) for z in (2.0, 0.0))
    assert early.shape == (4, 8, 8, 8) and not np.array_equal(early, late)
    assert np.array_equal(generator.sample(2, seed=2, first=2, redshift=2.0), early[2:])


def test_outside_of_the_trained_range_it_warns(released):
    with pytest.warns(UserWarning, match=r"redshift = 5 is outside .* 0 to 3"):
        released[1].sample(1, redshift=5.0)


@pytest.mark.parametrize("condition", [{}, {"redshift": 0.0, "omega_m": 0.3}, {"sigma_8": 0.8}])
def test_a_generator_takes_only_the_conditions_it_was_trained_on(released, condition):
    with pytest.raises(ValueError, match="condition: this generator is conditioned on redshift; found"):
        released[1].sample(1, **condition)


def test_all_conditions_of_the_held_out_simulations_are_drawn_from_the_same_latents(released):
    experiment, generator = released
    sample.sample(experiment, SerialComm())
    assert sample.stage(experiment).is_done() and verify(experiment.samples_folder)
    with shards.open(experiment.samples_folder) as drawn:
        assert drawn.redshift_values == (0.0, 1.0, 3.0) and len(drawn) == 24
        index = drawn.column("index")
        for z in drawn.redshift_values:
            rows = np.flatnonzero(drawn.redshifts == z)
            assert np.array_equal(index[rows], np.arange(8))
            np.testing.assert_allclose(drawn[rows], generator.sample(8, redshift=z), rtol=1e-5)


@pytest.fixture(scope="module")
def validated(released):
    """The same run, validated: z = 1 was drawn, but is said not to have been trained on."""
    experiment = conditional_experiment.load(released[0].folder.parent, redshifts=[3, 0], sample=MORE)
    sample.sample(experiment, SerialComm())
    validate.validate(experiment, SerialComm())
    return experiment, statistics_file.read(experiment.statistics_path)


def test_every_condition_is_compared_by_itself(validated):
    experiment, tree = validated
    group = tree["conditions"]
    assert group["values"].tolist() == [[0.0], [1.0], [3.0]] and group["trained"].tolist() == [1, 0, 1]
    with shards.open(experiment.shards_folder) as folder:
        for i, z in enumerate(group["values"][:, 0]):
            rows = np.flatnonzero((folder.simulations == 2) & (folder.redshifts == z))
            spectra = power_spectrum(folder[rows], folder.geometry.subvolume_size).power
            np.testing.assert_allclose(group["nbody_mean"][i], spectra.mean(0))
            np.testing.assert_allclose(group["nbody_percentiles"][i], np.percentile(spectra, (16, 50, 84), axis=0))
            assert group["nbody_density"][i] == pytest.approx(folder[rows].mean(), rel=1e-5)
            held = comparison.of_rows(folder, rows)
            density = folder[rows].mean(axis=(1, 2, 3), dtype=float)
            labels, halves = regions.halves(held.boxes, held.morton_index, density, 100, experiment.validate.seed)
            first = halves[0][labels]
            floor = spectra[first].mean(0) / spectra[~first].mean(0) - 1
            np.testing.assert_allclose(group["noise_floor"][i, 0], floor)
    assert tree["redshift"] == 0 and tree["n_generated"] == 64  # all else is compared at the latest redshift
    assert group["noise_floor"].shape == (3, 100, len(group["k"]))
    assert group["generated_mean"].shape == group["nbody_mean"].shape


def test_a_sequence_keeps_its_latents_from_the_earliest_redshift_to_the_latest(validated, released):
    tree = validated[1]["sequence"]
    z = tree["redshifts"]
    assert (z[0], z[-1]) == (3.0, 0.0) and (np.diff(z) < 0).all()
    growth = cosmology.growth(1 / (1 + z), 0.29)
    np.testing.assert_allclose(np.diff(growth), np.diff(growth).mean(), rtol=1e-3)
    first, second = (released[1].sample(32, redshift=float(one)) for one in z[:2])
    np.testing.assert_allclose(tree["slabs"][0], first[0, :1].mean(axis=0), rtol=1e-4)
    moved = 2 * second / (second + 4) - 2 * first / (first + 4)  # eq. (5), kappa = 4
    assert tree["field_step"][0] == pytest.approx(np.sqrt((moved**2).mean()), rel=1e-3)


def test_linear_theory_grows_the_earliest_power(validated):
    group = validated[1]["conditions"]
    order, linear = figures_conditions.linear_theory(group)
    assert group["values"][order, 0].tolist() == [3.0, 1.0, 0.0]
    np.testing.assert_allclose(linear[0], group["generated_percentiles"][2, 1])
    growth = cosmology.growth(np.array([0.25, 1.0]), 0.29)
    np.testing.assert_allclose(linear[2] / linear[0], (growth[1] / growth[0]) ** 2)


def test_the_report_judges_and_shows_the_way_between(validated):
    tree = validated[1]
    names = [row.name for row in reporting_conditions.rows(tree)]
    assert names == ["power_trained", "power_interpolated", "smooth_field", "smooth_power"]
    entries = {one.name: one for one in catalogue.CATALOGUE}
    names = ("conditions", "growth", "sequence", "steps")
    drawn = {name: catalogue.drawn(entries[name], [Run(tree)]) for name in names}
    assert "not trained on" in drawn["conditions"].caption
    group = tree["conditions"]
    for name, column in (("conditions", "z = 1: generated / N-body"), ("growth", "z = 1 generated median [(Mpc/h)^3]")):
        assert len(drawn[name].table[column]) == len(group["k"])
    with Image.open(io.BytesIO(catalogue.files(drawn["sequence"])[".gif"])) as moving:
        assert moving.n_frames == 31
    assert reporting_conditions.rows({}) == []
    assert catalogue.drawn(entries["sequence"], [Run({})]) == "the generator has no condition"


def test_one_redshift_is_drawn_by_its_option_and_a_strange_one_warns(released, python):
    experiment = released[0]
    for z, warns in (("0", False), ("4", True)):
        output = experiment.folder / f"at-{z}"
        arguments = [experiment.folder / "config.yaml", "--redshift", z, f"output={output}"]
        output.mkdir(exist_ok=True)
        shutil.copytree(experiment.generator_path.parent, output / "generator", dirs_exist_ok=True)
        experiment.freeze()
        done = python("cosmogan.sample", *arguments)
        assert done.returncode == 0, done.stderr
        assert ("warning: redshift = 4 is outside of what the generator was trained on, 0 to 3" in done.stdout) == warns
        assert shards.open(output / "samples").redshift_values == (float(z),)


def test_a_generator_of_one_kind_is_not_used_as_the_other(released):
    experiment = released[0]
    plain = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, condition=()))
    with pytest.raises(ValueError, match=r"conditioned on \['redshift'\], CONFIG's model\.condition is \[\]"):
        sample.sample(plain, SerialComm())
    conditional = dataclasses.replace(experiment.model, condition=("redshift", "omega_m"))
    with pytest.raises(ValueError, match=r"model\.condition: \['redshift'\] -> \['redshift', 'omega_m'\]"):
        sample.sample(dataclasses.replace(experiment, model=conditional), SerialComm())


def rows(folder, **changed):
    experiment = conditional_experiment.load(folder, **changed)
    opened = subvolumes.open_shards(experiment)
    return opened, setup.training_rows(experiment, opened)


def test_all_redshifts_of_the_training_simulations_are_trained_on_or_those_that_are_named(tmp_path):
    folder, found = rows(tmp_path)
    assert len(found) == 2 * 3 * conditional_experiment.ROWS and set(folder.simulations[found]) == {0, 1}
    folder, found = rows(tmp_path, redshifts=[3, 0])
    assert set(folder.redshifts[found]) == {0.0, 3.0} and len(found) == 2 * 2 * conditional_experiment.ROWS
    with pytest.raises(ValueError, match=r"redshifts: .* has 0, 1, 3, found 0\.5"):
        rows(tmp_path, redshifts=[3, 0.5])


def test_separate_boxes_give_each_simulation_one_redshift(tmp_path):
    folder, found = rows(tmp_path, redshifts=[3, 0], separate_boxes=True)
    pairs = set(zip(folder.simulations[found].tolist(), folder.redshifts[found].tolist(), strict=True))
    assert pairs == {(0, 3.0), (1, 0.0)} and len(found) == 2 * conditional_experiment.ROWS


def test_numbers_of_the_simulations_are_conditions_too(tmp_path):
    experiment = conditional_experiment.load(tmp_path, condition=["redshift", "omega_m"], held_out=[1])
    folder = subvolumes.open_shards(experiment)
    training = setup.training_conditions(experiment, folder, setup.training_rows(experiment, folder))
    distinct = training.conditions.distinct
    assert {omega_m for _, omega_m in distinct} == {0.2, 0.4} and len(distinct) == 6
    assert np.isnan(folder.geometry.mean_cell_mass)  # each Ω_m has its own


def test_a_condition_that_the_shards_do_not_carry_is_refused(tmp_path):
    experiment = conditional_experiment.load(tmp_path, condition=["redshift", "sigma_8"])
    with pytest.raises(ValueError, match=r"model\.condition: .* does not carry sigma_8, it has redshift, omega_m, h"):
        setup.prepare(experiment, Processes())


def test_an_unconditional_run_keeps_its_record(tmp_path):
    experiment = small_experiment.load(tmp_path)
    plain = experiment.section("model", "train", "simulate", "select", "sample", "preprocess")
    assert not any(name in plain[section] for section, name in config.CONDITIONAL)
    conditional = config.load(tmp_path / "small.yaml", ["model.condition=[redshift]"]).section("model")
    assert conditional["model"]["condition"] == ["redshift"]
    assert len(shards.open(experiment.shards_folder).shards[0].parameters) == 0


@pytest.mark.slow
def test_the_demo_of_all_redshifts_goes_through_in_small(tmp_path):
    """The file as it is, but for the number of boxes and particles and for how long it trains."""
    small = ["simulate.n_simulations=4", "simulate.n_particles=24", "preprocess.n_mesh=48", "held_out=[3]"]
    small += ["train.epochs=1", "select.first_epoch=1", "select.n_samples=64", "select.n_tune=16"]
    small += ["sample.n_samples=32"]
    experiment = config.load(config.configs_folder() / "demo-redshift.yaml", [*small, f"output={tmp_path}"])
    for stage in (preprocess.preprocess, select.select, sample.sample, validate.validate):
        if stage is select.select:
            train(experiment, Processes())
        stage(experiment, SerialComm())
    tree = statistics_file.read(experiment.statistics_path)
    assert len(tree["conditions"]["values"]) == len(experiment.simulate.redshifts)
    assert tree["conditions"]["trained"].tolist() == [1, 0, 1, 0, 1, 0, 1]
