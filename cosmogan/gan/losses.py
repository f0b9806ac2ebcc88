"""Binary cross-entropy with hard labels, of logits: -log sigmoid(x) = softplus(-x)."""

import torch
from torch.nn.functional import softplus


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits for real (label 1) plus that for fake (label 0) samples, eq. (1)."""
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Return the non-saturating loss: the mean cross-entropy of fake samples' logits with label 1."""
    return softplus(-fake).mean()
