import json

import numpy as np
import pytest
import torch

import cosmogan
from cosmogan.config import Model
from cosmogan.gan import latent, networks, released, symmetry

MODEL = Model(kappa=4.0, width=4, latent_dimension=6, density_bias=True)
SETTINGS = {
    "model": {"kappa": 4.0, "width": 4, "latent_dimension": 6, "density_bias": True, "subvolume": 8}
    | {"prior": "student_t", "degrees_of_freedom": 10.0},
    "geometry": {"redshift": 0.0, "box_size": 128.0, "n_mesh": 32, "subvolume": 8, "mean_cell_mass": 5.0, "window": 2},
    "latent_scale": 0.985,
}


@pytest.fixture
def path(tmp_path):
    network = networks.generator(MODEL, 8, 4)
    networks.initialise(network, 1, output=-0.5)
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(8, 6, 1, 1, 1))  # running statistics of its own
    released.write(tmp_path / "generator.safetensors", network, SETTINGS)
    return tmp_path / "generator.safetensors"


def test_samples_do_not_know_their_batch(path):
    generator = released.load(path)
    together = generator.sample(12, seed=3, first=5, batch_size=12)
    assert together.shape == (12, 8, 8, 8) and together.dtype == np.float32 and (together > 0).all()
    for batch_size in (1, 5):
        np.testing.assert_allclose(generator.sample(12, 3, 5, batch_size), together, rtol=2e-6)
    np.testing.assert_allclose(generator.sample(1, seed=3, first=9)[0], together[4], rtol=2e-6)
    assert not np.allclose(generator.sample(1, seed=4, first=9)[0], together[4])


def test_a_bound_is_the_densest_that_a_cell_can_be_and_changes_no_other(path):
    free = released.load(path).sample(12)
    bound = float(np.median(free))
    network = released.load(path).network
    released.write(path, network, {**SETTINGS, "max_density": bound})
    np.testing.assert_array_equal(released.load(path).sample(12), np.minimum(free, np.float32(bound)))


def test_an_oriented_generator_turns_each_volume_as_its_latents_say(path):
    generator = released.load(path)
    latents = generator.latents(3, np.arange(12))
    volumes = generator.volumes(latents)
    released.write(path, generator.network, {**SETTINGS, "oriented": True})
    turned = released.load(path).volumes(latents)
    numbers = latent.orientations(latents)
    assert len(set(numbers)) > 6
    for volume, other, number in zip(volumes, turned, numbers, strict=True):
        torch.testing.assert_close(other, symmetry.oriented(volume, number), rtol=0, atol=0)


def test_the_network_comes_back_whole(path):
    generator = released.load(path)
    assert not generator.network.training
    assert generator.network[1].running_var.min() > 0 and generator.network[1].running_mean.abs().max() > 0
    assert generator.geometry == SETTINGS["geometry"]


def test_weights_of_16_bit_numbers_take_half_the_space_and_draw_the_same(path):
    generator, size = released.load(path), path.stat().st_size
    before = generator.sample(4)
    released.rounded(generator.network)
    rounded = generator.sample(4)
    assert 0 < np.abs(rounded / before - 1).max() < 0.05
    released.write(path, generator.network, SETTINGS)
    np.testing.assert_array_equal(released.load(path).sample(4), rounded)
    assert path.stat().st_size < 0.6 * size


def test_the_latent_scale_counts(path):
    generator = released.load(path)
    ours = generator.sample(2)
    generator.latent_scale = 1.0
    assert not np.allclose(generator.sample(2), ours)


def test_numbers_in_any_order_are_the_same_samples(path):
    generator = released.load(path)
    index = np.array([5, 2, 3, 11])
    expected = generator.sample(12, seed=3)[index]
    np.testing.assert_allclose(generator.volumes(generator.latents(3, index)).numpy(), expected, rtol=2e-6)
    assert generator.latents(3, index[:0]).shape == (0, 6)


def test_who_may_read_the_settings_may_read_the_weights(path):
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode


def test_it_is_one_call_from_python(path):
    volumes = cosmogan.load_generator(path).sample(3, seed=7)
    np.testing.assert_array_equal(volumes, released.load(path).sample(3, seed=7))


def rewrite(path, **changes):
    settings_path = path.with_suffix(".json")
    settings_path.write_text(json.dumps(json.loads(settings_path.read_text()) | changes))


def test_a_wrong_or_damaged_file_is_one_line(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"????")
    with pytest.raises(ValueError, match=r"generator\.safetensors: damaged"):
        released.load(path)
    path.write_bytes(whole)
    rewrite(path, model=SETTINGS["model"] | {"width": 5})
    with pytest.raises(ValueError, match=r"^[^\n]*another shape[^\n]*$"):
        released.load(path)
    rewrite(path, model={"width": 4})
    with pytest.raises(ValueError, match=r"generator\.json: damaged"):
        released.load(path)
    rewrite(path, model=SETTINGS["model"] | {"prior": "levy"})
    with pytest.raises(ValueError, match=r"generator\.json: damaged: .*model\.prior: expected one of student_t"):
        released.load(path)
    for wrong in (0, -1, float("nan"), 50):
        rewrite(path, model=SETTINGS["model"], latent_scale=wrong)
        with pytest.raises(ValueError, match=r"generator\.json: expected a latent_scale in \(0, 10\]"):
            released.load(path)
    rewrite(path, format="something")
    with pytest.raises(ValueError, match="expected format cosmogan-generator/2, found 'something'"):
        released.load(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"generator\.json: not found; run `select`"):
        released.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model: expected a section with settings, found None"),
        ({"model": SETTINGS["model"] | {"width": "wide"}}, "model.width: expected a whole number, found 'wide'"),
        ({"model": SETTINGS["model"] | {"subvolume": 8.5}}, "and 8.5 and 8 cells a side"),
        ({"geometry": [8]}, r"geometry: expected a section with settings, found \[8\]"),
        ({"geometry": {"subvolume": "8"}}, "subvolume: expected a whole number, found '8'"),
        ({"geometry": {"subvolume": 12}}, "subvolume: the networks expect 8, 16, 32"),
        ({"latent_scale": None}, "latent_scale: expected a number, found None"),
        ({"max_density": "all"}, "max_density: expected a number, found 'all'"),
        ({"oriented": 1}, "oriented: expected true or false, found 1"),
        ({"model": SETTINGS["model"] | {"condition": ["redshift"]}}, "conditions: expected names, .* found None"),
    ],
)
def test_a_setting_of_another_type_is_one_line_that_names_it(path, changes, message):
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=rf"^\S*generator\.json: .*{message}[^\n]*$"):
        released.load(path)


def test_another_file_as_weights_is_one_line(tmp_path):
    (tmp_path / "weights").write_bytes(b"no tensors here at all")
    with pytest.raises(ValueError, match="weights: not a readable safetensors file"):
        released.load_weights(networks.generator(MODEL, 8, 4), tmp_path / "weights")
