import copy
import math

import pytest
import torch

from cosmogan.config import Model, Train
from cosmogan.gan import latent, scaling
from cosmogan.training import learner, schedule, trainer
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from cosmogan.training.update import Collapse
from hpc.distributed import Processes

MODEL = Model(kappa=4.0, width=4, latent_dimension=6)
NO_VOTES = (False, False)


def fakes(seed, first, n):
    """What consecutive fakes of an unconditional generator are drawn for."""
    return Batch(torch.empty(n, 0))


def make(model=MODEL, **train):
    settings = Train(**{"batch_size": 8, "batch_norm_group": 4, "epochs": 2} | train)
    return Trainer(LatentDesign(model, 8), settings, 10, Processes(), torch.device("cpu"))


def densities():
    return Batch(torch.rand(8, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1)) * 3)


def weights(network):
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])


def test_a_step_is_the_textbooks():
    """Against separate passes, textbook losses and torch's own Adam, with no shared buffer."""
    ours = make(gate=0.0)
    generator, discriminator = copy.deepcopy(ours.generator.network), copy.deepcopy(ours.discriminator.network)
    ours.update(densities(), NO_VOTES)
    for network, rate in ((discriminator, 5e-5), (generator, 1e-4)):
        network.zero_grad(set_to_none=True)
        network.optimizer = torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))
    z = [
        latent.draw(MODEL, 1, stream, 0, 8)[:, :, None, None, None]
        for stream in (latent.DISCRIMINATOR, latent.GENERATOR)
    ]
    real, fake = scaling.scale(densities().density, 4.0), generator(z[0]).detach()
    loss = (
        -torch.log(torch.sigmoid(discriminator(real))).mean() - torch.log(1 - torch.sigmoid(discriminator(fake))).mean()
    )
    loss.backward()
    discriminator.optimizer.step()
    (-torch.log(torch.sigmoid(discriminator(generator(z[1])))).mean()).backward()
    generator.optimizer.step()
    # Adam's first step is the rate times the gradient's sign: nearly all of it must agree to far less than the rate
    for mine, theirs in ((ours.discriminator.network, discriminator), (ours.generator.network, generator)):
        difference = (weights(mine) - weights(theirs)).abs()
        assert difference.quantile(0.99) < 1e-6


@pytest.mark.parametrize(("gate", "steps"), [(0.0, True), (1.0, False)])
def test_the_gate_rests_the_discriminator(gate, steps):
    made = make(gate=gate)
    before = weights(made.discriminator.network), weights(made.generator.network)
    outcome = made.update(densities(), NO_VOTES)
    assert outcome.gate_rate == float(steps)
    assert (outcome.gradient_discriminator is None) != steps
    assert bool(made.discriminator.gradients.any()) == steps  # none are computed in the generator's step
    assert torch.equal(weights(made.discriminator.network), before[0]) != steps
    assert not torch.equal(weights(made.generator.network), before[1])


def test_the_gate_opens_only_above_its_score():
    score = make().update(densities(), NO_VOTES).score_fake
    assert make(gate=score).update(densities(), NO_VOTES).gate_rate == 0
    assert make(gate=score - 1e-6).update(densities(), NO_VOTES).gate_rate == 1


def test_the_average_counts_samples():
    made = make(ema=40)
    start = weights(made.ema)
    made.update(densities(), NO_VOTES)
    now, weight = weights(made.generator.network), 1 - math.exp(-8 / 40)
    torch.testing.assert_close(weights(made.ema), start + weight * (now - start))


