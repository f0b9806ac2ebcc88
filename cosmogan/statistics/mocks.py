"""Make mapped Gaussian mocks: Gaussian fields under a monotone map, with a given P(k) and voxel PDF.

A mock is ρ = Q(Φ(g)), g a Gaussian field of variance 1 in a periodic box and Q the quantiles of the given densities. So
its voxel PDF is right. Its P(k) is made right by iteration on the spectrum of g: a field is drawn, mapped and measured,
and the spectrum multiplied by what P(k) lacks. Where even hardly any Gaussian power leaves too much (a field with such
a P(k) and PDF would need negative power), the spectrum is clipped at `LEAST`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

N_ROUNDS = 8
N_FIELDS = 3  # whose mean P(k) is made right
WIDTH = 1.5  # of the smoothing of the spectrum's factor [shells]
SMALLEST = 4  # [fundamentals]: of larger waves a box has too few to say how well they are met
DAMPING = 0.7
LEAST = 1e-3  # of the given P(k), before both are normalised
FIT_CELLS = 128  # a side of the box in which the spectrum is solved for, at most
SLAB = 2**22  # cells that are mapped at once


@dataclass(frozen=True)
class Recipe:
    """The Gaussian spectrum and the quantiles of density from which mocks are drawn."""

    q: np.ndarray  # (nq,) wavenumbers, in units of Nyquist
    power: np.ndarray  # (nq,) of the Gaussian field, any amplitude
    quantiles: Tensor  # (n,) rising densities, equally probable
    clipped: float  # fraction of wavenumbers up to Nyquist at which the spectrum is clipped
    off: float  # rms of P/P_given - 1 over the modes up to Nyquist in the last round


def shell_power(density: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return wavenumbers, in units of Nyquist, and |δ_k|²/n³ of a periodic box in shells of one fundamental.

    Parameters
    ----------
    density : (n, n, n)

    Returns
    -------
    (nq,), (nq,) float64, from the fundamental to the corner; n⁻³ the volume times this is P(k)
    """
    n = len(density)
    delta_k = torch.fft.rfftn(density - density.mean())
    sums = torch.zeros(n + 1, dtype=torch.float64, device=density.device)
    counts, lengths = torch.zeros_like(sums), torch.zeros_like(sums)
    for i in range(n):
        q, weight = _plane(n, i, density.device)
        place = q.round().long().flatten()
        for into, values in (
            (sums, (delta_k[i].abs().square() * weight).double()),
            (counts, weight.expand_as(q).double()),
            (lengths, (q * weight).double()),
        ):
            into.scatter_add_(0, place, values.flatten())
    kept = counts.cpu().numpy() > 0
    kept[0] = False
    total, number, length = (column.cpu().numpy()[kept] for column in (sums, counts, lengths))
    return length / number / (n / 2), total / number / n**3


def solve(q: np.ndarray, power: np.ndarray, quantiles: Tensor, n: int, seed: int) -> Recipe:
    """Solve for the Gaussian spectrum of mocks.

    Parameters
    ----------
    q, power : (nq,) the given P(k), as `shell_power` returns it
    quantiles : (n_values,) rising densities, on the device that is to work
    n : cells a side of the mocks' boxes
    seed : of the field with which the spectrum is solved for
    """
    n = min(n, FIT_CELLS)
    own, _ = shell_power(torch.zeros(n, n, n, device=quantiles.device))
    wanted = _interpolated(own, q, power)
    spectrum = wanted.copy()
    phases = [_phases(n, seed, 2**31 + number, quantiles.device) for number in range(N_FIELDS)]
    for _ in range(N_ROUNDS):
        reached = _shape(phases, own, spectrum, quantiles) * (wanted @ own**2)
        factor = _smooth(own, np.log(spectrum / wanted) + DAMPING * np.log(wanted / reached))
        spectrum = np.maximum(np.exp(factor - factor.max()), LEAST) * wanted
    reached = _shape(phases, own, spectrum, quantiles) * (wanted @ own**2)
    low = (own <= 1) & (own >= SMALLEST * own[0])
    clipped = np.mean((spectrum <= LEAST * wanted)[low])
    off = np.sqrt(np.average((reached / wanted - 1)[low] ** 2, weights=own[low] ** 2))
    factor = np.exp(np.interp(np.log(q), np.log(own), np.log(spectrum / wanted)))
    return Recipe(q, power * factor, quantiles, float(clipped), float(off))


