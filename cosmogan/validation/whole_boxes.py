"""Compare whole boxes of a local generator with the simulations of the same initial modes."""

import dataclasses

import numpy as np
import torch

from cosmogan import shards
from cosmogan.config import Experiment
from cosmogan.shards import statistics_file
from cosmogan.statistics.refinement import Refinement, refinement
from cosmogan.training import subvolumes
from cosmogan.training.pairs import Boxes
from hpc import mpi

FEWEST = 2  # draws of a box whose scatter is seen
MEASURED = ("power_ratio", "quick_ratio", "correlation", "mean_correlation", "quick_correlation", "scatter_ratio")
SLAB = 8  # a slab is a side over this deep


def everything(experiment: Experiment, comm: mpi.Comm) -> statistics_file.Tree:
    """Return the group ``whole_boxes`` of the file of statistics, on rank 0; an empty tree without a local generator.

    Boxes of which fewer than two whole draws are there are left out.
    """
    if not experiment.input.is_used:
        return {}
    target, quick = (Boxes(subvolumes.open_shards(kind)) for kind in (experiment, experiment.quick))
    held_out = list(experiment.held_out) or np.unique(target.folder.simulations).tolist()
    samples = shards.open_one(experiment.samples_folder)
    per_box = (target.n_mesh // target.folder.geometry.subvolume) ** 3
    n_draws = len(samples) // (per_box * len(held_out))
    if n_draws < FEWEST:
        return {}
    mine = {}
    for i in range(comm.rank, len(held_out), comm.size):
        draws = torch.stack([_box(samples, quick, held_out, i, draw) for draw in range(n_draws)])
        truth, field = target.box(held_out[i]), quick.box(held_out[i])
        mine[i] = (
            refinement(truth, field, draws, target.folder.geometry.box_size),
            _slabs(truth, field, draws[0]),
            (_faces(draws, target.folder.geometry.subvolume)),
        )
    gathered = comm.gather(mine)
    if gathered is None:
        return {}
    every = {number: kept for of_rank in gathered for number, kept in of_rank.items()}
    return {"whole_boxes": _tree([every[i] for i in sorted(every)], n_draws)}


def _box(samples: shards.Folder, quick: Boxes, held_out: list[int], place: int, draw: int) -> torch.Tensor:
    """Return a draw of a box, (n, n, n), put together from its subvolumes: those of the boxes follow one another."""
    folder, m = quick.folder, quick.folder.geometry.subvolume
    rows = folder.rows_of(held_out)
    own = np.flatnonzero(folder.simulations[rows] == held_out[place])
    box = torch.empty(*[quick.n_mesh] * 3)
    volumes = samples.read(draw * len(rows) + own)
    for corner, density in zip(folder.corners[rows[own]].tolist(), volumes, strict=True):
        x, y, z = (slice(c, c + m) for c in corner)
        box[x, y, z] = torch.from_numpy(density)
    return box


def _slabs(*boxes: torch.Tensor) -> np.ndarray:
    """Return the mean of a slab of each box, (boxes, n, n)."""
    depth = max(1, len(boxes[0]) // SLAB // 4)
    return np.stack([box[:depth].mean(0).numpy() for box in boxes])


def _faces(draws: torch.Tensor, side: int) -> np.ndarray:
    """Return the rms step of ln(density + mean/100) between neighbours across faces of subvolumes, and of all, (2,)."""
    logarithm = (draws + 0.01).log()
    step = (logarithm - logarithm.roll(1, 3)).square().mean((0, 1, 2)).numpy()
    at_face = np.arange(len(step)) % side == 0
    return np.sqrt([step[at_face].mean(), step[~at_face].mean()])


def _tree(measured: list[tuple[Refinement, np.ndarray, np.ndarray]], n_draws: int) -> statistics_file.Tree:
    boxes = [dataclasses.asdict(box) for box, _, _ in measured]
    n = len(boxes)
    tree: statistics_file.Tree = {"k": boxes[0]["k"], "k_nyquist": boxes[0]["k_nyquist"], "n_draws": n_draws}
    for name in MEASURED:
        values = np.stack([box[name] for box in boxes])
        error = values.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1], np.nan)
        tree[name] = {"samples": values, "mean": values.mean(0), "error": error}
    return tree | {"slabs": measured[0][1], "faces": np.stack([faces for _, _, faces in measured])}
