"""Score draws of a local generator by how likely the simulation is among them: the energy score of random features.

For a vector y and two draws x, x' of its distribution the mean of |y - x| - |x - x'| / 2 is smallest for the right
distribution (Gneiting & Raftery 2007, section 4.2). Numbers take the place of vectors: projections of neighbourhoods
on random directions, whose distributions together are that of the neighbourhood (Cramér & Wold 1936).
"""

import numpy as np
import torch
import torch.nn.functional as F

from cosmogan.gan import latent
from cosmogan.gan.layers import log_density
from cosmogan.gan.scaling import unscale

N_DIRECTIONS, SIDE = 8, 3  # random directions in each step, in neighbourhoods of 3³ cells
COARSER = (1, 2, 4)  # cells of so many a side, averaged: neighbourhoods of 3, 6 and 12 cells
FLOORS = (0.01, 1.0)  # in units of the mean, added before logarithms are taken: one resolves voids, one sheets
N_VIEWS = len(FLOORS) + 1  # of the density: in logarithms, and as it is, of which clumps make most


def directions(seed: int, step: int) -> torch.Tensor:
    """Return random directions in neighbourhoods, `N_DIRECTIONS` a view, (…, 1, 3, 3, 3) float32, of length about 1."""
    n = N_VIEWS * N_DIRECTIONS * SIDE**3
    u, v = latent.uniform(seed, latent.DIRECTION, step, (2, n))
    normal = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v) / SIDE**1.5
    return torch.from_numpy(normal.astype(np.float32)).view(-1, 1, SIDE, SIDE, SIDE)


def energy_score(
    fake: torch.Tensor, real: torch.Tensor, other: torch.Tensor, directions: torch.Tensor, kappa: float
) -> torch.Tensor:
    """Return what has the gradient of the energy score: the mean of |y - x| - |x - x'|, summed over scales.

    Only x is followed; by symmetry half of the gradient of |x - x'| comes through x', which counts twice here instead.

    Parameters
    ----------
    fake : x, (n, 1, m, m, m), scaled, with gradients
    real : y, the simulation
    other : x', other draws under the same input
    directions : of `directions`
    kappa : of the scaling
    """
    score = fake.new_zeros(())
    views = [_views(x, kappa) for x in (fake, real, other)]
    for side in (side for side in COARSER if fake.shape[-1] >= SIDE * side):
        fields = [F.avg_pool3d(view, side) if side > 1 else view for view in views]
        x, y, z = (F.conv3d(field, directions.to(field), groups=N_VIEWS) for field in fields)
        weight = side**1.5  # independent cells then count alike on all scales
        score = score + weight * ((y - x).abs().mean() - (x - z).abs().mean())
    return score


def _views(scaled: torch.Tensor, kappa: float) -> torch.Tensor:
    """Return a scaled density (n, 1, m, m, m) in logarithms and, in units of kappa, as it is, (n, N_VIEWS, m, m, m)."""
    logarithms = [log_density(scaled, floor / kappa) for floor in FLOORS]
    return torch.cat([*logarithms, unscale(scaled, 1.0)], 1)
