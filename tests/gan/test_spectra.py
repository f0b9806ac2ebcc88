"""What a discriminator sees of power spectra: against numpy, their gradients, their units, and for any grouping."""

import copy

import numpy as np
import pytest
import torch

from cosmogan.config import Model
from cosmogan.gan import networks, scaling, spectra
from cosmogan.training.learner import Learner

M, KAPPA = 8, 4.0


def scaled(n, seed=1, dtype=torch.float64):
    density = torch.from_numpy(np.random.default_rng(seed).lognormal(size=(n, 1, M, M, M))).to(dtype)
    return scaling.scale(density, KAPPA)


def make(kappas=(1.0, 3000.0), group=4, dtype=torch.float64):
    return spectra.Spectra(kappas, KAPPA, M, group).to(dtype)


def textbook(x, kappa):
    """ln P(k) of (m, m, m) scaled cells, mode by mode."""
    density = scaling.unscale(x.clone(), KAPPA).numpy()
    modes = np.abs(np.fft.fftn(density / (1 + density / kappa))) ** 2
    axis = np.fft.fftfreq(M, 1 / M)
    q = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).astype(int)
    return np.array([np.log(modes[q == i].mean()) for i in range(1, q.max() + 1)])


def test_the_units_are_those_of_the_first_batches_of_real_samples():
    one = make()
    batches = [scaled(4, seed) for seed in range(int(spectra.FOLLOWED) + 3)]
    for batch in batches:
        one.follow(batch)
    seen = torch.cat(batches[:-3])
    found = np.array([np.concatenate([textbook(x[0], kappa) for kappa in one.kappas]) for x in seen])
    np.testing.assert_allclose(one.mean, found.mean(0), rtol=1e-6)
    np.testing.assert_allclose((one.squared - one.mean**2).sqrt(), found.std(0), rtol=1e-6)


def test_gradients_are_those_of_finite_differences():
    one = make()
    for _ in range(2):
        one.follow(scaled(8))
    x = scaled(4, seed=2).requires_grad_()
    torch.autograd.gradcheck(one, x, eps=1e-6, atol=1e-5, nondet_tol=0)
    (slope,) = torch.autograd.grad(one(x).sum(), x, create_graph=True)
    slope.square().sum().backward()  # as in a penalty
    assert all(p.grad.isfinite().all() for p in one.layers.parameters() if p.grad is not None)


def test_the_densest_cells_that_tanh_gives_have_finite_slopes():
    before = torch.full((2, 1, M, M, M), -20.0)
    before[:, :, 0, 0, 0] = torch.tensor([9.5, 3.0])[:, None]
    before.requires_grad_()
    one = make(group=1, dtype=torch.float32)
    for _ in range(2):
        one.follow(scaled(4, dtype=torch.float32))
    out = one(before.tanh())
    (slope,) = torch.autograd.grad(out.sum(), before)
    assert out.isfinite().all() and slope.isfinite().all() and slope[1].abs().max() > 0


def test_a_samples_logit_depends_on_its_group_and_on_no_other():
    one, x = make(), scaled(8)
    for _ in range(2):
        one.follow(x)
    together = one(x)
    torch.testing.assert_close(together[4:], one(x[4:]))
    assert (one(torch.cat((x[:3], x[4:5])))[:3] - together[:3]).abs().max() > 1e-3
    one.eval()
    torch.testing.assert_close(one(x)[:1], one(x[:1]))


def test_lower_precisions_see_the_same_spectra():
    one, x = make(dtype=torch.float32), scaled(8, dtype=torch.float32)
    for _ in range(2):
        one.follow(x)
    assert torch.equal(Learner(torch.nn.Sequential(one), 1e-3, (0.5, 0.9), torch.bfloat16)(x), one(x))
    network = networks.discriminator(Model(width=4, discriminator_power=(1.0,)), 8, 2)
    networks.initialise(network, 1, output=0.0)
    rough = Learner(network, 1e-3, (0.5, 0.9), torch.bfloat16)(x)
    torch.testing.assert_close(rough, network(x), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", ["discriminator", "critic"])
def test_networks_that_see_them_begin_as_those_that_do_not(kind):
    plain, seeing = (Model(width=4, discriminator_power=kappas) for kappas in ((), (1.0, 3000.0)))
    options = (16, 2) if kind == "discriminator" else (16,)
    without, with_it = (getattr(networks, kind)(model, *options) for model in (plain, seeing))
    for network in (without, with_it):
        networks.initialise(network, 3, output=0.0)
    torch.testing.assert_close(with_it[0].state_dict(), without.state_dict())
    x = scaling.scale(torch.rand(4, 1, 16, 16, 16), 45.0)
    assert with_it(x).shape == (4, 1, 1, 1, 1)
    assert copy.deepcopy(with_it)(x).equal(with_it(x))