def test_the_average_is_drawn_from_with_the_statistics_of_its_own_samples():
    made = make(ema=40, generator_rate=1e-2)
    made.update(densities(), NO_VOTES)
    made.calibrate(fakes)
    first, norm = made.ema[:2]
    with torch.no_grad():
        out = first(latent.draw(MODEL, 1, latent.CALIBRATE, 0, trainer.CALIBRATION)[:, :, None, None, None])
    torch.testing.assert_close(norm.running_mean, out.mean((0, 2, 3, 4)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, out.var((0, 2, 3, 4)), rtol=0.05, atol=0)
    assert norm.momentum == 0.1 and not torch.equal(norm.running_mean, made.generator.network[1].running_mean)
    before = copy.deepcopy(made.ema.state_dict())
    made.calibrate(fakes)
    torch.testing.assert_close(made.ema.state_dict(), before, rtol=0, atol=0)  # nothing of it is random


def test_rates_are_held_and_then_fall():
    falling = [schedule.rate_factor(Train(rate_end=0.1), p, 0) for p in (0, 0.5, 0.75, 1)]
    assert falling == pytest.approx([1, 1, 0.55, 0.1])
    assert schedule.rate_factor(Train(), 0.9, 10**6) == 1
    made = make(rate_end=0.5, generator_rate=1e-3)
    made.step = 15  # of 20
    made.update(densities(), NO_VOTES)
    assert made.generator.optimizer.param_groups[0]["lr"] == pytest.approx(0.75e-3)


def test_a_discriminator_that_lags_behind_gets_a_higher_rate_and_one_that_leads_a_lower_one():
    pace = schedule.Pace(1.0)
    for _ in range(250):
        pace.add(1.386)
    assert pace.log == pytest.approx(250 * 0.01 * 0.386) and pace.discriminator == pytest.approx(math.exp(pace.log / 2))
    for _ in range(5000):
        pace.add(math.log(4))
    assert (pace.discriminator, pace.generator) == pytest.approx((8, 1 / 8))
    for _ in range(5000):
        pace.add(0.1)
    assert (pace.discriminator, pace.generator) == pytest.approx((1 / 8, 1))  # one that leads is slowed down
    made = make(discriminator_loss=1.0, generator_rate=1e-3, discriminator_rate=1e-4)
    made.pace.log = 2 * math.log(4)
    made.update(densities(), NO_VOTES)
    rates = [float(one.optimizer.param_groups[0]["lr"]) for one in (made.generator, made.discriminator)]
    assert rates == pytest.approx([1e-3 / 4, 4e-4])


def test_rates_decay_with_the_generators_steps():
    halved = Train(rate_decay=0.5)
    assert [schedule.rate_factor(halved, 0.9, n) for n in (0, 999, 1000, 2500)] == [1, 1, 0.5, 0.25]
    made = make(rate_decay=0.5, decay_every=2, n_critic=3, gate=0)
    made.step = 9  # the generator took three steps
    made.update(densities(), NO_VOTES)
    assert made.discriminator.optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-5)


WASSERSTEIN = {"loss": "wasserstein", "gate": 0.0, "betas": (0.0, 0.9), "n_critic": 2}


def test_a_wasserstein_step_is_the_textbooks():
    ours = make(**WASSERSTEIN)
    generator, critic = copy.deepcopy(ours.generator.network), copy.deepcopy(ours.discriminator.network)
    before = weights(ours.generator.network)
    outcome = ours.update(densities(), NO_VOTES)
    assert torch.equal(weights(ours.generator.network), before) and outcome.loss_generator is None
    z = latent.draw(MODEL, 1, latent.DISCRIMINATOR, 0, 8)[:, :, None, None, None]
    real, fake = scaling.scale(densities().density, 4.0), generator(z).detach()
    mix = torch.from_numpy(latent.uniform(1, latent.MIX, 0, (8, 1))).float()[:, :, None, None, None]
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    norms = [torch.autograd.grad(critic(one[None]).sum(), one, create_graph=True)[0].norm() for one in between]
    loss = critic(fake).mean() - critic(real).mean() + 10 * torch.stack([(n - 1) ** 2 for n in norms]).mean()
    assert outcome.loss_discriminator == pytest.approx(loss.item(), rel=1e-5)
    critic.zero_grad(set_to_none=True)
    optimizer = torch.optim.Adam(critic.parameters(), 5e-5, (0.0, 0.9))
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in critic.parameters()]).norm()
    torch.testing.assert_close(outcome.gradient_discriminator, norm)
    optimizer.step()
    assert (weights(ours.discriminator.network) - weights(critic)).abs().quantile(0.99) < 1e-6
    outcome = ours.update(densities(), NO_VOTES)  # the generator's turn, after two of the critic
    assert outcome.loss_generator is not None and not torch.equal(weights(ours.generator.network), before)


def test_a_relativistic_step_is_the_textbooks():
    """The generator's fakes are to look more real than the real samples, to the discriminator that took its step."""
    ours = make(loss="relativistic", gate=0.0)
    generator, discriminator = copy.deepcopy(ours.generator.network), copy.deepcopy(ours.discriminator.network)
    outcome = ours.update(densities(), NO_VOTES)
    real = scaling.scale(densities().density, 4.0)
    z = [
        latent.draw(MODEL, 1, stream, 0, 8)[:, :, None, None, None]
        for stream in (latent.DISCRIMINATOR, latent.GENERATOR)
    ]
    margin = discriminator(real) - discriminator(generator(z[0]))
    assert outcome.loss_discriminator == pytest.approx((1 + (-margin).exp()).log().mean().item(), rel=1e-5)
    ahead = ours.discriminator.network(generator(z[1])) - ours.discriminator.network(real)
    loss = (1 + (-ahead).exp()).log().mean()
    assert float(outcome.loss_generator) == pytest.approx(loss.item(), rel=1e-5)


