"""Recorded steps are the eager ones bit for bit: on a CPU with a tape of operations and their memory as the graph."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tapes import Tapes
from torch.utils._python_dispatch import _get_current_dispatch_mode

from cosmogan.config import Model, Train
from cosmogan.gan.conditions import TrainingConditions
from cosmogan.training import cuda_graphs, update
from cosmogan.training.cuda_graphs import WARM_UP
from cosmogan.training.dataset import Batch
from cosmogan.training.design import LatentDesign
from cosmogan.training.trainer import Trainer
from hpc.distributed import Processes

CPU, M = torch.device("cpu"), 16  # M cells a side: the smallest discriminator with a BatchNorm
PLAIN = Model(kappa=4.0, width=4, latent_dimension=6, density_bias=True)
CONDITIONAL = Model(kappa=4.0, width=4, latent_dimension=6, condition=("redshift",), kappa_redshift=0.5)


def fakes(seed, first, n):
    """What consecutive fakes of an unconditional generator are drawn for."""
    return Batch(torch.empty(n, 0))


@pytest.fixture
def tapes(monkeypatch):
    """All recorders that are made, in place of those of CUDA graphs; the penalty comes in every third step."""
    made = []
    monkeypatch.setattr(cuda_graphs, "Recorder", lambda device: made.append(Tapes(device)) or made[-1])
    monkeypatch.setattr(update, "R1_INTERVAL", 3)
    return made


def make(model=PLAIN, processes=None, device=CPU, **train):
    settings = Train(**{"batch_size": 8, "batch_norm_group": 4, "gate": 0.0, "epochs": 3} | train)
    return Trainer(LatentDesign(model, M), settings, 10, processes or Processes(), device)


def batch(made):
    density = 3 * torch.rand(8, 1, M, M, M, generator=torch.Generator().manual_seed(made.step))
    if not made.model.condition:
        return Batch(density)
    conditions = TrainingConditions(made.model, np.arange(8.0)[:, None], "uniform")
    return Batch(density, conditions.of_batch(np.arange(8), 1, made.n_seen))


def go(made, steps):
    """Take some steps; return all that they gave, in numbers."""
    outcomes = []
    for _ in range(steps):
        outcome = made.update(batch(made), (made.step % 5 == 3, False))
        outcomes.append([None if value is None else float(value) for value in outcome])
    return outcomes


def assert_same(one, other, tolerance=0):
    torch.testing.assert_close(one.state(), other.state(), rtol=tolerance, atol=tolerance)


CASES = {
    "open": {},
    "gate": {"gate": 0.49, "generator_rate": 5e-3, "discriminator_rate": 5e-3},
    "ema": {"ema": 40},
    "penalised": {"r1": 3.0},
    "wasserstein": {"loss": "wasserstein", "betas": (0.0, 0.9), "n_critic": 2},
    "falling": {"rate_end": 0.1},
    "paced": {"discriminator_loss": 0.7},
    "halved": {"rate_decay": 0.5, "decay_every": 3},
    "conditional": {"model": CONDITIONAL},
    "conditional, wasserstein": {"model": CONDITIONAL, "loss": "wasserstein"},
    "spectra": {"model": replace(PLAIN, discriminator_log=0.01, discriminator_power=(1.0, 3000.0)), "r1": 3.0},
    "relativistic": {"loss": "relativistic", "r1": 3.0},
    "conditional, relativistic": {"model": CONDITIONAL, "loss": "relativistic"},
    "float64": {"precision": "float64", "r1": 3.0, "ema": 40},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_recorded_steps_are_the_same_bit_for_bit(tapes, monkeypatch, settings):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # slow without, but the same
    eager, recorded = make(**settings), make(**settings, cuda_graphs=True)
    expected = go(eager, 24)
    assert go(recorded, 24) == expected
    assert_same(recorded, eager)
    assert tapes[-1].pieces == (8 if "r1" in settings else 5)
    gates = {outcome[5] for outcome in expected[-8:]}
    assert gates == ({0.0, 1.0} if "gate" in settings else {1.0})


@pytest.mark.parametrize("stop", [2, 12])
def test_resumed_it_is_the_uninterrupted_one_bit_for_bit(tapes, stop):
    settings = {"ema": 40, "r1": 3.0, "rate_end": 0.1, "discriminator_loss": 0.7}
    eager, first, second = make(**settings), make(**settings, cuda_graphs=True), make(**settings, cuda_graphs=True)
    expected = go(eager, 24)
    assert go(first, stop) == expected[:stop]
    state = copy.deepcopy(first.state())
    second.restore(copy.deepcopy(state))
    second.calibrate(fakes)  # as at an epoch's end
    second.preview_samples(fakes(1, 0, 4))
    assert go(second, 24 - stop) == expected[stop:]
    go(first, 3)
    first.restore(state)  # into tensors that were recorded
    assert go(first, 24 - stop) == expected[stop:]
    assert_same(first, eager)


def test_a_restart_records_the_new_networks(tapes):
    eager, recorded = make(), make(cuda_graphs=True)
    for made in (eager, recorded):
        go(made, 8)
        made.begin(restarts=1)
    assert go(recorded, 8) == go(eager, 8)
    assert_same(recorded, eager)
    assert [made.pieces for made in tapes] == [5, 5]


def test_it_goes_on_from_a_state_with_a_plain_rate(tapes):
    """What versions without a rate on the device wrote."""
    eager, recorded = make(rate_end=0.1), make(rate_end=0.1, cuda_graphs=True)
    go(eager, 12)
    state = copy.deepcopy(eager.state())
    for name in ("generator", "discriminator"):
        state[name]["optimizer"]["param_groups"][0].update(lr=0.5, capturable=False)
    recorded.restore(state)
    assert go(recorded, 12) == go(eager, 12)


class Halving(Processes):
    """Another process of which nothing comes."""

    def mean(self, tensor):
        assert _get_current_dispatch_mode() is None, "a collective was recorded"
        return tensor.mul_(0.5)


def test_processes_average_between_the_pieces(tapes):
    eager, recorded = make(processes=Halving()), make(processes=Halving(), cuda_graphs=True)
    assert go(recorded, 12) == go(eager, 12)
    assert_same(recorded, eager)
    assert go(make(), 1) != go(make(processes=Halving()), 1)


def test_nothing_is_recorded_before_all_of_it_ran(tapes):
    """Shut all the time, the discriminator has no moments yet: they would be made anew in each replay."""
    shut = make(gate=1.0, cuda_graphs=True)
    go(shut, WARM_UP + 2)
    assert tapes[-1].pieces == 2  # the generator's


def test_the_callers_tensors_stay_the_callers():
    total, weight = torch.zeros(2), torch.ones(2, requires_grad=True)

    def square(x):
        return x.square(), x * weight

    def add(x):
        total.add_(x.detach())
        return total

    work = SimpleNamespace(square=square, add=add)
    cuda_graphs.Graphs(Tapes(CPU)).replace(work, "square", "add")
    numbers = [torch.full((2,), float(i)) for i in range(WARM_UP + 3)]
    for i, x in enumerate(numbers):
        squared, passed_on = work.square(x)
        assert squared.tolist() == [i**2, i**2]
        assert work.add(passed_on).tolist() == [sum(range(i + 1))] * 2
    assert [x.tolist() for x in numbers] == [[i, i] for i in range(WARM_UP + 3)]
    work.square(numbers[1])  # broken off
    assert total.tolist() == [sum(range(WARM_UP + 3))] * 2


def test_without_a_gpu_they_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^train\.cuda_graphs: expected false without a CUDA GPU; .* on the cpu$"):
        make(cuda_graphs=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("settings", [{"ema": 40, "rate_end": 0.1}, CASES["conditional, wasserstein"], {"r1": 3.0}])
def test_on_a_gpu_recorded_steps_are_the_same(settings):
    device = torch.device("cuda")
    made = [make(**settings, precision="float64", device=device, cuda_graphs=graphs) for graphs in (False, True)]
    eager, recorded = (go(one, 60) for one in made)
    np.testing.assert_allclose(recorded, eager, rtol=1e-6, atol=1e-6)
    assert_same(*made, tolerance=1e-6)
