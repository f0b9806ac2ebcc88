"""Calibrate the chosen generator, when that is better on training boxes that it was not fitted to."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosmogan.gan import calibration
from cosmogan.gan.calibration import Calibration, Tables
from cosmogan.selection.candidates import Candidate, CandidateScorer, Generator, ScoringCondition
from cosmogan.selection.fitting import FEWER, RECIPE, ROUNDS, Draws, TrainingSet, check_enough, fit, wavenumbers
from hpc.log import Progress
from hpc.partial_results import PartialResults

MAX_ORDER = 2  # of the polynomials in the conditions


class Calibrated(NamedTuple):
    """A calibration, and the scores that decide whether it is kept."""

    calibration: Calibration | None  # None: it is not better
    order: int  # of the polynomials in the conditions
    before: float  # score on the training boxes left out, by turns, without it
    after: float  # and with it, fitted on the others


def calibrated(candidate: Candidate, scorer: CandidateScorer, partial: PartialResults) -> Calibrated:
    """Return the calibration fitted on all training boxes, if on boxes left out of its fit, by turns, it is better.

    Parameters
    ----------
    candidate : the chosen generator
    scorer, partial : of this selection

    Raises
    ------
    ValueError
        when there are too few samples or training subvolumes for the tail of the densities.
    """
    generator, n = scorer.generator(candidate, 1.0), scorer.settings.n_samples
    condition_values = [_condition_values(generator, condition) for condition in scorer.conditions]
    tables = _all_tables(candidate, generator, scorer, partial)
    drawn = scorer.densities(generator, n)

    def layers(left_out: int | None, order: int) -> Calibration:
        pairs = zip(condition_values, tables[left_out], strict=True)
        fitted = [(values, fits) for values, fits in pairs if fits is not None]
        return Calibration(torch.from_numpy(wavenumbers(scorer.geometry.subvolume)), polynomial(fitted, order))

    def score(order: int) -> float:
        scores = []
        for fold in range(scorer.n_folds):
            of_fold = layers(fold, order).to(scorer.device)
            pairs = zip(drawn, condition_values, strict=True)
            changed = [_changed(batches, of_fold, values, scorer.device) for batches, values in pairs]
            scores.append(scorer.score_on(fold, scorer.summaries(changed)))
        return float(np.mean(scores))

    plain = scorer.summaries(drawn)
    before = float(np.mean([scorer.score_on(fold, plain) for fold in range(scorer.n_folds)]))
    scores = [score(order) for order in _orders(condition_values, tables.values())]
    order = int(np.argmin(scores))
    kept = layers(None, order) if scores[order] < before else None
    return Calibrated(kept, order, before, scores[order])


def _changed(batches: list[Tensor], layers: Calibration, values: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Yield batches of densities under one condition, calibrated, on the device."""
    for density in batches:
        yield layers(density.to(device), values)


def _all_tables(
    candidate: Candidate, generator: Generator, scorer: CandidateScorer, partial: PartialResults
) -> dict[int | None, list[Tables | None]]:
    """Return each condition's tables, fitted without each fold of the training boxes in turn, and then to all.

    They are None where a condition has no other training subvolumes.
    """
    folds, n = [*range(scorer.n_folds), None], -(-scorer.settings.n_calibrate // len(scorer.conditions))
    n_samples = {fold: n if fold is None else -(-n // FEWER) for fold in folds}
    settings = json.dumps([RECIPE, scorer.key(candidate, 1.0, scorer.settings.n_calibrate)])
    key = f"calibration {hashlib.sha256(settings.encode()).hexdigest()}"
    recorded = scorer.comm.on_root(partial.read)
    names = [{fold: f"{key} {number} {fold}" for fold in folds} for number in range(len(scorer.conditions))]
    missing = [{fold: name for fold, name in of_condition.items() if name not in recorded} for of_condition in names]
    with Progress("select: calibrating", sum(map(len, missing)), "fits", scorer.comm.rank) as progress:
        for condition, folds_left in zip(scorer.conditions, missing, strict=True):
            if not folds_left:
                continue
            check_enough(scorer.geometry.subvolume, n, len(condition.rows))
            training, draws = TrainingSet(scorer, condition), None
            for fold, name in folds_left.items():
                if draws is None or draws.n != n_samples[fold]:
                    draws = Draws(scorer, generator, condition, n_samples[fold])
                target = training.target(fold)
                recorded[name] = (
                    None if target is None else _plain(fit(draws, target, 0 if scorer.is_local else ROUNDS))
                )
                if scorer.comm.rank == 0:
                    partial.add(name, recorded[name])
                progress.advance()
    return {fold: [_read(recorded[of_condition[fold]]) for of_condition in names] for fold in folds}


def _plain(tables: Tables) -> list[list[float]]:
    return [values.tolist() for values in tables]


def _read(plain: list[list[float]] | None) -> Tables | None:
    return None if plain is None else Tables(*(torch.tensor(values, dtype=torch.float64) for values in plain))


def _condition_values(generator: Generator, condition: ScoringCondition) -> Tensor:
    """Return a condition as the networks see it, (names,)."""
    if generator.conditions is None or condition.values is None:
        return torch.empty(0)
    return generator.conditions.standardised(condition.values)[0]


def _orders(condition_values: Sequence[Tensor], tables: Iterable[Sequence[Tables | None]]) -> range:
    """Return the orders of polynomials that are determined by the conditions there are tables for."""
    condition = condition_values[0]
    if not len(condition):
        return range(1)
    fewest = min(sum(table is not None for table in fits) for fits in tables)
    return range(sum(len(calibration.monomials(condition, order)) <= fewest for order in range(MAX_ORDER + 1)))


def polynomial(fitted: Sequence[tuple[Tensor, Tables]], order: int) -> Tables:
    """Return the coefficients that come nearest to the tables fitted under some conditions, by least squares."""
    terms = np.stack([calibration.monomials(values.double(), order).numpy() for values, _ in fitted])
    kinds = zip(*(tables for _, tables in fitted), strict=True)
    values = [np.stack([table.numpy() for table in kind]) for kind in kinds]
    return Tables(*(torch.from_numpy(np.linalg.lstsq(terms, kind, rcond=None)[0]) for kind in values))
