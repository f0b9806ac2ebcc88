from types import SimpleNamespace

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


@pytest.mark.parametrize(
    ("prior", "distribution"), [("student_t", stats.t(10)), ("student_t", stats.t(3)), ("gaussian", stats.norm())]
)
def test_the_prior_is_what_it_says(prior, distribution):
    degrees = distribution.args[0] if distribution.args else 10.0
    model = SimpleNamespace(prior=prior, degrees_of_freedom=degrees, latent_dimension=100)
    drawn = latent.draw(model, 1, latent.SAMPLE, 0, 1000).numpy().ravel()
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01
    assert np.var(drawn) == pytest.approx(distribution.var(), rel=0.05 if degrees == 10 else 0.5)
    rows = drawn.reshape(1000, 100)
    correlation = np.corrcoef(rows[:, :10], rowvar=False) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(1000)
