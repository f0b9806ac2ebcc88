"""Compute the learning rates of both networks at every step."""

import math

from cosmogan.config import Train

PACE_GAIN = 0.01  # at chance, 0.4 above the aim, the rates move apart by a factor e in 250 steps
LARGEST_EXCESS, LARGEST_PACE = 0.4, math.log(64)


def rate_factor(train: Train, progress: float, updates: int) -> float:
    """Return the factor of both rates.

    Parameters
    ----------
    train : rate_end, rate_decay, decay_every
    progress : fraction of the training that is done: in its second half the rates fall linearly to ``rate_end``
    updates : steps that the generator took; after each ``decay_every`` of them ``rate_decay`` multiplies the rates
    """
    line = 1.0 - (1.0 - train.rate_end) * max(0.0, 2 * progress - 1)
    return line * train.rate_decay ** (updates // train.decay_every)


class Pace:
    """Keeps the discriminator's loss near an aim.

    A discriminator at chance teaches the generator nothing, nor does one that always wins; and how fast it learns
    depends on the size of the networks, the batch and the data. Above the aim its rate is raised and the generator's
    lowered, below it its rate is lowered. The logarithm of the ratio of the rates is the sum over the steps of the
    loss's excess over the aim: the same on any number of processes, whose losses are averaged.

    Parameters
    ----------
    aim : None: rates stay as they are

    Attributes
    ----------
    log : ln of the factor by which the rates move apart, up to `LARGEST_PACE` either way
    """

    def __init__(self, aim: float | None) -> None:
        self._aim, self.log = aim, 0.0

    def add(self, loss: float) -> None:
        """Add the discriminator's loss of a step."""
        if self._aim is not None:
            excess = min(max(loss - self._aim, -LARGEST_EXCESS), LARGEST_EXCESS)
            self.log = min(max(self.log + PACE_GAIN * excess, -LARGEST_PACE), LARGEST_PACE)

    @property
    def discriminator(self) -> float:
        """The factor of the discriminator's rate."""
        return math.exp(self.log / 2)

    @property
    def generator(self) -> float:
        """The factor of the generator's rate."""
        return math.exp(-max(self.log, 0.0) / 2)


def in_words(train: Train) -> str:
    """Return the names and values of both rates, for advice in a message."""
    g, d = train.generator_rate, train.discriminator_rate
    return f"train.generator_rate ({g:g}) and train.discriminator_rate ({d:g})"