def _phases(n: int, seed: int, number: int, device: torch.device) -> Tensor:
    """Return white noise whose modes have random phases and one amplitude, so that one field tells P(k) of all."""
    white = _white(n, seed, number, device)
    return white * (n**1.5 / white.abs().clamp(min=1e-20))


def _smooth(q: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values smoothed over neighbouring shells, each with the weight of its modes: the first ones have few."""
    apart = np.arange(len(q))[:, None] - np.arange(len(q))
    weight = np.exp(-((apart / WIDTH) ** 2) / 2) * q**2
    return weight @ values / weight.sum(axis=1)


def _shape(phases: list[Tensor], q: np.ndarray, spectrum: np.ndarray, quantiles: Tensor) -> np.ndarray:
    """Return P(k) of mapped fields over its total: the variance of one box is not the mean one."""
    power = np.mean([shell_power(mapped(_field(phase, q, spectrum), quantiles))[1] for phase in phases], axis=0)
    return power / (power @ q**2)


def draw(recipe: Recipe, n: int, seed: int, number: int) -> Tensor:
    """Return the densities of a periodic box of mocks, (n, n, n) float32; (seed, number) is always the same box."""
    white = _white(n, seed, number, recipe.quantiles.device)
    return mapped(_field(white, recipe.q, recipe.power), recipe.quantiles)


def mapped(gauss: Tensor, quantiles: Tensor) -> Tensor:
    """Return a field of variance 1 as densities with the given quantiles, in place."""
    flat = gauss.view(-1)
    for part in flat.split(SLAB):
        rank = torch.special.ndtr(part.double()).mul_(len(quantiles)).long().clamp_(max=len(quantiles) - 1)
        part.copy_(quantiles[rank])
    return gauss


def _white(n: int, seed: int, number: int, device: torch.device) -> Tensor:
    """Return the transform of white noise of variance 1, (n, n, n//2 + 1) complex."""
    bits = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
    return torch.fft.rfftn(torch.from_numpy(bits.standard_normal((n, n, n), np.float32)).to(device))


def _field(white: Tensor, q: np.ndarray, power: np.ndarray) -> Tensor:
    """Return the field of variance 1 with a spectrum (nq,) at wavenumbers q in units of Nyquist, (n, n, n)."""
    n = len(white)
    modes, variance = torch.empty_like(white), 0.0
    for i in range(n):
        lengths, weight = _plane(n, i, white.device)
        values = _interpolated(lengths.cpu().numpy() / (n / 2), q, power)
        spectrum = torch.from_numpy(values).to(white.device, torch.float32)
        spectrum[lengths == 0] = 0
        variance += float((spectrum.double() * weight).sum()) / n**3
        modes[i] = white[i] * spectrum.sqrt()
    return torch.fft.irfftn(modes, s=(n, n, n)) / variance**0.5


def _interpolated(wavenumbers: np.ndarray, q: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return a spectrum at other wavenumbers, straight in logarithms."""
    with np.errstate(divide="ignore"):
        return np.exp(np.interp(np.log(wavenumbers), np.log(q), np.log(power)))


def _plane(n: int, i: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return |q| of plane i of a half spectrum, (n, n//2 + 1), and how many modes each one stands for."""
    axis = torch.fft.fftfreq(n, 1 / n, device=device)
    last = torch.arange(n // 2 + 1, device=device)
    weight = torch.where((last == 0) | (2 * last == n), 1.0, 2.0)
    return (axis[i] ** 2 + axis[:, None] ** 2 + last**2).sqrt(), weight
