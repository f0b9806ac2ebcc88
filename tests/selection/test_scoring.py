import numpy as np
import pytest

from cosmogan.selection import latent_scale, scoring
from cosmogan.selection.scoring import Summary


def summary(amplitude=1.0, mean=1.0, seed=0, bispectrum=0):
    random = np.random.default_rng(seed)
    power = amplitude * random.gamma(4, size=(500, 6)) / 4
    triples = amplitude**2 * random.normal(3, 1, size=(500, bispectrum))
    return Summary(power, np.full((500, 3), [0.5, 0.5, 0.0]), np.full(500, mean), triples)


def compare(samples, target):
    return scoring.compare(samples.features(), target.features())


def test_the_score_of_equal_sets_is_zero_and_its_parts_are_squared_log_ratios():
    assert compare(summary(), summary())["score"] == 0
    louder = compare(summary(amplitude=1.2), summary())
    for part in ("mean", "low", "median", "high"):
        assert louder[part] == pytest.approx(np.log(1.2) ** 2)
    assert louder["mean_density"] == louder["pdf"] == 0
    assert louder["score"] == pytest.approx(1.75 * np.log(1.2) ** 2)
    heavier = compare(summary(mean=1.05), summary())
    assert heavier["score"] == pytest.approx(4 * np.log(1.05) ** 2)


def test_scatter_is_seen_where_the_median_agrees():
    calm = summary()
    calm = Summary(np.tile(np.median(calm.power, axis=0), (500, 1)), calm.pdf, calm.mean_density, calm.bispectrum)
    found = compare(calm, summary())
    assert found["median"] == pytest.approx(0, abs=1e-20) and found["low"] > 0.05 and found["high"] > 0.05


def test_percentiles_are_those_of_the_samples():
    samples = summary()
    for name, percent in (("low", 16), ("median", 50), ("high", 84)):
        np.testing.assert_allclose(samples.features()[name], np.percentile(samples.power, percent, axis=0))


def test_the_bispectrum_is_a_part_when_it_is_measured():
    found = compare(summary(amplitude=1.1, bispectrum=4), summary(bispectrum=4))
    assert found["bispectrum"] == pytest.approx((1.21 - 1) ** 2)
    assert found["score"] == pytest.approx(1.75 * np.log(1.1) ** 2 + 0.25 * found["bispectrum"])
    assert "bispectrum" not in compare(summary(), summary())


def test_an_empty_universe_has_a_finite_score():
    nothing = Summary(np.zeros((4, 6)), np.zeros((4, 3)), np.zeros(4), np.zeros((4, 0)))
    assert np.isfinite(compare(nothing, summary())["score"])


def test_the_error_is_the_scatter_of_the_score_over_sets():
    target = summary(seed=1000).features()
    scores = [scoring.score(summary(amplitude=1.2, seed=seed), target) for seed in range(60)]
    scatter = np.std([found["score"] for found in scores])
    assert np.mean([found["error"] for found in scores]) == pytest.approx(scatter, rel=0.3)


def test_the_amplitude_is_that_of_the_mean_power_with_its_scatter_over_sets():
    found = [scoring.amplitude(summary(1.3, seed=i).power, summary(seed=500 + i).power) for i in range(60)]
    amplitudes, errors = np.array(found).T
    assert amplitudes.mean() == pytest.approx(np.log(1.3), abs=3 * amplitudes.std() / np.sqrt(60))
    assert errors.mean() == pytest.approx(amplitudes.std(), rel=0.3)


def test_bisection_finds_the_scale_and_how_well_it_is_known():
    tuned = latent_scale.bisect(lambda scale: (2.5 * np.log(scale / 0.985) + np.log(scale / 0.985) ** 3, 0.02))
    assert tuned.scale == pytest.approx(0.985, rel=1e-5)
    assert tuned.error == pytest.approx(0.985 * 0.02 / 2.5, rel=0.01)
    assert 10 <= len(tuned.trials) <= 14 and list(tuned.trials) == sorted(tuned.trials)


def test_a_falling_amplitude_is_as_good():
    assert latent_scale.bisect(lambda scale: (np.log(1.1 / scale), 0.02)).scale == pytest.approx(1.1)


def test_an_amplitude_out_of_reach_gives_the_nearer_bound_without_an_error():
    assert latent_scale.bisect(lambda scale: (np.log(scale) + 3, 0.02))[:2] == (0.8, None)
    assert latent_scale.bisect(lambda scale: (np.log(scale) - 3, 0.02))[:2] == (1.25, None)
