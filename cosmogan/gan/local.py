"""Make the networks of a local generator, which refines the density of a quick simulation cell by cell.

The generator sees a neighbourhood of each cell alone, through convolutions without padding: a box of any size is drawn
tile by tile, and no tile knows of the others. Its output is a correction of the input's logarithm, and varies with
random numbers that belong to each cell.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cosmogan.config import Input, Model
from cosmogan.gan.networks import SLOPE

FLOOR = 0.01  # in units of the mean, added before the logarithm of the input is taken: a quick run has empty cells
MASK = 0xFFFFFFFF
# Philox 4x32-10 (Salmon et al. 2011): multipliers, and what is added to the keys after each round.
MULTIPLIERS, KEY_STEPS, ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10


def halo(settings: Input) -> int:
    """Return the cells that the generator sees beyond each cell, in every direction."""
    return 2 + 2 * settings.blocks


class Block(nn.Module):
    """A residual block of two convolutions by 3³ without padding: it takes two cells off each face."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(SLOPE), nn.Conv3d(width, width, 3), nn.LeakyReLU(SLOPE), nn.Conv3d(width, width, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, width, m - 4, m - 4, m - 4) of (n, width, m, m, m)."""
        return x[:, :, 2:-2, 2:-2, 2:-2] + self.layers(x)


class Generator(nn.Sequential):
    """Input field and noise (n, 1 + noise, m + 2 halo, …) → scaled density (n, 1, m, m, m).

    Parameters
    ----------
    model : width and kappa
    settings : blocks and noise
    """

    def __init__(self, model: Model, settings: Input) -> None:
        blocks = [Block(model.width) for _ in range(settings.blocks)]
        first = nn.Conv3d(1 + settings.noise, model.width, 3)
        super().__init__(first, *blocks, nn.LeakyReLU(SLOPE), nn.Conv3d(model.width, 1, 1))
        self._halo, self._shift = halo(settings), math.log(model.kappa)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tanh of half of ln(density / kappa): eq. (5) of the corrected input."""
        inner = slice(self._halo, -self._halo)
        field, noise = x[:, :1, 1:-1, 1:-1, 1:-1], x[:, 1:]
        # Less its mean around each cell: what the quick simulation lacks moves matter about, and adds none to a region.
        noise = noise[:, :, 1:-1, 1:-1, 1:-1] - F.avg_pool3d(noise, 3, 1)
        correction = super().forward(torch.cat((field, noise), 1).contiguous(memory_format=torch.channels_last_3d))
        return torch.tanh((x[:, :1, inner, inner, inner] + correction - self._shift) / 2)


def initialise(network: Generator, seed: int) -> None:
    """Draw initial weights in place, N(0, sqrt(2 / inputs)); the last layer is 0: the output begins as the input."""
    random = torch.Generator().manual_seed(seed)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    for layer in layers:
        inputs = layer.weight[0].numel()
        nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / inputs), generator=random)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.zeros_(layers[-1].weight)


def logarithm(density: torch.Tensor) -> torch.Tensor:
    """Return ln(density + `FLOOR`) as both networks see the input."""
    return (density + FLOOR).log()


def network_input(density: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return what the generator takes: ln of the input density (n, m, m, m), and noise (n, noise, m, m, m)."""
    return torch.cat((logarithm(density)[:, None], noise), dim=1)


def cell_noise(
    seed: int, stream: int, numbers: torch.Tensor, cells: torch.Tensor, model: Model, n: int
) -> torch.Tensor:
    """Return random numbers of cells from Student's t, (b, n, …) float32 on the device of ``cells``.

    They are a pure function of (seed, stream, number, cell), whatever is drawn with them.

    Parameters
    ----------
    seed, stream : name the sequence
    numbers : (b,) int64, of boxes or samples
    cells : (b, …) int64, numbers of cells
    model : degrees_of_freedom
    n : random numbers a cell
    """
    drawn = []
    for block in range(-(-n // 2)):
        key = seed & MASK, (seed >> 32 & 0xFFFFFF) | stream << 24
        number = numbers.view(-1, *(1,) * (cells.dim() - 1)).expand_as(cells)
        counter = [cells & MASK, cells >> 32 | block << 24, number & MASK, number >> 32]
        u, v, u_second, v_second = (((word + 0.5) * 2.0**-32).float() for word in philox(counter, key))
        drawn += [student_t(u, v, model.degrees_of_freedom), student_t(u_second, v_second, model.degrees_of_freedom)]
    return torch.stack(drawn[:n], dim=1)


def philox(counter: list[torch.Tensor], key: tuple[int, int]) -> list[torch.Tensor]:
    """Return four random words of 32 bits for each counter, by Philox 4x32-10; all are int64 tensors below 2³²."""
    keys = list(key)
    for _ in range(ROUNDS):
        first, second = counter[0] * MULTIPLIERS[0], counter[2] * MULTIPLIERS[1]  # modulo 2^64: no bit is lost
        counter = [
            (second >> 32 & MASK) ^ counter[1] ^ keys[0],
            second & MASK,
            (first >> 32 & MASK) ^ counter[3] ^ keys[1],
            first & MASK,
        ]
        keys = [(word + step) & MASK for word, step in zip(keys, KEY_STEPS, strict=True)]
    return counter


def student_t(u: torch.Tensor, v: torch.Tensor, nu: float) -> torch.Tensor:
    """Return Student's t of unit scale of uniform numbers in (0, 1), by Bailey (1994)."""
    return (nu * torch.expm1(-2 / nu * u.clamp(max=1 - 2.0**-24).log())).sqrt() * torch.cos(2 * math.pi * v)


def cell_numbers(corners: np.ndarray, side: int, n_mesh: int) -> np.ndarray:
    """Return the numbers of the cells of cubes in a periodic mesh, (n, side, side, side) int64.

    Parameters
    ----------
    corners : (n, 3) int, first cells; they may lie beyond the box
    side, n_mesh : cells a side of the cubes and of the mesh
    """
    x, y, z = np.moveaxis((corners[:, :, None] + np.arange(side)) % n_mesh, 1, 0)
    return (x[:, :, None, None] * n_mesh + y[:, None, :, None]) * n_mesh + z[:, None, None, :]
