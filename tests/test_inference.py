"""The example of inference: posteriors of a small generator's conditions are of the right width, and say something."""

import runpy

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.special import ndtr

from cosmogan.gan import networks, released
from cosmogan.gan.calibration import Calibration, Tables
from cosmogan.gan.conditions import Conditions

NAMES = ("omega_m", "sigma_8")
GRID = np.stack(np.meshgrid([0.2, 0.3, 0.4], [0.7, 0.8, 0.9]), axis=-1).reshape(-1, 2)


def small_generator():
    """Return a generator of random weights, calibrated to Gaussian fields in ln ρ: Ω_m tilts P(k), σ_8 scales ln ρ."""
    model = {"kappa": 4.0, "width": 4, "latent_dimension": 6, "density_bias": True, "subvolume": 8}
    model |= {"prior": "student_t", "degrees_of_freedom": 10.0, "condition": list(NAMES)}
    geometry = {"redshift": 0.0, "box_size": 128.0, "n_mesh": 32, "subvolume": 8, "mean_cell_mass": 5.0, "window": 2}
    settings = {"model": model, "geometry": geometry, "latent_scale": 1.0}
    settings["conditions"] = Conditions.of(NAMES, GRID).plain()
    network = networks.generator(released.model_of(settings), 8, 1)
    networks.initialise(network, 1, output=-0.5)
    generator, score = released.Released(settings, network), np.linspace(-4, 4, 33)
    drawn = np.log(generator.sample(512, omega_m=0.3, sigma_8=0.8))
    knots = np.quantile(drawn, ndtr(score))
    base = Tables(*map(torch.from_numpy, (knots, score, np.zeros(2), score, score - 0.5, np.zeros(1))))
    none = Tables(*map(torch.zeros_like, base))
    tilted, scaled = none._replace(ln_transfer=torch.tensor([0.5, -0.5])), none._replace(calibrated=0.4 * base.score)
    tables = Tables(*(torch.stack(values) for values in zip(base, tilted, scaled, strict=True)))
    generator.calibration = Calibration(torch.tensor([0.0, 4.0]), tables)
    return generator


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Capping max_sampling_batch_size")
def test_posteriors_are_of_the_right_width_and_say_something(tmp_path, monkeypatch):
    pytest.importorskip("sbi", reason="not installed; `make test` adds it")
    monkeypatch.chdir(tmp_path)  # where sbi writes its logs
    torch.manual_seed(0)
    inference = runpy.run_path(str(ROOT / "examples/inference.py"))["Inference"](small_generator(), {}, n=1000)
    assert inference.names == list(NAMES) and (inference.coverage(n=200, draws=200) > 0.001).all()
    values = inference.prior.sample((100,))
    drawn = inference.posterior.sample_batched((200,), x=inference.spectra(values, 5), show_progress_bars=False)
    for mean, truth in zip(drawn.mean(0).T, values.T, strict=True):
        assert np.corrcoef(mean, truth)[0, 1] > 0.6
