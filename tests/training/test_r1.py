"""The R1 penalty: its gradient against autograd group by group and finite differences, and in which steps it counts."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from cosmogan.config import Model, Train
from cosmogan.gan import latent, scaling
from cosmogan.gan.conditions import TrainingConditions
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from cosmogan.training.update import R1_INTERVAL
from hpc.distributed import Processes

PLAIN = Model(kappa=4.0, width=4, latent_dimension=6, density_bias=True)
CONDITIONAL = Model(kappa=4.0, width=4, latent_dimension=6, condition=("redshift",))
M = 16  # cells a side: the smallest discriminator with a BatchNorm
R1 = 3.0


def make(model=PLAIN, **train):
    """A trainer at its first step, with larger weights of the discriminator, so that its slope counts."""
    settings = Train(**{"batch_size": 8, "batch_norm_group": 4, "gate": 0.0, "precision": "float64"} | train)
    made = Trainer(LatentDesign(model, M), settings, 100, Processes(), torch.device("cpu"))
    with torch.no_grad():
        for parameter in made.discriminator.parameters:
            parameter *= 4
    made.restore(made.state())  # for copies of lower precision
    return made


def batch(model=PLAIN):
    density = 3 * torch.rand(8, 1, M, M, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if not model.condition:
        return Batch(density)
    return Batch(density, TrainingConditions(model, np.arange(8.0)[:, None], "training").of_batch(np.arange(8), 1, 0))


def gradients(made, taken):
    """The discriminator's gradients in the next step."""
    made.update(taken, (False, False))
    return [parameter.grad.clone() for parameter in made.discriminator.parameters]


def textbook(made, taken):
    """The next step's loss as a function of (network, differentiable?): each group by itself, |∇D|² of each sample."""
    conditions = () if taken.conditions is None else (taken.conditions.real.double(),)
    z = torch.cat((latent.draw(made.model, 1, latent.DISCRIMINATOR, 0, 8).double(), *conditions), 1)
    with torch.no_grad():
        fakes = copy.deepcopy(made.generator.network)(z[:, :, None, None, None])
    reals = scaling.scale(taken.density, 4.0)

    def loss(network, differentiable):
        total = 0.0
        for rows in torch.arange(8).split(4):
            of_group = [one[rows] for one in conditions]
            x = reals[rows].requires_grad_()
            out = network(x, *of_group)
            (slope,) = torch.autograd.grad(out.sum(), x, create_graph=differentiable, retain_graph=True)
            squared = torch.stack([one.norm() ** 2 for one in slope]).mean()
            fake = network(fakes[rows], *of_group)
            total = total + (softplus(-out) + softplus(fake)).mean() / 2 + R1_INTERVAL * R1 / 2 * squared / 2
        return total

    return loss


@pytest.mark.parametrize("model", [PLAIN, CONDITIONAL], ids=["plain", "conditional"])
def test_the_gradient_is_the_textbooks_and_that_of_finite_differences(model):
    made, taken = make(model, r1=R1), batch(model)
    network, loss = copy.deepcopy(made.discriminator.network), textbook(made, taken)
    found = gradients(made, taken)
    expected = torch.autograd.grad(loss(network, True), list(network.parameters()))
    torch.testing.assert_close(found, list(expected))
    assert any((a - b).norm() > 0.1 * a.norm() for a, b in zip(found, gradients(make(model), taken), strict=True))
    random, step = torch.Generator().manual_seed(2), 1e-6
    along = [torch.randn(p.shape, generator=random, dtype=p.dtype) * p.detach().abs() for p in network.parameters()]
    values = []
    for sign in (1, -1):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            for parameter, direction in zip(moved.parameters(), along, strict=True):
                parameter += sign * step * direction
        values.append(loss(moved, False).item())
    slope = sum((g * direction).sum() for g, direction in zip(found, along, strict=True)).item()
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def test_a_relativistic_loss_is_penalised_at_fakes_too():
    made, taken = make(r1=R1, loss="relativistic"), batch()
    network = copy.deepcopy(made.discriminator.network)
    z = latent.draw(made.model, 1, latent.DISCRIMINATOR, 0, 8).double()[:, :, None, None, None]
    fakes = copy.deepcopy(made.generator.network)(z).detach()
    found = gradients(made, taken)
    total, outs = 0.0, []
    for x in (scaling.scale(taken.density, 4.0), fakes):
        x.requires_grad_()
        outs.append([network(one[None]).squeeze() for one in x])
        slopes = torch.autograd.grad(sum(outs[-1]), x, create_graph=True)[0]
        total = total + R1_INTERVAL * R1 / 2 * sum(one.norm() ** 2 for one in slopes) / 8
    total = total + sum(softplus(fake - real) for real, fake in zip(*outs, strict=True)) / 8
    torch.testing.assert_close(found, list(torch.autograd.grad(total, list(network.parameters()))))


def test_it_counts_in_every_16th_step_alone_and_not_in_what_is_recorded():
    for step in (0, 1, R1_INTERVAL // 2, R1_INTERVAL - 1, R1_INTERVAL):
        with_it, without = make(r1=R1), make()
        with_it.step = without.step = step
        outcomes = [made.update(batch(), (False, False)) for made in (with_it, without)]
        assert outcomes[0].loss_discriminator == outcomes[1].loss_discriminator
        same = torch.equal(with_it.discriminator.gradients, without.discriminator.gradients)
        assert same == (step % R1_INTERVAL != 0)


def test_lower_precisions_take_the_same_gradient(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # slow without, but the same
    found = {}
    for precision in ("float64", "float32", "bf16"):
        made = make(r1=R1, precision=precision)
        made.update(batch(), (False, False))
        found[precision] = made.discriminator.gradients.double()
    exact = found["float64"]
    for precision, tolerance in (("float32", 1e-4), ("bf16", 0.1)):
        assert (found[precision] - exact).norm() < tolerance * exact.norm()
