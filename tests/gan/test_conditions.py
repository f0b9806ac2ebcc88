import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosmogan.config import Model, Train
from cosmogan.gan import latent, networks
from cosmogan.gan.conditions import BatchConditions, Conditions, TrainingConditions
from cosmogan.gan.layers import ConditionedConv
from cosmogan.training.dataset import Batch, Share, TrainingSet
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from hpc.distributed import Processes

MODEL = Model(kappa=4.0, width=4, latent_dimension=6, condition=("redshift",))
REDSHIFTS = np.array([0.0] * 5 + [0.5] * 3 + [1.5] * 5 + [3.0] * 7)
CONDITIONS = Conditions.of(MODEL.condition, REDSHIFTS[:, None])
CPU = torch.device("cpu")


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_one_number_makes_the_papers_networks_of_101_latents():
    model = Model(condition=("redshift",))
    assert count(networks.generator(model, 64, 4)) == 4_410_304
    assert count(networks.discriminator(model, 64, 4)) == 2_771_840 + 64 * 4**3  # a channel more of its second layer


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (4, 1, 0)])
def test_constant_channels_that_are_never_made_do_what_real_ones_do(kernel, stride, padding):
    layer = ConditionedConv(3 + 2, 5, kernel, stride, padding).double()
    x = torch.randn(4, 3, 8, 8, 8, dtype=torch.float64)
    conditions = torch.randn(4, 2, dtype=torch.float64)
    full = torch.cat((x, conditions[:, :, None, None, None].expand(-1, -1, 8, 8, 8)), dim=1)
    ours, theirs = layer(x, conditions), F.conv3d(full, layer.weight, layer.bias, stride, padding)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    found = [torch.autograd.grad((weights * out).sum(), list(layer.parameters())) for out in (ours, theirs)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_conditions_are_standardised_over_the_distinct_ones():
    values = np.array([[0.0, 0.2], [0.0, 0.2], [0.0, 0.4], [3.0, 0.4], [3.0, 0.2]])
    made = Conditions.of(("redshift", "omega_m"), values)
    seen = made.standardised(np.array(made.distinct))
    torch.testing.assert_close(seen.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.ones(2))
    assert made.low == [0.0, 0.2] and made.high == [3.0, 0.4]
    assert Conditions.read(made.plain()) == made
    for damaged in ({"known": [[1, 2, 3]]}, {"known": []}, {"known": [0.5]}, {"names": "z"}):
        with pytest.raises(ValueError, match=r"^conditions: expected names, and in known as many numbers each; found"):
            Conditions.read(made.plain() | damaged)


def test_what_leaves_the_trained_range_is_named():
    made = Conditions(("redshift",), ((0.0,), (3.0,)))
    assert made.outside(np.array([[0.0], [3.0001], [1.0]])) == []
    assert made.outside(np.array([[3.5]])) == ["redshift = 3.5 is outside of what the generator was trained on, 0 to 3"]


def test_a_number_that_is_always_the_same_is_refused():
    with pytest.raises(ValueError, match=r"model\.condition: all training subvolumes have omega_m = 0\.3"):
        Conditions.of(("omega_m",), np.full((4, 1), 0.3))


def test_kappa_falls_with_the_redshift_where_it_is_asked_to():
    made = Conditions(("redshift",), ((0.0,), (3.0,)))
    values = np.array([[0.0], [3.0]])
    assert made.kappa(MODEL, values) == 4.0
    found = made.kappa(Model(kappa=4.0, condition=("redshift",), kappa_redshift=0.5), values)
    torch.testing.assert_close(found, torch.tensor([4.0, 2.0])[:, None, None, None, None])


def training_set(prior="training"):
    conditions = TrainingConditions(MODEL, REDSHIFTS[:, None], prior)
    cubes = np.arange(20, dtype=np.float32)[:, None, None, None] * np.ones((20, 4, 4, 4), np.float32)
    return TrainingSet(cubes.__getitem__, np.arange(20), 4, CPU, CPU, conditions)


def take(data, part, n, stride=8):
    return list(itertools.islice(data.batches(1, 0, stride, part), n))


def test_every_batch_holds_each_condition_as_often():
    seen = []
    for batch in take(training_set(), Share(0, 8), 35):
        rows = batch.density[:, 0, 0, 0, 0].numpy().astype(int)
        assert sorted(REDSHIFTS[rows]) == [0.0, 0.0, 0.5, 0.5, 1.5, 1.5, 3.0, 3.0]
        torch.testing.assert_close(batch.conditions.real, CONDITIONS.standardised(REDSHIFTS[rows, None]))
        seen.extend(rows)
    counts = np.bincount(seen)
    for z, times in ((0.0, 14), (1.5, 14), (3.0, 10)):  # each condition passes over its own rows
        assert (counts[z == REDSHIFTS] == times).all()


def test_parts_of_a_batch_are_the_batch():
    whole = take(training_set("uniform"), Share(0, 8), 3)
    parts = [take(training_set("uniform"), Share(offset, 4), 3) for offset in (0, 4)]
    for i, batch in enumerate(whole):
        assert torch.equal(batch.density, torch.cat([part[i].density for part in parts]))
        for name in ("real", "fake"):
            assert torch.equal(
                getattr(batch.conditions, name), torch.cat([getattr(part[i].conditions, name) for part in parts])
            )


def test_without_conditions_the_order_is_one_permutation_a_pass():
    data = TrainingSet(lambda rows: rows, np.arange(20), 4, CPU, CPU)
    for number in (0, 3):
        expected = np.argsort(latent.bits(1, latent.SHUFFLE, number, (1, 20))[0])
        assert np.array_equal(data.places(1, np.arange(20 * number, 20 * number + 20)), expected)


def test_fakes_take_conditions_of_the_training_set_or_of_a_uniform_prior():
    low, high = (CONDITIONS.standardised(np.array([[z]])).item() for z in (0.0, 3.0))
    same, uniform = (take(training_set(prior), Share(0, 8), 50) for prior in ("training", "uniform"))
    assert all(torch.equal(batch.conditions.fake, batch.conditions.real) for batch in same)
    drawn = torch.cat([batch.conditions.fake for batch in uniform])
    assert low < drawn.min() < low + 0.05 and high - 0.05 < drawn.max() < high
    assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=0.15)


