"""Detect a collapse of the training, once per epoch."""

import math

import torch

from cosmogan.gan import losses
from cosmogan.training import schedule
from cosmogan.training.dataset import Batch
from cosmogan.training.trainer import Trainer
from cosmogan.training.update import Collapse, Outcome
from hpc.log import say

WINDOW = 200  # an epoch of fewer steps is checked together with those after it
CHANCE, WON = 0.95, 0.05  # losses, in units of that at chance, from which a discriminator is warned of
SPREAD = 1e-3  # rms difference of scaled density from sample to sample, below which samples are all the same
N_COMPARED = 8  # samples that are compared


class CollapseDetector:
    """Sums over the present epoch, checked at its end.

    Parameters
    ----------
    sums : those of the detector before a resume
    """

    def __init__(self, sums: list[float] | None) -> None:
        self.sums = [0.0, 0.0, 0.0] if sums is None else sums  # loss of the discriminator, its steps, all steps

    def add(self, outcome: Outcome) -> None:
        """Add the numbers of a step."""
        for i, number in enumerate((outcome.loss_discriminator, outcome.gate_rate, 1.0)):
            self.sums[i] += number

    def check(self, trainer: Trainer, batch: Batch) -> None:
        """Check the epoch that ended, and begin the next.

        Parameters
        ----------
        trainer : whose it is
        batch : in whose place samples are drawn and compared, `N_COMPARED` or so

        Raises
        ------
        Collapse
            on all processes, when the networks no longer learn.
        """
        if complaint := self._complaint(trainer, batch):
            raise Collapse(complaint)
        if warning := self._warning(trainer):
            say(f"train: warning: epoch {trainer.epoch}: {warning}", trainer.processes.rank)
        if self.sums[2] >= WINDOW:
            self.sums = [0.0, 0.0, 0.0]

    def _warning(self, trainer: Trainer) -> str:
        settings, chance = trainer.train, losses.OBJECTIVES[trainer.train.loss].chance
        loss, _, n = self.sums
        if n < WINDOW or chance is None or CHANCE * chance > loss / n > WON * chance:
            return ""
        if loss / n < WON * chance:
            return (
                f"the discriminator wins (mean loss {loss / n:.3f}): its gradients are of little use to the generator; "
                f"lower train.discriminator_rate ({settings.discriminator_rate:g}), or set train.r1 ({settings.r1:g})"
            )
        return (
            f"the discriminator is at chance (mean loss {loss / n:.3f}; {chance:.3f} is knowing nothing): nor does the "
            f"generator learn anything; raise train.discriminator_rate ({settings.discriminator_rate:g}), or set "
            f"train.discriminator_loss to {0.7 * chance:.1f} ({settings.discriminator_loss}), or train.gate to 0 "
            f"({settings.gate:g})"
        )

    def _complaint(self, trainer: Trainer, batch: Batch) -> str:
        settings = trainer.train
        loss, steps, n = self.sums
        d_rate = f"train.discriminator_rate ({settings.discriminator_rate:g})"
        norms = torch.stack([trainer.generator.norm(), trainer.discriminator.norm()])
        if not norms.isfinite().all():
            return f"weights are not finite numbers; lower {schedule.in_words(settings)}"
        if n >= WINDOW and steps == 0:
            return (
                f"the discriminator rested for all of {n:.0f} steps, as fakes never deceive it (gate shut); "
                f"lower {d_rate} or train.gate ({settings.gate:g}), or raise train.generator_rate "
                f"({settings.generator_rate:g})"
            )
        won = losses.OBJECTIVES[settings.loss].won
        if n >= WINDOW and won is not None and loss / n < won:
            return f"the discriminator's loss is {loss / n:.1e} over {n:.0f} steps: it always wins; lower {d_rate}"
        spread = _spread(trainer.preview_samples(batch))
        if trainer.processes.any(not spread >= SPREAD, trainer.device):
            rates = schedule.in_words(settings)
            return f"all fakes are the same (scaled density differs by {spread:.1e}, rms); lower {rates}"
        return ""


def _spread(samples: torch.Tensor) -> float:
    """Return the rms over cells of the standard deviation from sample to sample."""
    return math.sqrt(samples.var(dim=0).mean().item())