def test_the_critic_takes_each_sample_by_itself():
    critic = make(**WASSERSTEIN).discriminator.network
    x = scaling.scale(densities().density, 4.0)
    torch.testing.assert_close(critic(x)[3:4], critic(x[3:4]))
    assert not any("running" in name for name in critic.state_dict())


def test_float64_and_bfloat16_take_the_same_step(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # slow without, but the same
    outcomes = {}
    for precision in ("float32", "float64", "bf16"):
        made = make(precision=precision, gate=0.0)
        outcomes[precision] = made.update(densities(), NO_VOTES)
        dtype = torch.float64 if precision == "float64" else torch.float32
        assert {value.dtype for value in made.generator.network.state_dict().values()} == {dtype}
    exact = outcomes["float64"]
    for precision, tolerance in (("float32", 1e-6), ("bf16", 2e-2)):
        for found, expected in zip(outcomes[precision], exact, strict=True):
            assert float(found) == pytest.approx(float(expected), rel=tolerance, abs=tolerance)
    assert outcomes["bf16"].loss_discriminator != outcomes["float32"].loss_discriminator


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"train\.precision: expected auto or float32, as this cpu has no tf32"):
        make(precision="tf32")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(ValueError, match="this cpu has no bf16"):
        make(precision="bf16")
    old_gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    with pytest.raises(ValueError, match="this cuda has no bf16"):
        learner.precision("bf16", old_gpu)
    assert learner.precision("auto", old_gpu) == (torch.float32, None)


def test_another_restart_has_other_weights_and_samples():
    made = make()
    before, drawn = weights(made.generator.network), made.preview_samples(fakes(1, 0, 2))
    made.update(densities(), NO_VOTES)
    made.begin(1)
    assert made.step == 0 and not torch.equal(weights(made.generator.network), before)
    assert not torch.equal(made.preview_samples(fakes(1, 0, 2)), drawn)
    made.begin(0)
    assert torch.equal(weights(made.generator.network), before)
    assert torch.equal(made.preview_samples(fakes(1, 0, 2)), drawn)


def test_a_batch_that_cannot_be_dealt_out_is_refused():
    with pytest.raises(ValueError, match=r"train\.batch_size.*train\.batch_norm_group.*4 × 4, found 8"):
        trainer.assign(Train(batch_size=8, batch_norm_group=4), Processes(rank=0, size=4))
    assert trainer.assign(Train(batch_size=16), Processes(rank=3, size=4)) == (12, 4)


def test_divergence_says_what_to_change():
    with pytest.raises(Collapse, match=r"nan; lower train\.generator_rate \(0\.0001\)"):
        make().update(Batch(densities().density * math.nan), NO_VOTES)


def test_training_goes_on_exactly_from_its_state():
    one = make(ema=40)
    one.update(densities(), NO_VOTES)
    state = copy.deepcopy(one.state())
    two = make(ema=40, seed=1)
    two.restore(state)
    for made in (one, two):
        made.update(densities(), NO_VOTES)
    assert torch.equal(weights(one.generator.network), weights(two.generator.network))
    assert torch.equal(weights(one.discriminator.network), weights(two.discriminator.network))
    assert torch.equal(weights(one.ema), weights(two.ema))


def test_it_goes_on_with_this_runs_betas_and_rate():
    """As train.allow_changed may say."""
    one, two = make(generator_rate=1e-3), make(betas=(0.0, 0.9), generator_rate=1e-2)
    one.update(densities(), NO_VOTES)
    two.restore(copy.deepcopy(one.state()))
    group, moments = two.generator.optimizer.param_groups[0], two.generator.state()["optimizer"]["state"]
    assert group["betas"] == (0.0, 0.9) and len(moments) == len(group["params"])
    before = weights(two.generator.network)
    two.update(densities(), NO_VOTES)
    assert float(group["lr"]) == 1e-2 and not torch.equal(weights(two.generator.network), before)


def test_fresh_latents_every_step_and_for_every_purpose(monkeypatch):
    calls = []
    original = latent.draw
    monkeypatch.setattr(latent, "draw", lambda *args: calls.append(args[1:]) or original(*args))
    made = make()
    made.update(densities(), NO_VOTES)
    made.update(densities(), NO_VOTES)
    d, g = latent.DISCRIMINATOR, latent.GENERATOR
    assert calls == [(1, d, 0, 8), (1, g, 0, 8), (1, d, 8, 8), (1, g, 8, 8)]
