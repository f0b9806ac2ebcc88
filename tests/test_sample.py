import json
import re
import sys

import h5py
import numpy as np
import pytest
from conftest import run
from small_experiment import GEOMETRY, load, write

from cosmogan import config, sample, select, shards
from cosmogan.gan import networks, released
from cosmogan.shards import latents_file
from cosmogan.statistics import power_spectrum
from cosmogan.training.work import train
from cosmogan.validation import comparison, proposals
from hpc.distributed import Processes
from hpc.mpi import SerialComm
from hpc.settings import SettingsError


@pytest.fixture
def released_at(tmp_path):
    """An experiment with a released generator, untrained."""
    experiment = load(tmp_path)
    network = networks.generator(experiment.model, 8, 4)
    networks.initialise(network, 1, output=networks.mean_output(4.0))
    model = experiment.section("model")["model"] | {"subvolume": 8}
    geometry = {name: getattr(GEOMETRY, name) for name in GEOMETRY.__dataclass_fields__}
    settings = {"model": model, "geometry": geometry, "latent_scale": 1.02}
    released.write(experiment.generator_path, network, settings)
    return tmp_path


def draw(folder, *overrides):
    experiment = config.load(write(folder), overrides)
    sample.sample(experiment, SerialComm())
    return shards.Folder(experiment.samples_folder)


def test_samples_are_shards_like_any_other(released_at, capsys):
    folder = draw(released_at)
    assert folder.kind == "generated" and folder.geometry == GEOMETRY and len(folder) == 20
    files = sorted((released_at / "run/samples").glob("*.h5"))
    assert [path.name for path in files] == [f"samples-{first:08d}.h5" for first in (0, 8, 16)]
    with h5py.File(files[1]) as file:
        assert list(file["index"]) == list(range(8, 16)) and set(file["seed"][:]) == {1}
        sha256 = json.loads((released_at / "run/generator/generator.json").read_text())["sha256"]
        assert json.loads(file.attrs["source"])["generator"] == sha256
    generator = released.load(released_at / "run/generator/generator.safetensors")
    np.testing.assert_allclose(folder.read(np.arange(20)), generator.sample(20), rtol=2e-6)
    capsys.readouterr()
    draw(released_at)
    assert capsys.readouterr().out.startswith("sample: done:")


def test_batches_shards_and_ranks_change_nothing(released_at, mpirun):
    expected = draw(released_at).read(np.arange(20))
    other = draw(released_at, "sample.batch_size=7", "sample.samples_per_shard=20")
    np.testing.assert_allclose(other.read(np.arange(20)), expected, rtol=2e-6)
    done = mpirun(2, "cosmogan.sample", write(released_at))
    assert done.returncode == 0, done.stderr
    again = shards.Folder(released_at / "run/samples")
    np.testing.assert_array_equal(again.read(np.arange(20)), expected)


def test_whole_shards_are_kept_and_the_others_drawn_again(released_at):
    draw(released_at)
    kept, lost, damaged = sorted((released_at / "run/samples").glob("*.h5"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:2000])
    (released_at / "run/samples/manifest.json").unlink()
    expected = released.load(released_at / "run/generator/generator.safetensors").sample(20)
    np.testing.assert_allclose(draw(released_at).read(np.arange(20)), expected, rtol=2e-6)
    assert kept.stat().st_mtime_ns == before


def test_another_seed_or_generator_draws_anew(released_at):
    first = draw(released_at).read(np.arange(20))
    second = draw(released_at, "sample.seed=2").read(np.arange(20))
    assert not np.allclose(first, second)
    settings = released_at / "run/generator/generator.json"
    settings.write_text(settings.read_text().replace("1.02", "1.2"))
    assert not np.allclose(draw(released_at, "sample.seed=2").read(np.arange(20)), second)


