import json
import sys

import h5py
import numpy as np
import pytest
from conftest import run
from small_experiment import GEOMETRY, load, write

from cosmogan import config, sample, shards
from cosmogan.gan import networks, released
from hpc.mpi import SerialComm


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


def test_without_a_generator_it_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match=r"generator\.json: not found; run `select`"):
        draw(tmp_path)


def test_a_finished_stage_loads_no_torch(released_at):
    draw(released_at)
    code = """
import sys
from cosmogan import config, sample, select, train
from hpc.mpi import SerialComm
experiment = config.load(sys.argv[1])
sample.sample(experiment, SerialComm())
assert not select.done(experiment) and not train.done(experiment)
print("torch" in sys.modules)
"""
    done = run([sys.executable, "-c", code, write(released_at)])
    assert done.stdout.endswith("False\n"), done.stdout + done.stderr
