"""Matching: its statistics, the energy distance, and what becomes of a generator that descends it."""

import copy
import threading
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from cosmogan.config import Model
from cosmogan.gan import latent, matching, networks, scaling
from cosmogan.gan.learner import Learner
from cosmogan.gan.released import Released
from cosmogan.statistics.power import power_spectrum
from hpc.mpi import SerialComm

MODEL = {"kappa": 4.0, "width": 4, "latent_dimension": 6, "density_bias": True}


def lognormal(n, m, seed=0):
    """Return smooth lognormal densities, (n, m, m, m) float64."""
    field = np.random.default_rng(seed).normal(size=(n, m, m, m))
    for axis in (1, 2, 3):
        field = (field + np.roll(field, 1, axis)) / np.sqrt(2)
    return torch.from_numpy(np.exp(field - 0.5))


def generator(seed=1):
    """Return a small generator with running statistics of its own, as it is released."""
    network = networks.generator(Model(**MODEL), 8, 4)
    networks.initialise(network, seed, output=-0.5)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(8, 6, 1, 1, 1, generator=random))
    settings = {"model": {**MODEL, "subvolume": 8}, "geometry": {"subvolume": 8}, "latent_scale": 1.0}
    return Released(settings, network, torch.device("cpu"))


def target(n=64):
    return matching.Target(matching.statistics(lognormal(n, 8).float()))


def match(one, wanted, steps, comm):
    """Match in place; return each step's distance."""
    made = matching.Matching(one, wanted, steps, None, comm)
    for _ in range(steps):
        made.advance()
    return made.distances


def weights(generator):
    return torch.cat([one.detach().flatten() for one in generator.network.parameters()])


def modes(m):
    """Return the modes of each bin: by |q| rounded down, and by the cosine of the angle to the nearest axis."""
    bins = {}
    for q in product(range(m), repeat=3):
        components = [min(one, m - one) for one in q]
        length = sum(one**2 for one in components) ** 0.5
        if length:
            cosine = max(components) / length
            bins.setdefault((int(length), (cosine >= 0.8) + (cosine >= 0.95)), []).append(q)
    return bins


def slow_power(field):
    """Return the mean |delta_k|² of one field over each bin's modes."""
    squared = np.abs(np.fft.fftn(field - field.mean())) ** 2
    bins = modes(len(field))
    return np.array([np.mean([squared[q] for q in bins[one]]) for one in sorted(bins)])


def slow_ranked(field, width):
    """Return ln of the densest cube of a side, and of the mean densities of ranges of the ranked ones."""
    m = len(field) // width
    cubes = np.sort(field.reshape(m, width, m, width, m, width).mean(axis=(1, 3, 5)).ravel())[::-1]
    edges = sorted({0, 1, *(round(rank * m**3) for rank in matching.RANKS)})
    return np.log(1e-3 + np.array([np.mean(cubes[low:high]) for low, high in pairwise(edges)]))


