import numpy as np
import pytest
import torch
from scipy.special import expit

from cosmogan.config import Model
from cosmogan.gan import networks, released
from cosmogan.sampling import acceptance
from cosmogan.training import learner

MODEL = Model(kappa=4.0, width=4, latent_dimension=6)


def test_the_acceptance_is_the_papers_formula():
    logits, bound, epsilon, gamma = np.array([-3.0, 0.0, 1.2, 2.0]), 2.0, 0.01, 0.4
    ratio = np.exp(logits - bound)
    papers = expit(logits - np.log(1 - ratio * np.exp(-epsilon)) - bound - gamma)
    np.testing.assert_allclose(acceptance.acceptance(logits, bound, epsilon, gamma), papers, rtol=1e-12)
    plain = acceptance.acceptance(logits[:3], bound, 1e-12, 0.0)
    np.testing.assert_allclose(plain, ratio[:3], rtol=1e-9)  # α = exp(d - d_M)


def test_a_logit_beyond_the_bound_counts_as_one_at_it():
    beyond, at = acceptance.acceptance(np.array([50.0, 2.0]), 2.0, 0.01, 0.0)
    assert beyond == at == pytest.approx(1 / (2 - np.exp(-0.01)), rel=1e-9)


def test_with_a_perfect_discriminator_the_samples_that_are_kept_are_the_datas():
    random = np.random.default_rng(0)
    x = random.standard_normal(200_000)  # the data's are N(0.5, 0.8²)
    logits = -((x - 0.5) ** 2) / (2 * 0.8**2) - np.log(0.8) + x**2 / 2
    kept = x[random.random(len(x)) < acceptance.acceptance(logits, logits.max(), 1e-3, 0.0)]
    assert len(kept) > 10_000
    assert kept.mean() == pytest.approx(0.5, abs=0.02) and kept.std() == pytest.approx(0.8, abs=0.02)


def test_the_discriminator_learns_and_nothing_else_does():
    networks_ = networks.generator(MODEL, 16, 1), networks.discriminator(MODEL, 16, 1)
    for seed, network in enumerate(networks_):
        networks.initialise(network, seed, output=0.0)
    settings = {"model": {"kappa": 4.0, "width": 4, "latent_dimension": 6}, "geometry": {"subvolume": 16}}
    generator = released.Released({**settings, "latent_scale": 1.0}, networks_[0])
    before = {name: value.clone() for name, value in networks_[0].state_dict().items()}
    statistics = [buffer.clone() for buffer in networks_[1].buffers()]
    made = learner.Learner(networks_[1], 1e-2, (0.5, 0.999), None)
    real = torch.exp(torch.randn(100, 8, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert statistics
    losses = list(acceptance.refine(made, real, generator, seed=1))
    assert losses[0] == pytest.approx(2 * np.log(2), abs=0.1) and losses[-1] < 0.2
    assert all(torch.equal(before[name], value) for name, value in networks_[0].state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(statistics, networks_[1].buffers(), strict=True))
    of_real, of_fake = (acceptance.logits_of(networks_[1], x, 4.0) for x in (real[0, :, 0], generator.draw(1, 0, 8)))
    assert (of_real > 0).all() and (of_fake < 0).all()
