"""Calibrate what a generator draws, by fixed layers: a filter of the Gaussianised field, then a one-point map.

A density rho becomes u = Phi^-1(CDF(rho)), with the generator's own CDF: a field whose cells are Gaussian. An isotropic
filter T(k) multiplies u's cosine transform, DCT-II, which mirrors the field at its faces: nothing wraps around. A map
v -> rho' of the filtered field v = T u then gives each rank of cells the training set's density of that rank. All three
are tables, fitted to training boxes (`cosmogan.selection.fitting`); here they are only applied.
"""

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

PREFIX = "calibration."  # of its tensors among a generator's weights
NARROWEST = 1e-12  # of the steps between knots that count
CACHED = 1 << 19  # cells at a time on a processor: what is between two operations stays in its cache
PLACES = 4096  # evenly spaced, where a table is looked up: a cell's is found by a multiplication
RISING = ("generated", "score", "filtered", "calibrated")


class Tables(NamedTuple):
    """The tables under one condition; knots rise with the cells' rank."""

    generated: Tensor  # (knots,) ln of the generated density
    score: Tensor  # (knots,) normal score Phi^-1(CDF) there
    ln_transfer: Tensor  # (wavenumbers,)
    filtered: Tensor  # (knots,) value of the filtered field
    calibrated: Tensor  # (knots,) ln of the density that it becomes
    lowest: Tensor  # (1,) density of cells below the first knot: 0 where the training set has empty cells


class Calibration(nn.Module):
    """Layers from the generated to the calibrated density; tables are polynomials of the standardised conditions.

    Parameters
    ----------
    wavenumbers : (wavenumbers,) rising from 0, in units of the fundamental 2 pi / L; T(k) is linear in between
    coefficients : (terms, numbers) each, of the monomials that `monomials` gives
    """

    wavenumbers: Tensor

    def __init__(self, wavenumbers: Tensor, coefficients: Tables) -> None:
        super().__init__()
        self.register_buffer("wavenumbers", wavenumbers.double())
        for name, values in coefficients._asdict().items():
            self.register_buffer(name, values.double())

    def tables(self, condition: Tensor) -> Tables:
        """Return the tables under a condition; polynomials that fall somewhere are held there.

        Parameters
        ----------
        condition : (names,) standardised; (0,) for an unconditional generator
        """
        stored = Tables(*(getattr(self, name) for name in Tables._fields))
        terms = monomials(condition.double(), order_of(len(stored.score), len(condition))).to(stored.score.device)
        tables = Tables(*((terms[:, None] * values).sum(0) for values in stored))
        if len(terms) == 1:
            return tables
        return tables._replace(**{name: getattr(tables, name).cummax(0).values for name in RISING})

    def forward(self, density: Tensor, condition: Tensor) -> Tensor:
        """Return calibrated densities (n, m, m, m) of generated ones, all under one condition."""
        tables = self.tables(condition)
        factor = transfer(density.shape[1], self.wavenumbers, tables.ln_transfer)
        parts = [
            mapped(inverse_cosine(cosine(gaussianised(part, tables)) * factor), tables) for part in pieces(density)
        ]
        return torch.cat(parts).to(density.dtype)

    def mapped(self, density: Tensor) -> Tensor:
        """Return densities (…) of which each cell is mapped by itself, without the filter; of no condition."""
        tables = self.tables(density.new_empty(0))
        return mapped(gaussianised(density, tables), tables).to(density.dtype)

    def damage(self, condition: Tensor) -> str | None:
        """Return what is wrong with the tables under a condition; None where they are sound."""
        tables = self.tables(condition)
        if not all(bool(values.isfinite().all()) for values in (self.wavenumbers, *tables)):
            return "knots that are no numbers"
        rising = {"wavenumbers": self.wavenumbers, **{name: getattr(tables, name) for name in RISING}}
        falling = [name for name, values in rising.items() if bool((values.diff() < 0).any())]
        return f"{falling[0]}: knots that fall" if falling else None


def pieces(fields: Tensor) -> tuple[Tensor, ...]:
    """Return fields (n, m, m, m), on a processor in parts of about `CACHED` cells."""
    size = CACHED // fields[0].numel() if len(fields) and fields.device.type == "cpu" else len(fields)
    return fields.split(max(1, size))


