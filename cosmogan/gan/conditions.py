"""Standardise the conditions of a generator: the redshift, or any numbers of a simulation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from cosmogan.config import Model
from cosmogan.gan import latent

ROUNDING = 2e-3  # of a range: snapshots are written at the first time step past a redshift


@dataclass(frozen=True)
class Conditions:
    """The conditions that a generator was trained on, and how they are standardised.

    Networks see (value - mean) / deviation, mean and standard deviation over the distinct conditions, which balanced
    batches show equally often.

    Parameters
    ----------
    names : of the numbers in a condition, in the networks' order
    distinct : conditions of the training set, each once, rising
    """

    names: tuple[str, ...]
    distinct: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, names: Sequence[str], values: np.ndarray) -> "Conditions":
        """Return the conditions of a training set whose rows have ``values``, (n, names).

        Raises
        ------
        ValueError
            when a number is the same in all rows: it says nothing.
        """
        distinct = np.unique(values, axis=0)
        for name, numbers in zip(names, distinct.T, strict=True):
            if numbers.min() == numbers.max():
                raise ValueError(
                    f"model.condition: all training subvolumes have {name} = {numbers[0]:g}, expected several"
                )
        return cls(tuple(names), tuple(map(tuple, distinct.tolist())))

    @classmethod
    def read(cls, plain: object) -> "Conditions":
        """Return the conditions that `plain` wrote.

        Raises
        ------
        ValueError
            when they are not.
        """
        match plain:
            case {"names": [*names], "known": [*known]} if known and all(_is_row(row, len(names)) for row in known):
                return cls(tuple(map(str, names)), tuple(tuple(map(float, row)) for row in known))
        raise ValueError(f"conditions: expected names, and in known as many numbers each; found {plain!r:.80}")

    def plain(self) -> dict[str, Any]:
        """Return plain data for a file: names and distinct conditions, and for its readers what follows from them."""
        mean, deviation = self._moments()
        derived = {"low": self.low, "high": self.high, "mean": mean.tolist(), "deviation": deviation.tolist()}
        return {"names": list(self.names), "known": [list(condition) for condition in self.distinct], **derived}

    @property
    def low(self) -> list[float]:
        """The smallest trained value of each number."""
        return np.min(self.distinct, axis=0).tolist()

    @property
    def high(self) -> list[float]:
        """The largest trained value of each number."""
        return np.max(self.distinct, axis=0).tolist()

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.mean(self.distinct, axis=0), np.std(self.distinct, axis=0)

    def standardised(self, values: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Return conditions (n, names) as the networks see them, (n, names) float32."""
        numbers = _float64(values)
        mean, deviation = (torch.from_numpy(moment).to(numbers.device) for moment in self._moments())
        return ((numbers - mean) / deviation).float()

    def kappa(self, model: Model, values: np.ndarray | torch.Tensor) -> float | torch.Tensor:
        """Return the scaling's kappa: a number, or (n, 1, 1, 1, 1) where it depends on the redshift."""
        if model.kappa_redshift == 0:
            return model.kappa
        z = _float64(values)[:, self.names.index("redshift")]
        kappa = model.kappa * (1 + z) ** -model.kappa_redshift
        return kappa.float()[:, None, None, None, None]

    def vector(self, condition: dict[str, float]) -> np.ndarray:
        """Return a condition's numbers in order, (1, names).

        Raises
        ------
        ValueError
            when one is missing, or is none of the generator's.
        """
        if set(condition) != set(self.names):
            raise ValueError(
                f"condition: this generator is conditioned on {', '.join(self.names)}; "
                f"found {', '.join(condition) or 'nothing'}"
            )
        return np.array([[condition[name] for name in self.names]], float)

    def outside(self, values: np.ndarray) -> list[str]:
        """Return a line for each number that leaves the trained range somewhere in ``values`` (n, names)."""
        lines = []
        for name, numbers, low, high in zip(self.names, values.T, self.low, self.high, strict=True):
            margin = ROUNDING * (high - low)
            wrong = numbers[(numbers < low - margin) | (numbers > high + margin)]
            if len(wrong):
                lines.append(
                    f"{name} = {wrong[0]:g} is outside of what the generator was trained on, {low:g} to {high:g}"
                )
        return lines


def _is_row(row: object, n: int) -> bool:
    return isinstance(row, list) and len(row) == n and all(isinstance(number, int | float) for number in row)


def _float64(values: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor, which gradients reach where they were one."""
    return values.double() if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, float))


class BatchConditions(NamedTuple):
    """The conditions of one process's part of a batch."""

    real: torch.Tensor  # (n, names), standardised, as everywhere below
    fake: torch.Tensor  # (n, names)
    kappa: float | torch.Tensor  # of the real samples' scaling


class TrainingConditions:
    """The conditions of a training set's rows.

    Parameters
    ----------
    model : condition and kappa
    values : (n, names) of each row
    prior : where fakes' conditions come from: ``training``, those of the batch's real samples; ``uniform``, evenly
        from the trained range, in each number by itself
    """

    def __init__(self, model: Model, values: np.ndarray, prior: str) -> None:
        self.conditions = Conditions.of(model.condition, values)
        self._model, self._values, self._prior = model, values, prior
        _, group = np.unique(values, axis=0, return_inverse=True)
        # The places of each distinct condition's rows: batches take them in turn.
        self.groups = [np.flatnonzero(group.ravel() == i) for i in range(len(self.conditions.distinct))]

    def of_preview(self) -> tuple[torch.Tensor, float]:
        """Return the condition of previews, the first, standardised (1, names), and its kappa."""
        first = np.array(self.conditions.distinct[:1])
        kappa = self.conditions.kappa(self._model, first)
        return self.conditions.standardised(first), float(kappa)

    def of_batch(self, places: np.ndarray, seed: int, first: int) -> BatchConditions:
        """Return the conditions of samples number ``first`` on, the rows at ``places``, and of their fakes."""
        values, conditions = self._values[places], self.conditions
        fakes = values
        if self._prior == "uniform":
            low, high = np.array(conditions.low), np.array(conditions.high)
            fakes = low + (high - low) * latent.uniform(seed, latent.CONDITION, first, values.shape)
        real, fake = conditions.standardised(values), conditions.standardised(fakes)
        return BatchConditions(real, fake, conditions.kappa(self._model, values))
