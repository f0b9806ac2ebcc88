"""Randomness that belongs to the sample: a pure function of (seed, stream, number), from the Philox counter.

No state: which process draws a sample, in what batch and when, changes nothing. The raw bits of Philox 4x64 are
fixed by its definition, and the transforms are written out here, so a latent archived as (seed, index) lasts.
"""

import numpy as np
import torch

from cosmogan.config import Model

# What the numbers are for; each has its own sequence under one seed.
SAMPLE, DISCRIMINATOR, GENERATOR, SHUFFLE, SYMMETRY, MIX = range(6)


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
    """Return the latents of consecutive samples from the model's prior.

    Student's t by Bailey (1994), t = sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v), whose limit for nu to infinity is the
    Gaussian of Box and Muller; of unit scale, so the variance of the Student-t is nu / (nu - 2).

    Parameters
    ----------
    model : prior, degrees_of_freedom, latent_dimension
    seed, stream : name the sequence
    first, n : numbers of the samples

    Returns
    -------
    (n, latent_dimension) float32
    """
    numbers = uniform(seed, stream, first, (n, 2 * model.latent_dimension))
    log_u, v = np.log(numbers[:, 0::2]), numbers[:, 1::2]
    if model.prior == "gaussian":
        squared = -2 * log_u
    else:
        squared = model.degrees_of_freedom * np.expm1(-2 / model.degrees_of_freedom * log_u)
    return torch.from_numpy((np.sqrt(squared) * np.cos(2 * np.pi * v)).astype(np.float32))
