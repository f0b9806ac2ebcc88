import pytest
from conftest import ROOT

from cosmogan import cli, config
from cosmogan.config.__main__ import reference
from hpc.settings import SettingsError, to_tree

CONFIGS = sorted(config.configs_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_experiments_that_come_with_it_load(path):
    experiment = config.load(path)
    one_pattern = "{simulation" in experiment.snapshots[0]  # where there are several redshifts
    assert experiment.name and (one_pattern or len(experiment.snapshots) == experiment.simulate.n_simulations)
    assert 0 < len(experiment.held_out) < experiment.simulate.n_simulations


def test_the_main_experiment_has_the_papers_numbers():
    e = config.load(config.configs_folder() / "feder2020.yaml")
    assert (e.preprocess.n_mesh, e.preprocess.subvolume, e.preprocess.n_subvolumes) == (512, 64, 512)
    assert (e.model.kappa, e.model.latent_dimension, e.model.degrees_of_freedom) == (45, 100, 10)
    assert (e.train.epochs, e.train.batch_size, e.train.batch_norm_group) == (150, 16, 4)
    assert (e.train.generator_rate, e.train.discriminator_rate, e.train.betas) == (1e-4, 5e-5, (0.5, 0.999))
    assert (e.train.rate_end, e.train.ema, e.model.density_bias) == (1.0, None, False)
    assert e.simulate.box_size == pytest.approx(512 * e.cosmology.h)
    assert len(e.held_out) == 4 and e.simulate.n_simulations - len(e.held_out) == 32


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preprocess.subvolume=60", r"preprocess\.subvolume: expected a divisor of n_mesh = 512, found 60"),
        ("train.batch_norm_group=5", r"train\.batch_norm_group: expected a divisor of batch_size = 16, found 5"),
        ("model.kappa=0", r"model\.kappa: expected a positive density"),
        ("model.prior=cauchyy", r"model\.prior: expected one of student_t, gaussian, cauchy, \w+, found 'cauchyy'"),
        ("simulate.redshifts=[0,1]", r"simulate\.redshifts: expected a falling list"),
        ("simulate.box_size=-1", r"simulate\.box_size: expected a positive length"),
        ("cosmology.omega_b=0.5", r"cosmology\.omega_b: expected a number between 0 and omega_m"),
        ("cosmology.n_s=96", r"cosmology\.n_s: expected a slope near 1, as 0.96, found 96"),
        ("cosmology.sigma_8=82", r"cosmology\.sigma_8: expected a positive number, as 0.8, found 82"),
        ("simulate.box_size=.inf", r"simulate\.box_size: expected a positive length in Mpc/h, found inf"),
        ("simulate.redshift_initial=2", r"simulate\.redshift_initial: expected more than the first of redshifts"),
        ("train.betas=[0.5]", r"train\.betas: expected two numbers"),
        ("model.mixture_fraction=2", r"model\.mixture_fraction: expected a number in \[0, 1\], found 2"),
        ("n_training=0", r"n_training: expected at least 1 or null, found 0"),
        ("n_training=33", r"n_training: expected at most the 32 not held out, found 33"),
        ("sample={from_latents: a, rejection: true}", r"sample\.from_latents: a file of latents says what is drawn"),
        ("select.n_calibrate=0", r"select\.n_calibrate: expected at least 1, found 0"),
        ("select.generator=a", r"select\.generator: expected null without calibrate"),
        ("held_out=[99]", r"held_out: expected simulations from 0 to 35, found 99"),
        ("run.ranks=2", r"run: unknown setting"),
    ],
)
def test_impossible_values_are_named(override, message):
    with pytest.raises(SettingsError, match=message):
        config.load(config.configs_folder() / "feder2020.yaml", [override])


def test_a_config_in_a_folder_named_after_a_setting_is_no_override(tmp_path):
    path = tmp_path / "kappa=4" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("name: mine\noutput: here\n")
    assert cli.load([str(path), "train.epochs=3"]).train.epochs == 3


def test_cosmogan_yaml_in_the_working_folder_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.default_config() == config.configs_folder() / "demo.yaml"
    (tmp_path / "cosmogan.yaml").write_text("name: mine\noutput: here\n")
    assert config.default_config().resolve() == tmp_path / "cosmogan.yaml"


def test_a_section_is_plain_data():
    experiment = config.Experiment("a", "b")
    assert experiment.section("validate")["validate"] == to_tree(experiment.validate)


def test_a_command_says_which_config_it_took(tmp_path, python):
    (tmp_path / "cosmogan.yaml").write_text("name: mine\noutput: here\npreprocess: {snapshots: [none]}\n")
    done = python("cosmogan.preprocess", "preprocess.n_mesh=64", cwd=tmp_path)
    assert done.stdout.startswith("no CONFIG given: using cosmogan.yaml")
    assert done.returncode == 1 and "none: not found" in done.stderr


def test_the_page_of_settings_is_that_of_the_code():
    """To renew it: ``python -m cosmogan.config > docs/settings.md``."""
    assert (ROOT / "docs" / "settings.md").read_text() == reference()
