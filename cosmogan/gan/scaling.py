"""Scale the density to what the networks see, and back, eq. (5)."""

import torch

# tanh is 1 in float32 from 9 on, where eq. (5) has its pole. This bound is a density of 8191 kappa: more than
# all the mass of a subvolume in one of its cells, for any kappa in use.
LIMIT = 1 - 2**-12


def scale(density: torch.Tensor, kappa: float | torch.Tensor) -> torch.Tensor:
    """Return c = 2 rho / (rho + kappa) - 1, in [-1, 1).

    Parameters
    ----------
    density : (...) tensor, in units of the mean
    kappa : the density at which c = 0, in units of the mean; a tensor: one for each sample
    """
    return 2 * density / (density + kappa) - 1


def unscale(scaled: torch.Tensor, kappa: float | torch.Tensor) -> torch.Tensor:
    """Return the density rho = kappa (1 + c) / (1 - c), in units of the mean; c is taken as at most `LIMIT`."""
    density = scaled.clamp(max=LIMIT)
    below = 1 - density
    return density.add_(1).div_(below).mul_(kappa)  # in place: a third of the time of new tensors
