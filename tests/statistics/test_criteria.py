"""`criteria`: the distances of generated from real samples, each against plain loops over the drawn samples."""

from functools import partial

import numpy as np
import pytest

from cosmogan.statistics import criteria
from cosmogan.statistics.criteria import Draws


def once(samples):
    return Draws.all_once(samples)


def plain_mean(real, fake):
    return np.max(abs(fake.mean(axis=0) / real.mean(axis=0) - 1))


def plain_factor(real, fake):
    return max(max(ratio, 1 / ratio) for ratio in fake.mean(axis=0) / real.mean(axis=0))


def plain_variance(real, fake):
    return np.max(abs(fake.var(axis=0, ddof=1) / real.var(axis=0, ddof=1) - 1))


def plain_known(real, fake):
    known = plainly_known(real)
    return plain_mean(real[:, known], fake[:, known]) if known.any() else np.nan


def plainly_known(real):
    return real.std(axis=0, ddof=1) / np.sqrt(len(real)) < 0.05 * real.mean(axis=0)


def plain_scaled(real, fake, parts):
    off, size = abs(fake.mean(axis=0) - real.mean(axis=0)), abs(real.mean(axis=0))
    return max(off[i] / size[parts == parts[i]].max() for i in range(len(parts)))


def plain_median(real, fake):
    return abs(np.median(fake[:, 0]) / np.median(real[:, 0]) - 1)


def plain_agreement(real, fake, lower_edges):
    agreed = np.inf
    for i in np.flatnonzero(plainly_known(real))[::-1]:
        if abs(fake[:, i].mean() / real[:, i].mean() - 1) > 0.2:
            break
        agreed = lower_edges[i]
    return agreed


PARTS, EDGES = np.repeat([1, 2, 3], 4), np.logspace(-3, 2, 12)


@pytest.mark.parametrize(
    ("measure", "plain"),
    [
        (criteria.worst_mean, plain_mean),
        (criteria.worst_factor, plain_factor),
        (criteria.worst_variance, plain_variance),
        (criteria.worst_known, plain_known),
        (partial(criteria.worst_scaled, parts=PARTS), partial(plain_scaled, parts=PARTS)),
        (criteria.median_shift, plain_median),
        (partial(criteria.lowest_agreement, lower_edges=EDGES), partial(plain_agreement, lower_edges=EDGES)),
    ],
)
def test_all_draws_at_once_give_what_a_loop_over_them_gives(measure, plain):
    rng = np.random.default_rng(0)
    scale = np.logspace(-6, 3, 12)  # bins of very different size, the first ones with large scatter
    real = scale * (1 + rng.standard_normal((90, 12)) * np.linspace(1.5, 0.05, 12))
    fake = scale * (np.linspace(0.7, 1.1, 12) + rng.standard_normal((70, 12)) * np.linspace(1.5, 0.05, 12))
    counts = rng.integers(0, 4, (20, 90)).astype(float), rng.integers(0, 4, (20, 70)).astype(float)
    rows = [[np.repeat(np.arange(each.shape[1]), row.astype(int)) for row in each] for each in counts]
    expected = [plain(real[a], fake[b]) for a, b in zip(*rows, strict=True)]
    np.testing.assert_allclose(measure(Draws(real, counts[0]), Draws(fake, counts[1])), expected, rtol=1e-12)


def test_a_bin_without_scatter_is_known():
    """Its variance is zero but for rounding, and never less."""
    real = np.tile(np.random.default_rng(0).random(200), (777, 1))
    counts = np.random.default_rng(1).integers(0, 3, (20, 777)).astype(float)
    assert Draws(real, counts).known.all()


def test_a_shift_is_measured_with_its_error_and_noise_floor():
    rng = np.random.default_rng(0)
    real, fake = 10 + rng.standard_normal((400, 1)), 11 + rng.standard_normal((400, 1))
    again = criteria.Resamples.of(np.zeros(400), None, np.ones(400), 400, seed=0)
    distance = criteria.evaluate(criteria.worst_mean, real, fake, again)
    assert distance.value == pytest.approx(0.1, abs=0.02)
    assert distance.error == pytest.approx(np.sqrt(2 / 400) / 10, rel=0.4)
    assert 0 < distance.floor < 0.03 and 0 < distance.floor_error < 0.02
    assert criteria.median_shift(once(real), once(fake)) == pytest.approx(0.1, abs=0.03)
    assert criteria.worst_variance(once(real), once(2 * fake)) == pytest.approx(3, abs=1)


def test_groups_are_drawn_whole_as_many_as_there_are():
    again = criteria.Resamples.of(np.repeat(np.arange(40), 3), None, np.ones(120), 50, seed=0)
    counts = again.real.reshape(criteria.N_DRAWS, 40, 3)  # more boxes than groups: each is a group
    assert (counts == counts[:, :, :1]).all()
    assert (again.real.sum(axis=1) == 120).all() and again.real.max() > 1


def test_cross_power_is_significant_only_when_samples_share_something():
    samples = np.random.default_rng(1).standard_normal((500, 20))
    assert criteria.significance(samples) < 1.6
    assert criteria.significance(samples + 0.5) > 5


def test_the_pdf_agrees_down_to_where_it_first_does_not():
    rng = np.random.default_rng(2)
    real = np.full((200, 5), 0.2) + 1e-3 * rng.standard_normal((200, 5))
    edges = np.array([1e-3, 1e-2, 1e-1, 1.0, 10.0])
    fake = real * np.array([1.0, 1.5, 1.1, 0.9, 1.0])
    assert criteria.lowest_agreement(once(real), once(fake), edges) == 0.1
    assert criteria.lowest_agreement(once(real), once(fake[:, ::-1]), edges) == 10.0
    assert criteria.lowest_agreement(once(real), once(2 * fake), edges) == np.inf