def monomials(condition: Tensor, order: int) -> Tensor:
    """Return all products of at most ``order`` of the numbers, (terms,), the empty product first."""
    powers = [c for n in range(order + 1) for c in itertools.combinations_with_replacement(range(len(condition)), n)]
    return torch.stack([condition[list(power)].prod() for power in powers])


def order_of(terms: int, names: int) -> int:
    """Return the order at which `monomials` of so many names has so many terms."""
    order = 0
    while names and len(monomials(torch.zeros(names), order)) < terms:
        order += 1
    return order


def gaussianised(density: Tensor, tables: Tables) -> Tensor:
    """Return the normal scores of cells, float64; those below the first knot are tied, at their mid-rank."""
    first = tables.generated[0].detach()
    logarithm = density.double().clamp(min=float(first.exp()) / 2).log()
    tied = torch.special.ndtri(torch.special.ndtr(tables.score[0]) / 2)
    return torch.where(logarithm < first, tied, interpolated(logarithm, tables.generated, tables.score))


def transfer(m: int, wavenumbers: Tensor, ln_transfer: Tensor) -> Tensor:
    """Return T of every mode of the cosine transform, (m, m, m)."""
    q = _mode_lengths(m, str(wavenumbers.device))
    return interpolated(q, wavenumbers, ln_transfer).exp()


def mapped(filtered: Tensor, tables: Tables) -> Tensor:
    """Return the calibrated density of cells with these values, in their precision; at most that of the last knot."""
    density = interpolated(filtered, tables.filtered, tables.calibrated).exp()
    return torch.where(filtered < tables.filtered[0], tables.lowest.clamp(min=0).to(density.dtype), density)


def interpolated(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return the line through (knots, values) at x, constant beyond both ends; it can be differentiated.

    It is resampled at `PLACES` places, evenly spaced from the first knot to the last.
    """
    first, last = knots[0], knots[-1]
    line = _line(first + (last - first) * _places(str(knots.device)).to(knots.dtype), knots, values).to(x.dtype)
    place = ((x - first) * ((PLACES - 1) / (last - first).clamp(min=NARROWEST))).clamp(0, PLACES - 1)
    left = place.detach().long().clamp(0, PLACES - 2)  # of no number, too
    return torch.lerp(line[left], line[1:][left], place - left)


@lru_cache(maxsize=8)
def _places(device: str) -> Tensor:
    """Return `PLACES` numbers from 0 to 1."""
    with torch.inference_mode(False):  # what is kept may take part in gradients later
        return torch.linspace(0, 1, PLACES, dtype=torch.float64).to(device)


def _line(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return the line at x by a search among the knots, which is slow for many."""
    right = torch.searchsorted(knots, x).clamp(1, len(knots) - 1)
    x0, x1 = knots[right - 1], knots[right]
    weight = ((x - x0) / (x1 - x0).clamp(min=NARROWEST)).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], weight)


def cosine(field: Tensor) -> Tensor:
    """Return the orthonormal DCT-II of fields (n, m, m, m), in float64, which no GPU rounds to TF32."""
    return _along_axes(field.double(), _cosines(field.shape[1], str(field.device)).T)


def inverse_cosine(modes: Tensor) -> Tensor:
    """Return the fields of `cosine`'s modes, in their precision."""
    return _along_axes(modes, _cosines(modes.shape[1], str(modes.device)).to(modes.dtype))


def _along_axes(field: Tensor, matrix: Tensor) -> Tensor:
    for _ in range(3):
        field = (field @ matrix).permute(0, 3, 1, 2)
    return field


@lru_cache(maxsize=8)
def _cosines(m: int, device: str) -> Tensor:
    """Return the orthogonal matrix of the DCT-II, (modes, cells)."""
    cosines = np.cos(np.pi / m * np.arange(m)[:, None] * (np.arange(m) + 0.5)) * np.sqrt(2 / m)
    cosines[0] /= np.sqrt(2)
    with torch.inference_mode(False):  # what is kept may take part in gradients later
        return torch.from_numpy(cosines).to(device)


@lru_cache(maxsize=8)
def _mode_lengths(m: int, device: str) -> Tensor:
    """Return |k| of the cosine modes in units of 2 pi / L, (m, m, m): number j has j half waves in L."""
    with torch.inference_mode(False):
        square = (torch.arange(m, dtype=torch.float64) / 2) ** 2
        return (square[:, None, None] + square[:, None] + square).sqrt().to(device)
