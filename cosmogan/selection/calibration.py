"""Calibrate the chosen generator, when that is better on training boxes that it was not fitted to."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosmogan.gan import calibration
from cosmogan.gan.calibration import Calibration, Tables
from cosmogan.gan.released import Released
from cosmogan.selection.candidates import Candidate, CandidateScorer, Look
from cosmogan.selection.fitting import RECIPE, Draws, TrainingSet, check_enough, fit, wavenumbers
from hpc.log import Progress
from hpc.partial_results import PartialResults

MAX_ORDER = 2  # of the polynomials in the conditions


class Calibrated(NamedTuple):
    """What a calibration came to."""

    calibration: Calibration | None  # None: it is not better
    order: int  # of the polynomials in the conditions
    before: float  # score on the training boxes left out, by turns, without it
    after: float  # and with it, fitted on the others


def calibrated(candidate: Candidate, judge: CandidateScorer, notes: PartialResults) -> Calibrated:
    """Return the calibration fitted on all training boxes, if on boxes left out of its fit, by turns, it is better.

    Parameters
    ----------
    candidate : the chosen generator
    judge, notes : of this selection

    Raises
    ------
    ValueError
        when there are too few samples or training subvolumes for the tail of the densities.
    """
    generator, n = judge.generator(candidate, 1.0), judge.settings.n_samples
    told = [_told(generator, look) for look in judge.looks]
    tables = _all_tables(candidate, generator, judge, notes)
    plain = judge.drawn(generator, n)
    before = float(np.mean([judge.score_on(fold, plain) for fold in range(judge.n_folds)]))

    def layers(left_out: int | None, order: int) -> Calibration:
        known = [(condition, fits) for condition, fits in zip(told, tables[left_out], strict=True) if fits is not None]
        return Calibration(torch.from_numpy(wavenumbers(judge.geometry.subvolume)), polynomial(known, order))

    def score(order: int) -> float:
        scores = []
        for fold in range(judge.n_folds):
            drawn = judge.drawn(judge.generator(candidate, 1.0, layers(fold, order)), n)
            scores.append(judge.score_on(fold, drawn))
        return float(np.mean(scores))

    scores = [score(order) for order in _orders(told, tables.values())]
    order = int(np.argmin(scores))
    kept = layers(None, order) if scores[order] < before else None
    return Calibrated(kept, order, before, scores[order])


def _all_tables(
    candidate: Candidate, generator: Released, judge: CandidateScorer, notes: PartialResults
) -> dict[int | None, list[Tables | None]]:
    """Return each look's tables, fitted without each fold of the training boxes in turn, and then to all.

    They are None where a look has no other training subvolumes.
    """
    folds, n = [*range(judge.n_folds), None], -(-judge.settings.n_calibrate // len(judge.looks))
    settings = json.dumps([RECIPE, judge.key(candidate, 1.0, judge.settings.n_calibrate)])
    key = f"calibration {hashlib.sha256(settings.encode()).hexdigest()}"
    known = judge.comm.bcast(notes.read() if judge.comm.rank == 0 else None)
    names = [{fold: f"{key} {number} {fold}" for fold in folds} for number in range(len(judge.looks))]
    missing = [{fold: name for fold, name in of_look.items() if name not in known} for of_look in names]
    with Progress("select: calibrating", sum(map(len, missing)), "fits", judge.comm.rank) as progress:
        for look, folds_left in zip(judge.looks, missing, strict=True):
            if not folds_left:
                continue
            check_enough(judge.geometry.subvolume, n, len(look.rows))
            training, draws = TrainingSet(judge, look), Draws(judge, generator, look, n)
            for fold, name in folds_left.items():
                target = training.target(fold)
                known[name] = None if target is None else _plain(fit(draws, target))
                if judge.comm.rank == 0:
                    notes.add(name, known[name])
                progress.advance()
    return {fold: [_read(known[of_look[fold]]) for of_look in names] for fold in folds}


def _plain(tables: Tables) -> list[list[float]]:
    return [values.tolist() for values in tables]


def _read(plain: list[list[float]] | None) -> Tables | None:
    return None if plain is None else Tables(*(torch.tensor(values, dtype=torch.float64) for values in plain))


def _told(generator: Released, look: Look) -> Tensor:
    """Return a look's condition as the networks see it, (names,)."""
    if generator.conditions is None or look.values is None:
        return torch.empty(0)
    return generator.conditions.standardised(look.values)[0]


def _orders(told: Sequence[Tensor], tables: Iterable[Sequence[Tables | None]]) -> range:
    """Return the orders of polynomials that are determined by the conditions there are tables for."""
    if not len(told[0]):
        return range(1)
    fewest = min(sum(one is not None for one in fits) for fits in tables)
    return range(sum(len(calibration.monomials(told[0], order)) <= fewest for order in range(MAX_ORDER + 1)))


def polynomial(known: Sequence[tuple[Tensor, Tables]], order: int) -> Tables:
    """Return the coefficients that come nearest to the tables known under some conditions, by least squares."""
    terms = np.stack([calibration.monomials(told.double(), order).numpy() for told, _ in known])
    kinds = zip(*(tables for _, tables in known), strict=True)
    values = [np.stack([one.numpy() for one in kind]) for kind in kinds]
    return Tables(*(torch.from_numpy(np.linalg.lstsq(terms, kind, rcond=None)[0]) for kind in values))
