"""Cut crops of a periodic box at any offset, from the subvolumes that the box was cut into."""

import itertools

import numpy as np
import torch

from cosmogan.gan import fused, latent
from cosmogan.gan.symmetry import SYMMETRIES

SIDES = np.array(list(itertools.product((0, 1), repeat=3)))  # a crop lies in 2³ subvolumes: of its own corner, and on

ORDERS = np.array([order for order, _ in SYMMETRIES])  # (48, 3), which axis of the box each axis of a crop lies along
REVERSED = np.array([[axis in backwards for axis in range(3)] for _, backwards in SYMMETRIES])  # (48, 3)


def neighbours(boxes: np.ndarray, corners: np.ndarray, n_mesh: int, subvolume: int) -> np.ndarray:
    """Return the 8 subvolumes of a crop that begins in each one, in the order of `SIDES`; axes are periodic.

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
    """Draw the offsets of samples ``first`` to ``first + n - 1`` from their subvolumes' first cells, (n, 3) int.

    They are 0 … m - 1, all equally likely, as m is a power of 2.
    """
    return (latent.bits(seed, latent.CROP, first, (n, 3)) % subvolume).astype(int)


def crop(subvolumes: torch.Tensor, pieces: np.ndarray, shift: np.ndarray) -> torch.Tensor:
    """Return crops (n, m, m, m) of subvolumes on the host: each piece is copied as the block of cells that it is.

    Parameters
    ----------
    subvolumes : (…, m, m, m)
    pieces : (n, 8), the places of those that each crop lies in, as `neighbours` gives them
    shift : (n, 3), its first cell in the first of them
    """
    m = subvolumes.shape[-1]
    out = subvolumes.new_empty(len(pieces), m, m, m)
    for cube, places, begin in zip(out, pieces.tolist(), shift.tolist(), strict=True):
        for side, place in zip(SIDES.tolist(), places, strict=True):
            to = [slice(m - s, m) if far else slice(0, m - s) for s, far in zip(begin, side, strict=True)]
            of = [slice(0, s) if far else slice(s, m) for s, far in zip(begin, side, strict=True)]
            cube[to[0], to[1], to[2]] = subvolumes[place][of[0], of[1], of[2]]
    return out


def crop_on_device(subvolumes: torch.Tensor, pieces: np.ndarray, shift: np.ndarray, turns: np.ndarray) -> torch.Tensor:
    """Return crops (n, m, m, m) of subvolumes on a GPU, in orientations ``turns`` (n,); else as `crop`.

    All cells are looked up at once: on a GPU launching 8 n small copies would take longer than the copies.
    """
    m, device, n = subvolumes.shape[-1], subvolumes.device, len(pieces)
    of_axes = tables(shift, turns, m)
    host = torch.from_numpy(np.concatenate([pieces.ravel(), of_axes.ravel()], dtype=np.int32))
    both = to_device(host, device)
    of_pieces, of_cells = both[: 8 * n].view(n, 8), both[8 * n :].view(of_axes.shape)
    return (fused.crop if fused.available(subvolumes) else looked_up)(subvolumes, of_pieces, of_cells)


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the host on a device; the host does not wait."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def tables(shift: np.ndarray, turns: np.ndarray, subvolume: int) -> np.ndarray:
    """Return where the cells of crops lie, in their orientations: for each axis of a crop a table of its cells.

    Parameters
    ----------
    shift : (n, 3), each crop's first cell in its first subvolume
    turns : (n,), its orientation
    subvolume : cells a side, m

    Returns
    -------
    (n, 2, 3, m) int32; summed over the axes the first is the number of the subvolume in `SIDES`, the second the place
    of the cell in it
    """
    axes, reversed_axes = ORDERS[turns], REVERSED[turns][:, :, None]
    cells = np.arange(subvolume)
    positions = np.where(reversed_axes, cells[::-1], cells) + np.take_along_axis(shift, axes, 1)[:, :, None]
    far, cell = np.divmod(positions, subvolume)
    after = 2 - axes[:, :, None]  # axes that follow in memory
    return np.stack([far << after, cell * subvolume**after], axis=1).astype(np.int32)


def looked_up(subvolumes: torch.Tensor, pieces: torch.Tensor, of_axes: torch.Tensor) -> torch.Tensor:
    """Do as `fused.crop`, in torch's operations."""
    m = subvolumes.shape[-1]
    first, second, third = (of_axes[:, :, axis] for axis in range(3))  # (n, 2, m)
    side, cell = (first[..., None, None] + second[:, :, None, :, None] + third[:, :, None, None]).long().unbind(1)
    place = pieces.gather(1, side.flatten(1)).view_as(side)
    return subvolumes.view(-1)[place * m**3 + cell]