@pytest.fixture
def command_line(python):
    """Run the command with options as a user would."""

    def call(folder, *arguments):
        done = python("cosmogan.sample", write(folder), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_latents_are_an_archive_that_gives_the_volumes_back(released_at, command_line):
    expected = draw(released_at).read(np.arange(20))
    said = command_line(released_at, "--latents", "sample.n_samples=19")
    archived = released_at / "run/latents.h5"
    assert said == f"sample: drew 19 latents: {archived}\n" and archived.stat().st_size < 19 * 8**3 * 4
    assert shards.is_complete(released_at / "run/samples")
    kept = archived.rename(released_at / "kept.h5")
    command_line(released_at, "--from-latents", kept, "output=" + str(released_at / "run"))
    again = shards.Folder(released_at / "run/samples")
    assert len(again) == 19
    np.testing.assert_array_equal(again.read(np.arange(19)), expected[:19])
    assert command_line(released_at, "--from-latents", kept).startswith("sample: done: ")


def test_another_runs_generator_is_drawn_from_by_its_file(released_at, tmp_path_factory, command_line):
    file = released_at / "run/generator/generator.safetensors"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command_line(elsewhere, f"sample.generator={file}", "-n", "7")
    expected = released.load(file).sample(7)
    np.testing.assert_allclose(shards.Folder(elsewhere / "run/samples").read(np.arange(7)), expected, rtol=2e-6)
    assert "expected no generator" in refused_setting(elsewhere, f"sample.generator={file}", "sample.rejection=true")


def test_what_was_drawn_is_summed_up_and_shown(released_at, command_line):
    picture = released_at / "drawn.png"
    said = command_line(released_at, "--figure", picture)
    assert "sample: drew 20 volumes" in said and "20 of 8³ cells" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    assert command_line(released_at, "--figure", picture).startswith("sample: done: ") and picture.exists()
    assert "expected a name that ends in .png or .pdf" in refused_setting(released_at, "sample.figure=drawn.gif")
    assert "latents make none" in refused_setting(released_at, "sample.figure=a.png", "sample.latents_only=true")


def refused_setting(folder, *overrides):
    with pytest.raises(SettingsError) as error:
        config.load(write(folder), overrides)
    return str(error.value)


def refused(folder, *overrides):
    with pytest.raises(ValueError) as error:
        draw(folder, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_other_files_of_latents_are_refused(released_at):
    sample.sample(config.load(write(released_at), ["sample.latents_only=true"]), SerialComm())
    path = released_at / "run/latents.h5"
    override = f"sample.from_latents={path}"
    with h5py.File(path, "r+") as file:
        file["latent"][3, 2] = np.nan
    assert "damaged: expected seed, index and finite numbers" in refused(released_at, override)
    with h5py.File(path, "r+") as file:
        file.attrs["generator"] = "f" * 64
    assert "latents of another generator (sha256 ffffffffffff…" in refused(released_at, override)
    with h5py.File(path, "r+") as file:
        del file["latent"]
        file["latent"] = np.zeros((20, 7), np.float32)
    assert "expected latents of 6 numbers, found an array of shape (20, 7)" in refused(released_at, override)
    shard = sorted((released_at / "shards").glob("*.h5"))[0]
    assert "expected an archive of latents, cosmogan-latents/1" in refused(released_at, f"sample.from_latents={shard}")
    assert "none.h5: not found" in refused(released_at, "sample.from_latents=none.h5")
    path.write_bytes(path.read_bytes()[:500])
    assert "not a readable archive of latents" in refused(released_at, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.prior=gaussian", "(model.prior: student_t -> gaussian)"),
        ("model.degrees_of_freedom=3", "(model.degrees_of_freedom: 10.0 -> 3.0)"),
        ("model.kappa=45", "(model.kappa: 4.0 -> 45.0)"),
    ],
)
def test_another_prior_or_model_than_the_generators_is_refused(released_at, override, message):
    draw(released_at)
    assert f"generator.json: trained with other settings than CONFIG's {message}: " in refused(released_at, override)


def test_a_generator_of_other_subvolumes_is_refused(released_at):
    settings_path = released_at / "run/generator/generator.json"
    settings = json.loads(settings_path.read_text())
    settings_path.write_text(json.dumps(settings | {"geometry": settings["geometry"] | {"redshift": 1.5}}))
    assert "the generator draws redshift 1.5, CONFIG asks for 0" in refused(released_at)
    settings_path.write_text(json.dumps(settings))
    elsewhere = f"preprocess={{output: {released_at / 'none'}, n_mesh: 32, subvolume: 16}}"
    assert "the generator draws subvolume 8, CONFIG asks for 16" in refused(released_at, elsewhere)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training with its released generator."""
    folder = tmp_path_factory.mktemp("trained")
    train(load(folder), Processes())
    select.select(load(folder), SerialComm())
    return folder


def judged(folder):
    with np.load(folder / "run/rejection.npz") as file:
        return {name: file[name] for name in ("logit", "norm", "accepted")}


def test_rejection_keeps_some_samples_of_a_seed_whatever_ranks_and_batches(trained, mpirun, capsys):
    settings = ["sample.rejection=true", "sample.rejection_bound=100", "sample.rejection_gamma=6.5"]
    folder = draw(trained, *settings)
    said = capsys.readouterr().out
    assert "trained the discriminator on for 80 steps" in said and "sample: accepted 20 of " in said
    kept = np.concatenate([h5py.File(path)["index"][:] for path in sorted(folder.path.glob("*.h5"))])
    found, density = judged(trained), folder.read(np.arange(20))
    np.testing.assert_array_equal(np.flatnonzero(found["accepted"]), kept)
    assert kept[-1] == len(found["logit"]) - 1 > 2 * 64
    generator = released.load(trained / "run/generator/generator.safetensors")
    np.testing.assert_allclose(generator.sample(1, 1, first=int(kept[15]))[0], density[15], rtol=2e-6)
    np.testing.assert_allclose(found["norm"][:9], generator.latents(1, np.arange(9)).norm(dim=1), rtol=1e-6)

    with np.load(trained / "run/rejection.npz") as file:  # as if stopped after ten samples
        first_ten = {name: file[name][:10] if file[name].ndim else file[name] for name in file}
    np.savez(trained / "run/rejection.npz", **first_ten)
    (trained / "run/samples/manifest.json").unlink()
    done = mpirun(2, "cosmogan.sample", write(trained), *settings, "sample.batch_size=3")
    assert done.returncode == 0 and "trained the discriminator" not in done.stdout, done.stdout + done.stderr
    again = judged(trained)
    assert all(np.array_equal(found[name], again[name]) for name in found)

    (trained / "run/rejection.npz").write_bytes(b"PK\x03\x04 cut off")  # is judged anew
    sample.sample(config.load(write(trained), [*settings, "sample.latents_only=true"]), SerialComm())
    with h5py.File(trained / "run/latents.h5") as file:
        np.testing.assert_array_equal(file["index"][:], kept)

    fewer = draw(trained, *settings, "sample.rejection_gamma=7.5")
    assert len(fewer) == 20 and len(judged(trained)["logit"]) > 1.2 * len(found["logit"])


def test_rejection_needs_a_discriminator_that_accepts(trained, monkeypatch):
    monkeypatch.setattr("cosmogan.sampling.rejection.ENOUGH", 128)
    said = refused(trained, "sample.rejection=true", "sample.rejection_gamma=50", "sample.rejection_bound=9")
    assert re.match(r"sample\.rejection: only 0 of \d+ samples accepted; lower sample\.rejection_gamma", said)
    critic = ("sample.rejection=true", "sample.rejection_epochs=9", "train.loss=wasserstein", "train.gate=0")
    assert "expected train.loss = bce, found wasserstein: a critic" in refused(trained, *critic)


def test_without_a_generator_it_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match=r"generator\.json: not found; run `select`"):
        draw(tmp_path)


def test_a_finished_stage_loads_no_torch(released_at):
    draw(released_at)
    code = """
import sys
from cosmogan import config, sample, select, train
from hpc.mpi import SerialComm
from cosmogan.training.plan import TrainingStage
experiment = config.load(sys.argv[1])
sample.sample(experiment, SerialComm())
assert not select.stage(experiment).is_done() and not TrainingStage(experiment).is_done()
print("torch" in sys.modules)
"""
    done = run([sys.executable, "-c", code, write(released_at)])
    assert done.stdout.endswith("False\n"), done.stdout + done.stderr


def test_validate_measures_all_samples_beside_the_accepted_ones(released_at):
    draw(released_at)  # as if these had been accepted
    experiment = config.load(write(released_at), ["sample.rejection=true"])
    found = proposals.everything(experiment, comparison.of_experiment(experiment), released_at / "kept", SerialComm())
    volumes = released.load(experiment.generator_path).sample(20)
    spectra = power_spectrum(volumes, experiment.preprocess.subvolume * GEOMETRY.cell_size).power
    np.testing.assert_allclose(found["proposals"]["samples"], spectra, rtol=1e-5)
    assert proposals.everything(config.load(write(released_at)), None, released_at, SerialComm()) == {}


def test_latents_that_are_in_no_file_are_missed(tmp_path):
    with h5py.File(tmp_path / "latents.h5", "w") as file:
        file.attrs.update(format=latents_file.FORMAT, generator="a")
        file.create_dataset("latent", (3, 4), "f4")
        file["seed"] = file["index"] = np.arange(3)
    with pytest.raises(ValueError, match=r"latents.h5: latent: none of its numbers were written"):
        latents_file.read(tmp_path / "latents.h5", "a", 4)
