"""Draw random numbers that belong to the sample: a pure function of (seed, stream, number), by Philox.

No state: which process draws a sample, in what batch and when, changes nothing. The raw bits of Philox 4x64 are
fixed by its definition, and the transforms are written out here, so a latent archived as (seed, index) lasts.
"""

import numpy as np
import torch

from cosmogan.config import Model

# What the numbers are for; each has its own sequence under one seed.
SAMPLE, DISCRIMINATOR, GENERATOR, SHUFFLE, SYMMETRY, MIX, JUDGED, BOUND, ACCEPT, CONDITION, TURN, CALIBRATE = range(12)
CROP, FIT, DIRECTION = 12, 13, 14


def bits(seed: int, stream: int, first: int, shape: tuple[int, int]) -> np.ndarray:
    """Return random 64-bit words of consecutive samples.

    Parameters
    ----------
    seed, stream : name the sequence
    first : number of the first sample
    shape : (samples, words a sample)

    Returns
    -------
    (samples, words) uint64
    """
    n, words = shape
    blocks = -(-words // 4)  # Philox makes four words at a time
    source = np.random.Philox(key=np.array([seed % 2**64, stream], np.uint64))
    source.advance(int(first) * blocks)
    return source.random_raw(n * 4 * blocks).reshape(n, 4 * blocks)[:, :words]


def uniform(seed: int, stream: int, first: int, shape: tuple[int, int]) -> np.ndarray:
    """Return random numbers in (0, 1), (samples, numbers) float64; arguments as those of `bits`."""
    return ((bits(seed, stream, first, shape) >> np.uint64(11)) + 0.5) * 2.0**-53


def draw(model: Model, seed: int, stream: int, first: int, n: int) -> torch.Tensor:
    """Return the latents of consecutive samples from the model's prior, all numbers independent of one another.

    Student's t by Bailey (1994), t = sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v), whose limit for nu to infinity is the
    Gaussian of Box and Muller; of unit scale, so the variance of the Student-t is nu / (nu - 2). The Cauchy
    distribution is the one with nu = 1. Of a Gaussian mixture's numbers a fraction is made wider.

    Parameters
    ----------
    model : latent_dimension, the prior and its parameters
    seed, stream : name the sequence
    first, n : numbers of the samples

    Returns
    -------
    (n, latent_dimension) float32
    """
    mixed = model.prior == "gaussian_mixture"
    words = 3 if mixed else 2  # for each number
    numbers = uniform(seed, stream, first, (n, words * model.latent_dimension))
    log_u, v = np.log(numbers[:, 0::words]), numbers[:, 1::words]
    if model.prior in ("gaussian", "gaussian_mixture"):
        squared = -2 * log_u
    else:
        nu = {"student_t": model.degrees_of_freedom, "cauchy": 1.0}[model.prior]
        squared = nu * np.expm1(-2 / nu * log_u)
    values = np.sqrt(squared) * np.cos(2 * np.pi * v)
    if mixed:
        values *= np.where(numbers[:, 2::words] < model.mixture_fraction, model.mixture_width, 1.0)
    return torch.from_numpy(values.astype(np.float32))


def orientations(latents: torch.Tensor) -> list[int]:
    """Return an orientation for each sample: the order of its first three latents, the signs of the three after them.

    Latents that are drawn independently from one symmetric distribution give all 48 equally often, at any latent scale.

    Parameters
    ----------
    latents : (n, numbers), 6 or more
    """
    deciding = latents[:, :6].cpu()
    first, second, third = deciding[:, :3].argsort(dim=1).T
    order = 2 * first + (second > third)
    signs = (deciding[:, 3:] < 0).long() * torch.tensor([4, 2, 1])
    return (8 * order + signs.sum(dim=1)).tolist()
