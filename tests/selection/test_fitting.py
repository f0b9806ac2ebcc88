"""The fit of a calibration to fields that are known: lognormal ones, whose spectrum and PDF can be chosen."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cosmogan.gan.calibration import Calibration, Tables
from cosmogan.selection import fitting
from cosmogan.statistics import power
from hpc.mpi import SerialComm

M, N = 16, 96


def lognormal(seed, n=N, tilt=1.0, width=1.0, empty=0.0):
    """Cubes cut from larger lognormal fields of a power law, the lowest of whose cells are empty."""
    field = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 2 * M, 2 * M, 2 * M)))
    axis, last = torch.fft.fftfreq(2 * M), torch.fft.rfftfreq(2 * M)
    k = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + last**2).sqrt()
    field = torch.fft.irfftn(torch.fft.rfftn(field, dim=(1, 2, 3)) / (0.05 + k) ** tilt, dim=(1, 2, 3))
    field = width * (field / field.std())[:, :M, :M, :M]
    return torch.where(field < torch.quantile(field[:8], empty), 0.0, torch.exp(field - width**2 / 2)).float()


class Drawer:
    """A generator of volumes that are there."""

    def __init__(self, volumes):
        self._volumes = volumes

    def latents(self, seed, numbers, stream):
        return numbers

    def __call__(self, numbers, values):
        return self._volumes[numbers]


def fit(training, generated):
    """Return the layers fitted to volumes, and a function of volumes to calibrated ones."""
    geometry = SimpleNamespace(subvolume=M, subvolume_size=float(M))
    scorer = SimpleNamespace(comm=SerialComm(), device=torch.device("cpu"), geometry=geometry, n_folds=1)
    scorer.read = lambda rows: (training[batch] for batch in fitting.batches(rows))
    condition = SimpleNamespace(rows=np.arange(len(training)), fold=np.zeros(len(training), int), values=None)
    draws = fitting.Draws(scorer, Drawer(generated), condition, len(generated))
    tables = fitting.fit(draws, fitting.TrainingSet(scorer, condition).target(None))
    layers = Calibration(torch.from_numpy(draws.wavenumbers), Tables(*(one[None] for one in tables)))
    return tables, lambda density: layers(density, torch.empty(0))


def mean_power(density):
    return power.power_spectrum(density, float(M)).power.mean(0)


def off(density, training):
    """The largest factor by which mean P(k) is off, but for bins of few modes."""
    return np.abs(np.log(mean_power(density) / mean_power(training)))[1:-2].max()


def test_a_perfect_generator_is_left_as_it_is():
    """The filter is 1 and the map the identity, within what two sets of these volumes differ by."""
    training, perfect, others = lognormal(1, empty=0.1), lognormal(2, empty=0.1), lognormal(3, empty=0.1)
    tables, calibrate = fit(training, perfect)
    assert tables.ln_transfer.abs().max() < 0.15  # the first bins have few modes
    found = calibrate(others)
    assert off(found, others) < 0.1 and off(perfect, training) < 0.1
    filled = (others > 0) & (found > 0) & (others < 10)
    assert (found[filled] / others[filled]).log().std() < 0.1
    assert ((found == 0) == (others == 0)).double().mean() > 0.98


def test_a_wrong_generator_gets_the_spectrum_and_the_pdf_of_the_training_set():
    training = lognormal(1, empty=0.1)
    wrong, others = (lognormal(seed, tilt=0.5, width=1.6) for seed in (2, 3))
    _, calibrate = fit(training, wrong)
    assert off(others, training) > 2 and off(calibrate(wrong), training) < 0.05
    found = calibrate(others)
    assert off(found, training) < 0.1  # of other samples than those that it was fitted to
    fractions = [0.2, 0.5, 0.9, 0.99, 0.999]
    np.testing.assert_allclose(*(np.quantile(x.numpy(), fractions) for x in (found, training)), rtol=0.05)
    assert (found == 0).double().mean() == pytest.approx(0.1, abs=0.01) and found.max() <= 1.005 * training.max()
    scatter = [float(volumes.mean((1, 2, 3)).std()) for volumes in (calibrate(wrong), training)]
    assert scatter[0] == pytest.approx(scatter[1], rel=0.02)


def test_the_map_gives_each_rank_the_training_sets_density():
    """Of uniform to exponential: -ln(1 - F)."""
    uniform = torch.rand(200_000, dtype=torch.float64) * 8 - 4
    target = fitting.histogram(torch.log(-torch.log(torch.rand(200_000, dtype=torch.float64))), fitting.DENSITIES)
    filtered, density, lowest = fitting.one_point_map(fitting.histogram(uniform, fitting.SCORES), target)
    rank = (filtered[60:-10] + 4) / 8
    np.testing.assert_allclose(np.exp(density[60:-10]), -np.log1p(-rank), rtol=0.1)
    assert lowest == pytest.approx(np.exp(density[0]))


def test_a_histogram_counts_all_values():
    values = torch.tensor([-20.0, -12.0, 0.001, 11.999, 12.0, 30.0])
    counts = fitting.histogram(values, fitting.SCORES)
    assert counts.sum() == 6 and counts[0] == 1 and counts[1] == 1 and counts[-1] == 3 and counts[3001] == 1


def test_a_smooth_step_stays_and_a_rough_one_goes():
    at = fitting.wavenumbers(64)
    assert at[0] == 0 and at[1] == pytest.approx(1.416, abs=1e-3) and len(at) == 56
    line = np.append(3.0, np.log(at[1:]))
    np.testing.assert_allclose(fitting.smooth(line, at)[1:-6], line[1:-6], atol=0.03)
    rough = np.append(3.0, (-1.0) ** np.arange(55))
    smoothed = fitting.smooth(rough, at)
    assert smoothed[0] == 3 and np.abs(smoothed[20:-10]).max() < 0.02


def test_too_few_cells_for_the_tail_are_refused():
    with pytest.raises(ValueError, match=r"^select\.n_calibrate: 11 samples of 16³ cells .* it takes at least 12$"):
        fitting.check_enough(16, 11, 100)
    with pytest.raises(ValueError, match=r"^select\.calibrate: 5 training subvolumes .* it takes at least 6$"):
        fitting.check_enough(16, 12, 5)