def slow_places(field):
    """Return the mean densities in planes by depth, and of cells by their sorted depths, each to a factor of 2."""
    m = len(field)
    depth = np.minimum(np.arange(m), np.arange(m)[::-1])
    planes = [np.mean([np.moveaxis(field, axis, 0)[depth == d].mean() for axis in range(3)]) for d in range(m // 2)]
    cells = {}
    for where in np.ndindex(field.shape):
        octaves = tuple(sorted(int(depth[i]).bit_length() for i in where))
        cells.setdefault(octaves, []).append(field[where])
    return np.array([*planes, *(np.mean(cells[octaves]) for octaves in sorted(cells))])


@pytest.mark.parametrize("m", [8, 16])
def test_statistics_are_those_of_the_slow_obvious_way(m):
    density = lognormal(3, m)
    found = [one.numpy() for one in matching.statistics(density)]
    power, log_power, log_of_scaled, *ranked, places = found
    for i, field in enumerate(density.numpy()):
        expected = slow_power(field) + 1e-6
        np.testing.assert_allclose(power[i], expected, rtol=1e-10)
        np.testing.assert_allclose(log_power[i], np.log(expected), rtol=1e-10)
        np.testing.assert_allclose(log_of_scaled[i], np.log(slow_power(2 * field / (field + 1)) + 1e-6), rtol=1e-10)
        for width, one in zip((1, 2, 4), ranked, strict=True):
            np.testing.assert_allclose(one[i], slow_ranked(field, width), rtol=1e-10, atol=1e-12)
        assert ranked[0][i, 0] == pytest.approx(np.log(field.max() + 1e-3))
        np.testing.assert_allclose(places[i], slow_places(field), rtol=1e-10)


@pytest.mark.parametrize("m", [8, 16])
def test_the_power_of_all_directions_is_that_of_the_power_spectrum(m):
    density = lognormal(3, m)
    expected = power_spectrum(density, 100.0).power * m**6 / 100.0**3
    found = matching.band_power(density, matching.CONES).numpy() - matching.SMOOTH
    bins = modes(m)
    numbers = np.array([number for number, _ in sorted(bins)])
    weights = np.array([len(bins[one]) for one in sorted(bins)])
    for number, power in enumerate(expected.T, 1):
        here = numbers == number
        np.testing.assert_allclose(np.average(found[:, here], axis=1, weights=weights[here]), power, rtol=1e-10)


def test_the_energy_distance_is_the_sum_over_pairs_of_different_samples():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 3)), random.normal(size=(7, 3))

    def mean(ones, others):
        pairs = [np.linalg.norm(one - other) for one in ones for other in others if one is not other]
        return np.mean(pairs)

    x_rows, y_rows = list(x), list(y)
    expected = 2 * mean(x_rows, y_rows) - mean(x_rows, x_rows) - mean(y_rows, y_rows)
    found = matching.energy_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_energy_distance_is_unbiased_and_tells_distributions_apart():
    random = np.random.default_rng(1)

    def distances(shift=0.0, spread=1.0):
        pairs = torch.from_numpy(random.normal(size=(2000, 2, 5, 3)))
        return np.array([float(matching.energy_distance(shift + spread * x, y)) for x, y in pairs])

    def in_errors(found):
        return found.mean() / (found.std() / np.sqrt(len(found)))

    assert abs(in_errors(distances())) < 4
    assert in_errors(distances(shift=0.7)) > 20
    assert in_errors(distances(spread=2.0)) > 20


def test_the_distance_is_the_weighted_sum_of_those_of_standardised_statistics():
    real, found = matching.statistics(lognormal(12, 8)), matching.statistics(2 * lognormal(9, 8, seed=1))
    expected = 0.0
    for one, other, weight in zip(real, found, (1, 1, 1, 1, 1, 1, 10), strict=True):
        unit = one.std(0) * one.shape[1] ** 0.5
        expected += weight * float(matching.energy_distance((other - one.mean(0)) / unit, (one - one.mean(0)) / unit))
    assert float(matching.Target(real).distance(torch.cat(found, 1))) == pytest.approx(expected, rel=1e-10)


def slopes(function, x, seed=2):
    """Return the derivative along a random direction, by autograd and by finite differences."""
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(function(x), x)
    with torch.no_grad():
        difference = function(x + 1e-6 * direction) - function(x - 1e-6 * direction)
    return float((gradient * direction).sum()), float(difference / 2e-6)


def test_the_gradient_of_the_energy_distance_is_that_of_finite_differences():
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 3, generator=random, dtype=torch.float64) for n in (6, 9))
    by_autograd, by_differences = slopes(lambda x: matching.energy_distance(x, y), x)
    assert by_autograd == pytest.approx(by_differences, rel=1e-6)


def test_gradients_flow_through_all_statistics_as_finite_differences_say():
    scaled = scaling.scale(lognormal(3, 8), 4.0)
    n_statistics = len(matching.statistics(scaling.unscale(scaled, 4.0)))
    assert n_statistics == 7
    for number in range(n_statistics):

        def function(x, number=number):
            found = matching.statistics(scaling.unscale(x, 4.0))[number]
            return (found * torch.linspace(1, 2, found.numel(), dtype=found.dtype).view_as(found)).sum()

        by_autograd, by_differences = slopes(function, scaled.detach().clone())
        assert by_autograd == pytest.approx(by_differences, rel=1e-5)


def test_the_distance_falls_and_running_statistics_stay(monkeypatch):
    monkeypatch.setattr(matching, "BATCH", 32)
    monkeypatch.setattr(matching, "RATE", 5e-3)
    one = generator()
    before = weights(one)
    running = [buffer.clone() for buffer in one.network.buffers()]
    found = match(one, target(), 60, SerialComm())
    assert len(found) == 60
    assert np.mean(found[-5:]) < 0.2 * np.mean(found[:5])
    assert not torch.equal(weights(one), before)
    assert all(torch.equal(a, b) for a, b in zip(running, one.network.buffers(), strict=True))
    assert not one.network.training
    assert (one.volumes(one.latents(1, np.arange(4))) > 0).all()


