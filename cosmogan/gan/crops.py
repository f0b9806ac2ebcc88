"""Crops of a periodic box at any offset, put together from the subvolumes that the box was cut into."""

import itertools

import numpy as np
import torch

from cosmogan.gan import latent

SIDES = np.array(list(itertools.product((0, 1), repeat=3)))  # a crop lies in 2³ subvolumes: of its own corner, and on


def neighbours(boxes: np.ndarray, corners: np.ndarray, n_mesh: int, subvolume: int) -> np.ndarray:
    """Return in which subvolumes the crops lie that begin in each one, in the order of `SIDES`; axes are periodic.

    Parameters
    ----------
    boxes : (n,) int, the number of each subvolume's box, from 0
    corners : (n, 3) int, its first cell
    n_mesh, subvolume : cells a side of the box, and of a subvolume

    Returns
    -------
    (n, 8) int places in 0 … n - 1; -1 where the box has none there, or several, or one off the grid of subvolumes
    """
    per_side = n_mesh // subvolume
    cells, off_grid = np.divmod(corners, subvolume)
    shape = (boxes.max() + 1, per_side, per_side, per_side)
    own = np.ravel_multi_index((boxes, *(cells % per_side).T), shape)
    places = np.full(np.prod(shape), -1)
    places[own] = np.arange(len(own))
    places[np.bincount(own, minlength=len(places)) > 1] = -1
    places[own[off_grid.any(axis=1)]] = -1
    x, y, z = np.moveaxis((cells[:, None] + SIDES) % per_side, -1, 0)
    return places[np.ravel_multi_index((np.broadcast_to(boxes[:, None], x.shape), x, y, z), shape)]


def shifts(seed: int, first: int, n: int, subvolume: int) -> np.ndarray:
    """Return by how many cells samples ``first`` to ``first + n - 1`` begin after their subvolumes, (n, 3) int.

    They are 0 … m - 1, all equally likely, as m is a power of 2.
    """
    return (latent.bits(seed, latent.CROP, first, (n, 3)) % subvolume).astype(int)


def crop(subvolumes: torch.Tensor, pieces: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """Return crops (n, m, m, m), where their subvolumes are.

    Parameters
    ----------
    subvolumes : (…, m, m, m)
    pieces : (n, 8), the places of those that each crop lies in, as `neighbours` gives them
    shift : (n, 3), its first cell in the first of them
    """
    return (crop_cpu if subvolumes.device.type == "cpu" else crop_torch)(subvolumes, pieces, shift)


def crop_cpu(subvolumes: torch.Tensor, pieces: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """Copy each piece as the block of cells that it is."""
    m = subvolumes.shape[-1]
    out = subvolumes.new_empty(len(pieces), m, m, m)
    for cube, places, begin in zip(out, pieces.tolist(), shift.tolist(), strict=True):
        for side, place in zip(SIDES.tolist(), places, strict=True):
            to = [slice(m - s, m) if far else slice(0, m - s) for s, far in zip(begin, side, strict=True)]
            of = [slice(0, s) if far else slice(s, m) for s, far in zip(begin, side, strict=True)]
            cube[to[0], to[1], to[2]] = subvolumes[place][of[0], of[1], of[2]]
    return out


def crop_torch(subvolumes: torch.Tensor, pieces: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """Look all cells up at once: a GPU would take longer to be told of 8 n small copies than to make them."""
    m, device = subvolumes.shape[-1], subvolumes.device
    along = np.divmod(shift[:, :, None] + np.arange(m), m)  # whether on the far side, and the cell there, (n, 3, m)
    numbers = (torch.from_numpy(found).to(device, non_blocking=True) for found in along)
    far, cell = ((x[:, 0, :, None, None], x[:, 1, None, :, None], x[:, 2, None, None]) for x in numbers)
    side = 4 * far[0] + 2 * far[1] + far[2]  # in the order of `SIDES`
    places = torch.from_numpy(pieces).to(device, non_blocking=True)
    return subvolumes[places.gather(1, side.flatten(1)).view_as(side), cell[0], cell[1], cell[2]]
