"""The layers of a calibration: what they do to fields that are known."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.special import ndtr, ndtri

from cosmogan.gan import calibration
from cosmogan.gan.calibration import Calibration, Tables

SCORE = np.linspace(-3, 3, 61)
FLAT = np.zeros(4)
AT = torch.tensor([0.0, 1.0, 2.0, 3.0])


def tables(generated, calibrated, ln_transfer=FLAT, filtered=SCORE, lowest=0.0):
    """Tables of a map by the normal score."""
    values = (generated, SCORE, ln_transfer, filtered, calibrated, [lowest])
    return Tables(*(torch.tensor(np.asarray(one, float)) for one in values))


def layers(*args, **options):
    return Calibration(AT, Tables(*(one[None] for one in tables(*args, **options))))


def gaussian(n=4, m=8, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, m, m, m)))


def filtered_by(field, at, ln_transfer):
    return calibration.inverse_cosine(calibration.cosine(field) * calibration.transfer(len(field[0]), at, ln_transfer))


def test_the_transform_is_scipys_and_back():
    field = gaussian()
    modes = calibration.cosine(field)
    np.testing.assert_allclose(modes, dctn(field.numpy(), type=2, axes=(1, 2, 3), norm="ortho"), atol=1e-12)
    torch.testing.assert_close(calibration.inverse_cosine(modes), field)


def test_a_mode_is_filtered_by_the_transfer_at_its_wavenumber():
    """Three half waves along an axis: |k| is 1.5 fundamentals."""
    x = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    field = torch.cos(3 * torch.pi * x)[None, :, None, None].expand(1, 8, 8, 8)
    filtered = filtered_by(field, AT.double(), torch.tensor([9.0, 1.0, 2.0, 9.0]).double())
    torch.testing.assert_close(filtered, np.exp(1.5) * field)


def test_the_filter_is_that_of_a_mirrored_field_and_wraps_nothing_around():
    field = torch.zeros(1, 16, 16, 16, dtype=torch.float64)
    field[0, 0, 8, 8] = 1
    at = torch.linspace(0, 16, 60).double()
    smoothed = filtered_by(field, at, -((at / 1.5) ** 2))
    assert smoothed[0, 15, 8, 8].abs() < 1e-3 * smoothed[0, 0, 8, 8] and smoothed.sum() == pytest.approx(1)


def test_a_lognormal_field_becomes_another():
    """A map that must bring one known CDF to another: exp(s u) to exp(t u + a)."""
    u = gaussian(m=16).clamp(-2.9, 2.9)
    found = layers(0.5 * SCORE, 1.5 * SCORE - 1)(torch.exp(0.5 * u), torch.empty(0))
    torch.testing.assert_close(found, torch.exp(1.5 * u - 1))


def test_a_volume_is_the_same_in_any_batch_and_in_any_pieces(monkeypatch):
    calibrate, density = layers(SCORE, 1.3 * SCORE, [0.2, 0.1, -0.3, -1.0]), torch.exp(gaussian(5, 8))
    together = calibrate(density, torch.empty(0))
    monkeypatch.setattr(calibration, "CACHED", 2 * 8**3)
    torch.testing.assert_close(calibrate(density, torch.empty(0)), together, rtol=1e-12, atol=0)
    torch.testing.assert_close(calibrate(density[3:4], torch.empty(0)), together[3:4], rtol=1e-12, atol=0)
    assert calibrate(density[:0], torch.empty(0)).shape == (0, 8, 8, 8)


def test_the_emptiest_become_empty_and_the_densest_no_denser_than_the_last_knot():
    density = torch.exp(gaussian(m=16) * 2)
    found = layers(SCORE, SCORE, filtered=SCORE)(density, torch.empty(0))
    outside = density < np.exp(-3)
    assert outside.any() and (found[outside] == 0).all() and (found[~outside] > 0).all()
    assert found.max() == pytest.approx(np.exp(3)) and density.max() > np.exp(3)
    filled = layers(SCORE, SCORE, lowest=np.exp(-3))(density, torch.empty(0))
    assert filled.min() == pytest.approx(np.exp(-3))


def test_ties_are_gaussianised_at_their_mid_rank():
    density = torch.tensor([0.0, 1e-9, np.exp(-3) * 1.0001, 1.0])
    found = calibration.gaussianised(density, tables(SCORE, SCORE))
    np.testing.assert_allclose(found, [ndtri(ndtr(-3) / 2)] * 2 + [-3, 0], atol=2e-4)


def test_a_table_is_interpolated_as_by_numpy():
    x, random = gaussian(1, 16) * 2, np.random.default_rng(0)
    knots, values = np.cumsum(0.1 + random.random(9)) - 3, np.cumsum(random.random(9))
    for dtype in (torch.float64, torch.float32):
        line = calibration.interpolated(x.to(dtype), torch.from_numpy(knots), torch.from_numpy(values))
        assert line.dtype == dtype
        error = np.abs(line.numpy() - np.interp(x, knots, values))
        assert error.max() < 2e-3 and np.median(error) < 1e-6


def test_what_is_no_number_stays_none_and_harms_no_other_cell():
    x, knots = torch.tensor([np.nan, 0.5, np.inf]), torch.linspace(0, 1, 5)
    torch.testing.assert_close(
        calibration.interpolated(x, knots, 2 * knots), torch.tensor([np.nan, 1.0, 2.0]), equal_nan=True
    )


def test_gradients_are_those_of_differences():
    calibrate = layers(SCORE, 1.3 * SCORE, [0.2, 0.1, -0.3, -1.0])
    density = torch.exp(gaussian(1, 4)).requires_grad_()
    weight = gaussian(1, 4, seed=1)
    (slope,) = torch.autograd.grad((calibrate(density, torch.empty(0)) * weight).sum(), density)
    for place in [(0, 0, 0, 0), (0, 1, 2, 3), (0, 3, 3, 1)]:
        step = torch.zeros_like(density)
        step[place] = 1e-7
        up, down = (float((calibrate(density.detach() + s * step, torch.empty(0)) * weight).sum()) for s in (1, -1))
        assert float(slope[place]) == pytest.approx((up - down) / 2e-7, rel=1e-4)


def test_empty_cells_and_the_densest_have_no_gradient():
    calibrate = layers(SCORE, SCORE)
    density = torch.ones(1, 4, 4, 4, dtype=torch.float64)
    density[0, 0, 0, 0], density[0, 0, 0, 1] = 0, 1e4
    density.requires_grad_()
    (slope,) = torch.autograd.grad(calibrate(density, torch.empty(0)).sum(), density)
    assert slope.isfinite().all() and (slope[0, 0, 0, :2] == 0).all() and (slope[0, 1] > 0).all()


def test_gradients_flow_after_a_volume_was_drawn_without():
    calibrate, density = layers(SCORE, SCORE), torch.exp(gaussian(1, 6))
    with torch.inference_mode():
        calibrate(density, torch.empty(0))
    calibrate(density.requires_grad_(), torch.empty(0)).sum().backward()
    assert density.grad.abs().sum() > 0


def test_tables_are_polynomials_of_the_conditions():
    """Tables a + b c + d c^2 at c = 0.5, held where they would fall."""
    base = tables(SCORE, SCORE)
    stacked = Tables(*(torch.stack([one, 0.1 * torch.ones_like(one), torch.ones_like(one)]) for one in base))
    found = Calibration(AT, stacked).tables(torch.tensor([0.5]))
    np.testing.assert_allclose(found.generated, SCORE + 0.3)
    turned = stacked._replace(generated=torch.stack([base.generated, -3 * base.generated, 0 * base.generated]))
    assert (Calibration(AT, turned).tables(torch.tensor([0.5])).generated.diff() == 0).all()
    assert len(calibration.monomials(torch.tensor([2.0, 3.0]), 2)) == 6 and calibration.order_of(6, 2) == 2
    assert calibration.monomials(torch.tensor([2.0, 3.0]), 2).tolist() == [1, 2, 3, 4, 6, 9]


def test_damaged_tables_are_named():
    sound = layers(SCORE, SCORE)
    assert sound.damage(torch.empty(0)) is None
    for name in calibration.RISING:
        falls = layers(SCORE, SCORE)
        getattr(falls, name)[0, 30] += 1
        assert falls.damage(torch.empty(0)) == f"{name}: knots that fall"
    sound.ln_transfer[0, 0] = torch.nan
    assert sound.damage(torch.empty(0)) == "knots that are no numbers"