def test_restored_it_goes_on_bit_for_bit(monkeypatch):
    monkeypatch.setattr(matching, "BATCH", 8)
    whole, one, other, wanted = generator(), generator(), generator(), target()
    expected = match(whole, wanted, 4, SerialComm())
    first, second = (matching.Matching(each, wanted, 4, None, SerialComm()) for each in (one, other))
    first.advance()
    first.advance()
    second.restore(copy.deepcopy(first.state()))
    second.advance()
    second.advance()
    assert second.distances == expected
    assert torch.equal(weights(other), weights(whole)) and not torch.equal(weights(one), weights(whole))


def test_a_distance_that_is_no_number_ends_it(monkeypatch):
    monkeypatch.setattr(matching, "BATCH", 4)
    one = generator()
    with torch.no_grad():
        next(one.network.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^select\.match_steps: the distance is nan at step 1; set fewer"):
        match(one, target(), 2, SerialComm())


def test_no_latents_come_twice_and_none_are_those_of_samples(monkeypatch):
    monkeypatch.setattr(matching, "BATCH", 8)
    one = generator()
    drawn = []
    original = one.latents
    monkeypatch.setattr(one, "latents", lambda *a: drawn.append(original(*a)) or drawn[-1])
    match(one, target(), 3, SerialComm())
    rows = torch.cat(drawn)
    assert len(rows) == 24 and len(rows.unique(dim=0)) == 24
    samples = original(matching.SEED, np.arange(24), latent.SAMPLE)
    assert len(torch.cat([rows, samples]).unique(dim=0)) == 48


def test_it_is_the_textbook_loop(monkeypatch):
    monkeypatch.setattr(matching, "BATCH", 16)
    ours, theirs, wanted, steps = generator(), generator(), target(), 6
    before = weights(ours)
    found = match(ours, wanted, steps, SerialComm())
    adam = torch.optim.Adam(theirs.network.parameters(), lr=matching.RATE, betas=matching.BETAS)
    for step in range(steps):
        adam.param_groups[0]["lr"] = matching.RATE * (steps - step) / steps
        latents = theirs.latents(matching.SEED, np.arange(16 * step, 16 * step + 16), latent.MATCH)
        density = scaling.unscale(theirs.network(latents[:, :, None, None, None])[:, 0], 4.0)
        distance = wanted.distance(torch.cat(matching.statistics(density), dim=1))
        adam.zero_grad()
        distance.backward()
        adam.step()
        assert found[step] == pytest.approx(distance.item(), rel=1e-4)
    moved = float((weights(ours) - before).norm())
    assert moved > 0 and float((weights(ours) - weights(theirs)).norm()) < 1e-3 * moved


class Thread:
    """One of several ranks, each in a thread, with the calls that matching makes."""

    def __init__(self, rank, size, barrier, slots):
        self.rank, self.size, self._barrier, self._slots = rank, size, barrier, slots

    def allgather(self, value):
        self._slots[self.rank] = value
        self._barrier.wait()
        found = list(self._slots)
        self._barrier.wait()
        return found

    def allreduce(self, value):
        return sum(self.allgather(value.copy()))


def matched(size, steps):
    """Return each rank's weights and distances after matching on so many ranks."""
    barrier, slots, found = threading.Barrier(size, timeout=60), [None] * size, [None] * size
    wanted, generators = target(), [generator() for _ in range(size)]

    def work(rank):
        try:
            distances = match(generators[rank], wanted, steps, Thread(rank, size, barrier, slots))
            found[rank] = weights(generators[rank]), distances
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in found
    return found


@pytest.mark.parametrize(("batch", "ranks"), [(16, 2), (16, 3), (2, 3)])
def test_ranks_together_find_what_one_finds(monkeypatch, batch, ranks):
    """With a batch of 2 there are more ranks than samples."""
    gradients = []

    class Recorded(Learner):
        def descend(self):
            gradients.append(self.gradients.clone())
            return super().descend()

    monkeypatch.setattr(matching, "BATCH", batch)
    monkeypatch.setattr(matching, "Learner", Recorded)
    before = weights(generator())
    ((alone, expected),) = matched(1, 4)
    first = gradients.pop(0)
    gradients.clear()
    for one, distances in matched(ranks, 4):
        np.testing.assert_allclose(distances, expected, rtol=1e-4)
        assert float((one - alone).norm()) < 2e-3 * float((alone - before).norm())
    for one in gradients[:ranks]:
        assert float((one - first).norm()) < 1e-4 * float(first.norm())