def batch():
    places = np.array([0, 6, 9, 19, 1, 7, 10, 14])
    conditions = TrainingConditions(MODEL, REDSHIFTS[:, None], "training").of_batch(places, 1, 0)
    return Batch(torch.rand(8, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1)) * 3, conditions)


@pytest.mark.parametrize("loss", ["bce", "wasserstein"])
def test_both_networks_learn_from_the_condition(loss):
    settings = Train(batch_size=8, batch_norm_group=4, loss=loss, gate=0.0, generator_rate=0.01)
    made = Trainer(LatentDesign(MODEL, 16), settings, 10, Processes(), CPU)
    first = made.generator.network[0]
    own = next(layer for layer in made.discriminator.network if isinstance(layer, ConditionedConv))
    before = first.weight[-1].clone(), own.weight[:, -1].clone()  # the weights of the condition
    made.update(batch(), (False, False))
    assert not torch.equal(first.weight[-1], before[0]) and not torch.equal(own.weight[:, -1], before[1])
    previews = [Batch(torch.empty(2, 0), BatchConditions(*[torch.full((2, 1), z)] * 2, 1.0)) for z in (1.0, -1.0)]
    assert not torch.equal(*map(made.preview_samples, previews))


def test_an_unconditional_network_has_nothing_of_it():
    network = networks.discriminator(Model(), 16, 4)
    assert type(network) is nn.Sequential and not any(isinstance(layer, ConditionedConv) for layer in network)
