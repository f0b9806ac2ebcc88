import json

import numpy as np
import pytest
import torch

import cosmogan
from cosmogan.config import Model
from cosmogan.gan import latent, networks, released, symmetry
from cosmogan.gan.calibration import Calibration, Tables
from cosmogan.gan.conditions import Conditions

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
    volumes = generator(latents)
    released.write(path, generator.network, {**SETTINGS, "oriented": True})
    turned = released.load(path)(latents)
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
    np.testing.assert_allclose(generator(generator.latents(3, index)).numpy(), expected, rtol=2e-6)
    assert generator.latents(3, index[:0]).shape == (0, 6)


def test_who_may_read_the_settings_may_read_the_weights(path):
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode


def test_it_is_one_call_from_python(path):
    volumes = cosmogan.load_generator(path).sample(3, seed=7)
    np.testing.assert_array_equal(volumes, released.load(path).sample(3, seed=7))


def test_batches_are_the_samples_in_parts(path):
    generator = released.load(path)
    batches = list(generator.batches(12, seed=3, first=5, batch_size=5))
    assert [(batch.shape, batch.dtype) for batch in batches] == [((n, 8, 8, 8), np.float32) for n in (5, 5, 2)]
    np.testing.assert_array_equal(np.concatenate(batches), generator.sample(12, seed=3, first=5, batch_size=5))
    assert generator.sample(0).shape == (0, 8, 8, 8)
    with pytest.raises(ValueError, match=r"expected n of 0 or more .*, found -1, 64"):
        generator.batches(-1)  # at once, not when the first is taken


@pytest.fixture
def conditional(tmp_path):
    """A calibrated generator conditioned on the redshift, which its kappa depends on too."""
    model = {**SETTINGS["model"], "condition": ["redshift"], "kappa_redshift": 0.5}
    conditions = Conditions.of(("redshift",), np.array([[0.0], [1.0], [3.0]])).plain()
    score = torch.linspace(-6, 6, 49)
    base = Tables(score, score, torch.tensor([0.2, 0.1, -0.3]), 0.9 * score, 1.1 * score, torch.zeros(1))
    tables = Tables(*(torch.stack([values, 0.02 * torch.arange(len(values))]) for values in base))
    network = networks.generator(released.model_of({"model": model}), 8, 1)
    networks.initialise(network, 1, output=-0.5)
    path, settings = tmp_path / "conditional.safetensors", SETTINGS | {"model": model, "conditions": conditions}
    released.write(path, network, settings, calibration=Calibration(torch.tensor([0.0, 1.0, 4.0]), tables))
    return released.load(path)


@pytest.mark.filterwarnings("error")
def test_gradients_to_latents_and_conditions_are_those_of_differences(conditional):
    generator = conditional.double()
    latents = generator.latents(1, np.arange(2)).double().requires_grad_()
    redshifts = torch.tensor([[0.5], [2.0]], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (weight * generator(latents, redshifts)).sum().backward()
    for x, place, step in ((latents, (0, 2), 1e-4), (redshifts, (0, 0), 1e-3), (redshifts, (1, 0), 1e-3)):
        before = x.detach().clone()
        sums = []
        for sign in (1, -1):
            x.data[place] = before[place] + sign * step
            sums.append((weight * generator(latents, redshifts)).sum().item())
        x.data.copy_(before)
        assert float(x.grad[place]) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=2e-3)


def test_without_gradients_asked_for_there_are_none_and_training_mode_is_refused(path):
    generator = released.load(path)
    latents = generator.latents(1, np.arange(3))
    alone = generator(latents[:1])
    assert not alone.requires_grad
    whole = torch.nn.Sequential(generator).train()
    torch.testing.assert_close(whole(latents)[:1], alone, rtol=2e-6, atol=0)


def test_it_moves_as_a_whole(conditional):
    tensors = {*conditional.network.state_dict(), *conditional.calibration.state_dict()}
    assert conditional.to("cpu").sample(1, redshift=1.0).any() and conditional.device == torch.device("cpu")
    moved = conditional.to("meta").state_dict()
    assert conditional.device == torch.device("meta") and len(moved) == len(tensors)
    assert all(value.is_meta for value in moved.values())


def test_latents_and_conditions_of_another_shape_are_one_line(path, conditional):
    plain, latents, redshifts = released.load(path), torch.zeros(2, 6), torch.zeros(3, 1)
    with pytest.raises(ValueError, match=r"^latents: expected \(n, 6\), found \(2, 5\)$"):
        plain(latents[:, :5])
    with pytest.raises(ValueError, match=r"^conditions: expected none, found \(3, 1\)$"):
        plain(latents, redshifts)
    for given, found in ((redshifts, r"\(3, 1\)"), (None, "none")):
        with pytest.raises(ValueError, match=rf"^conditions: expected \(2, 1\), numbers of redshift, found {found}$"):
            conditional(latents, given)


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
