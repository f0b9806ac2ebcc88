import numpy as np
import pytest
from scipy import stats

from cosmogan.config import Model
from cosmogan.gan import latent


def test_a_sample_does_not_know_its_batch():
    model = Model(latent_dimension=7)
    together = latent.draw(model, 3, latent.SAMPLE, 10, 6).numpy()
    alone = np.concatenate([latent.draw(model, 3, latent.SAMPLE, i, 1) for i in range(10, 16)])
    np.testing.assert_array_equal(together, alone)


def test_seeds_streams_and_numbers_differ():
    model = Model(latent_dimension=4)
    calls = [(1, latent.SAMPLE, 0), (2, latent.SAMPLE, 0), (1, latent.GENERATOR, 0), (1, latent.SAMPLE, 1), (-1, 0, 0)]
    drawn = np.stack([latent.draw(model, *call, 1)[0] for call in calls])
    assert len(np.unique(drawn)) == drawn.size


def test_archived_latents_stay():
    """Values of the first version: a change would orphan every archived (seed, index)."""
    drawn = latent.draw(Model(latent_dimension=3), 2020, latent.SAMPLE, 5, 1)[0]
    words = np.random.Philox(key=np.array([2020, 0], np.uint64)).advance(5 * 2).random_raw(6)
    u, v = ((words[i::2] >> np.uint64(11)) * 2.0**-53 + 2.0**-54 for i in (0, 1))
    np.testing.assert_allclose(drawn, np.sqrt(10 * (u**-0.2 - 1)) * np.cos(2 * np.pi * v), rtol=1e-6)
    np.testing.assert_allclose(drawn, [1.6634562, 0.6445936, 0.7292525], rtol=1e-6)


class Mixture:
    """0.9 N(0, 1) + 0.1 N(0, 3²)."""

    def cdf(self, x):
        return 0.9 * stats.norm.cdf(x) + 0.1 * stats.norm.cdf(x, scale=3)

    def var(self):
        return 0.9 + 0.1 * 9


@pytest.mark.parametrize(
    ("prior", "distribution"),
    [
        ({"degrees_of_freedom": 10.0}, stats.t(10)),
        ({"degrees_of_freedom": 3.0}, stats.t(3)),
        ({"prior": "gaussian"}, stats.norm()),
        ({"prior": "cauchy"}, stats.cauchy()),
        ({"prior": "gaussian_mixture"}, Mixture()),
    ],
)
def test_the_prior_is_what_it_says(prior, distribution):
    drawn = latent.draw(Model(**prior), 1, latent.SAMPLE, 0, 1000).numpy().ravel()
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01
    if np.isfinite(distribution.var()):
        assert np.var(drawn) == pytest.approx(distribution.var(), rel=0.5 if 3.0 in prior.values() else 0.05)
    correlation = stats.spearmanr(drawn.reshape(1000, 100)[:, :10]).statistic - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(1000)


def test_a_mixture_at_its_ends_is_one_gaussian():
    def drawn(**settings):
        return latent.draw(Model(latent_dimension=5, prior="gaussian_mixture", **settings), 1, latent.SAMPLE, 0, 50)

    narrow = drawn(mixture_fraction=0.0)
    np.testing.assert_allclose(drawn(mixture_fraction=1.0, mixture_width=2.5), 2.5 * narrow, rtol=1e-6)
    both = np.round((drawn(mixture_fraction=0.3, mixture_width=2.5) / narrow).numpy(), 5)
    assert set(both.ravel().tolist()) == {1.0, 2.5}


@pytest.mark.parametrize("prior", ["student_t", "gaussian", "cauchy", "gaussian_mixture"])
def test_latents_turn_volumes_into_all_orientations_alike_at_any_scale(prior):
    n = 48 * 400
    latents = latent.draw(Model(prior=prior, latent_dimension=6), 1, latent.SAMPLE, 0, n)
    found = latent.orientations(latents)
    assert found == latent.orientations(1.1 * latents)
    counts = np.bincount(found, minlength=48)
    assert len(counts) == 48
    assert stats.chisquare(counts).pvalue > 1e-3
