"""The calibration of a released generator, from shards to its file."""

import json

import conditional_experiment
import numpy as np
import pytest
import small_experiment
from safetensors.torch import load_file, save_file

import cosmogan
from cosmogan import config, select, shards
from cosmogan.gan import released
from cosmogan.selection import calibration
from cosmogan.statistics import power
from cosmogan.training.work import train
from hpc.distributed import Processes
from hpc.files import checksum
from hpc.mpi import SerialComm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that was trained and selected without calibration."""
    folder = tmp_path_factory.mktemp("calibrated")
    train(small_experiment.load(folder), Processes())
    select.select(config.load(small_experiment.write(folder), ["select.n_tune=0"]), SerialComm())
    return folder


def given(folder, output, *more):
    """Return an experiment that calibrates the released generator, in another run folder."""
    path = folder / "run/generator/generator.safetensors"
    settings = [f"select.generator={path}", "select.calibrate=true", "select.n_calibrate=128", f"output={output}"]
    return config.load(small_experiment.write(folder), [*settings, *more])


@pytest.fixture(scope="module")
def calibrated(folder):
    """The same generator calibrated."""
    experiment = given(folder, folder / "given")
    select.select(experiment, SerialComm())
    return experiment


def test_a_released_generator_is_calibrated_with_no_run_of_its_own(folder, calibrated, capsys):
    path = calibrated.generator_path
    generator, plain = cosmogan.load_generator(path), released.load(folder / "run/generator/generator.safetensors")
    with shards.open(folder / "shards") as held_out:
        real = held_out[128:]
    spectra = [power.power_spectrum(x, 32.0).power.mean(0) for x in (plain.sample(64), generator.sample(64), real)]
    before, after = (np.abs(np.log(found / spectra[2])).max() for found in spectra[:2])
    assert before > 2 and after < 0.7 * before
    quantiles = [np.quantile(x, [0.02, 0.1, 0.5, 0.9, 0.98]) for x in (generator.sample(64), real)]
    np.testing.assert_allclose(*quantiles, rtol=0.25)
    settings = json.loads(path.with_suffix(".json").read_text())
    assert settings["format"] == "cosmogan-generator/2" and settings["latent_scale"] == 1
    assert settings["calibration"]["kept"] and settings["calibration"]["after"] < settings["calibration"]["before"]
    assert settings["config"] == plain.settings["config"] and settings["sha256"] == checksum(path)
    select.select(calibrated, SerialComm())
    assert capsys.readouterr().out == f"select: done: {path}\n"


def test_it_is_drawn_as_trained_too(folder, calibrated):
    generator = cosmogan.load_generator(calibrated.generator_path)
    plain = cosmogan.load_generator(folder / "run/generator/generator.safetensors")
    released.rounded(plain.network)
    np.testing.assert_array_equal(generator.as_trained().sample(5, seed=2), plain.sample(5, seed=2))
    assert not np.allclose(generator.sample(5, seed=2), generator.as_trained().sample(5, seed=2))
    np.testing.assert_allclose(generator.sample(5, seed=2)[3], generator.sample(1, seed=2, first=3)[0], rtol=1e-5)


def test_any_ranks_make_the_same_file(folder, calibrated, mpirun):
    given(folder, folder / "ranks").freeze()
    done = mpirun(3, "cosmogan.select", folder / "ranks/config.yaml")
    assert done.returncode == 0, done.stderr
    assert (folder / "ranks/generator/generator.safetensors").read_bytes() == calibrated.generator_path.read_bytes()


def test_stopped_it_goes_on_from_what_is_fitted(folder, calibrated, monkeypatch):
    experiment, fit, fitted = given(folder, folder / "stopped"), calibration.fit, []

    def stopping(*args):
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(args)
        return fit(*args)

    with monkeypatch.context() as patched:
        patched.setattr(calibration, "fit", stopping)
        with pytest.raises(KeyboardInterrupt):
            select.select(experiment, SerialComm())
    monkeypatch.setattr(calibration, "fit", lambda *args: fitted.append(args) or fit(*args))
    select.select(experiment, SerialComm())
    assert len(fitted) == 3  # two folds, and all
    assert experiment.generator_path.read_bytes() == calibrated.generator_path.read_bytes()


def test_a_calibration_that_is_no_better_is_not_kept(folder, monkeypatch, capsys):
    fit = calibration.fit

    def spoilt(*args):
        tables = fit(*args)
        return tables._replace(calibrated=tables.calibrated + 5)

    monkeypatch.setattr(calibration, "fit", spoilt)
    experiment = given(folder, folder / "spoilt")
    select.select(experiment, SerialComm())
    assert "select: not calibrated, as that is no better" in capsys.readouterr().out
    generator = cosmogan.load_generator(experiment.generator_path)
    assert generator.calibration is None and not generator.settings["calibration"]["kept"]


def test_a_training_ends_with_its_calibration(folder):
    path = small_experiment.write(folder)
    experiment = config.load(path, ["select.calibrate=true", "select.n_calibrate=128", f"output={folder / 'run'}"])
    assert not select.stage(experiment).is_done()
    select.select(experiment, SerialComm())
    scores = json.loads((folder / "run/select/scores.json").read_text())
    assert len(scores["candidates"]) == 6 and scores["chosen"]["calibration"]["kept"] and not scores["chosen"]["trials"]
    assert cosmogan.load_generator(experiment.generator_path).calibration is not None


def test_a_conditional_generator_is_calibrated_by_its_conditions(tmp_path):
    experiment = conditional_experiment.load(tmp_path, select={"n_samples": 48, "calibrate": True, "n_calibrate": 384})
    train(experiment, Processes())
    select.select(experiment, SerialComm())
    generator = cosmogan.load_generator(experiment.generator_path)
    assert generator.settings["calibration"]["kept"] and generator.settings["calibration"]["order"] >= 1
    with shards.open(tmp_path / "shards") as folder:
        for redshift in (0.0, 3.0):
            real = folder[np.flatnonzero(folder.redshifts == redshift)]
            drawn = generator.sample(32, redshift=redshift)
            assert np.log(drawn + 1e-3).std() == pytest.approx(np.log(real + 1e-3).std(), rel=0.2)
    values = np.array([[0.0], [3.0], [0.0]])
    latents = generator.latents(1, np.arange(3))
    together = generator(latents, values)
    np.testing.assert_allclose(together[1:2], generator(latents[1:2], values[1:2]), rtol=1e-5)


def test_shards_of_another_kind_are_refused(folder):
    for number, (name, changed) in enumerate({"cell size": {"box_size": 64.0}, "redshift": {"redshift": 1.0}}.items()):
        other = folder / f"other-{number}"
        geometry = shards.Geometry(**{**vars(small_experiment.GEOMETRY), **changed})
        for i in range(3):
            with shards.create(other / f"simulation-{i:03d}.h5", 64, geometry, "simulated", {}) as file:
                file["density"][:], file["simulation"][:], file["corner"][:] = 1, i, small_experiment.CORNERS
        lines = [shards.describe(path) for path in sorted(other.glob("*.h5"))]
        shards.write_manifest(other, geometry, "simulated", lines, {})
        with pytest.raises(ValueError, match=rf"other-{number}: {name} .*, but select\.generator .* draws {name} "):
            select.select(given(folder, folder / f"run-{number}", f"preprocess.output={other}"), SerialComm())


def test_what_is_missing_or_too_little_is_one_line(folder):
    with pytest.raises(ValueError, match=r"^[^\n]*nowhere/manifest.json[^\n]*$"):
        select.select(given(folder, folder / "none", f"preprocess.output={folder / 'nowhere'}"), SerialComm())
    with pytest.raises(ValueError, match=r"select\.n_calibrate: 4 samples of 8³ cells .* it takes at least 80"):
        select.select(given(folder, folder / "few", "select.n_calibrate=4"), SerialComm())
    with pytest.raises(ValueError, match=r"nothing\.json: not found"):
        select.select(
            given(folder, folder / "none", f"select.generator={folder / 'nothing.safetensors'}"), SerialComm()
        )
    with pytest.raises(ValueError, match=r"select\.generator: expected null without calibrate"):
        given(folder, folder / "none", "select.calibrate=false")


def test_a_damaged_calibration_is_one_line(calibrated, tmp_path):
    weights, settings = load_file(calibrated.generator_path), calibrated.generator_path.with_suffix(".json")
    for name, change in {"falls": "knots that fall", "gone": "calibrated"}.items():
        path = tmp_path / f"{name}.safetensors"
        changed = dict(weights)
        if name == "falls":
            changed["calibration.calibrated"] = weights["calibration.calibrated"].flip(1)
        else:
            del changed["calibration.calibrated"]
        save_file(changed, path, metadata={"format": released.GENERATOR})
        record = json.loads(settings.read_text()) | {"sha256": checksum(path)}
        path.with_suffix(".json").write_text(json.dumps(record))
        with pytest.raises(
            ValueError, match=rf"^[^\n]*{name}\.safetensors: its calibration is damaged: [^\n]*{change}"
        ):
            released.load(path)


def test_a_generator_of_the_first_format_is_read_as_it_was(folder, calibrated, tmp_path):
    plain = cosmogan.load_generator(folder / "run/generator/generator.safetensors").as_trained()
    path = tmp_path / "old.safetensors"
    released.write(path, plain.network, {**plain.settings, "latent_scale": 0.9, "max_density": 2.0})
    record = json.loads(path.with_suffix(".json").read_text()) | {"format": "cosmogan-generator/1"}
    path.with_suffix(".json").write_text(json.dumps(record))
    old = released.load(path)
    assert old.sample(8).max() <= 2 < old.as_trained().sample(8).max() and old.latent_scale == 0.9
    experiment = given(folder, tmp_path / "again", f"select.generator={path}")
    select.select(experiment, SerialComm())
    made = released.load(experiment.generator_path)
    assert made.latent_scale == 1 and "max_density" not in made.settings and made.calibration is not None
