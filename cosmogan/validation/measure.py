"""Measure every volume of all sets on all ranks, and pairs of them."""

import hashlib
import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cosmogan.shards import statistics_file
from cosmogan.statistics import neighbours
from cosmogan.validation import summaries
from cosmogan.validation.blocks import Blocks, Values
from cosmogan.validation.comparison import Comparison, Volumes
from cosmogan.validation.volume_statistics import Measurement, is_fingerprint, plan
from hpc import mpi
from hpc.distributed import Processes

MAX_PAIRS = 4096  # of the cross power, of each kind
MAX_COMPARED = 2048  # volumes of a set with which all others of the set are compared
NO_POWER = 1e-9  # of the real volumes' mean P(k): less is rounding


def everything(comparison: Comparison, folder: Path, comm: mpi.Comm) -> statistics_file.Tree:
    """Return all that the file of statistics holds, on rank 0; an empty tree on the others.

    Parameters
    ----------
    comparison : what is measured
    folder : keeps what is measured until all is
    comm : its ranks share the work
    """
    began = time.monotonic()
    torch.set_num_threads(1)  # a rank a core; and a transform's rounding depends on the threads it is cut into
    device = Processes(comm.rank, comm.size, comm.rank).device(comparison.settings.device)
    measurement = plan(comparison, device)
    for volumes in comparison.sets.values():
        _check_enough(volumes, len(measurement.k_edges) - 1)
    blocks = Blocks(folder, key(comparison), comparison.settings.batch_size, comm)
    for label, volumes in comparison.measured.items():
        measure = measurement.cheap if label == "training" else measurement.all
        blocks.measure(label, len(volumes), volumes.read, measure)
    pairs = _cross_powers(comparison, measurement, blocks)
    same_set = _neighbours(comparison, blocks, device, comm)
    if comm.rank > 0:
        return {}
    tree = summaries.tree(comparison, measurement, blocks, pairs, same_set)
    cost = {"seconds": round(time.monotonic() - began, 2), "ranks": comm.size, "device": str(device)}
    lines = [*comparison.warnings, *copies(tree["neighbours"], comparison), *uniform(tree["power"])]
    return tree | {"cost": json.dumps(cost), "warnings": json.dumps(lines)}


def forget(folder: Path) -> None:
    """Delete the partial results, which were kept in case the measurement was stopped."""
    shutil.rmtree(folder, ignore_errors=True)


def copies(nearest: statistics_file.Tree, comparison: Comparison) -> list[str]:
    """Return a line for each set that has copies of the originals in it."""
    lines = []
    twice = int((nearest["nbody"]["peers"] > nearest["threshold"]).sum())
    if twice:
        lines.append(f"{twice} of the {len(comparison.nbody)} reference volumes are copies of one another")
    for label, volumes in comparison.sets.items():
        n = int((nearest[label].get("training", np.zeros(0)) > nearest["threshold"]).sum())
        if n and label == "nbody":
            lines.append(
                f"{n} of the {len(volumes)} reference volumes are in the training set: the reference was trained on"
            )
        elif n and comparison.training is None:
            lines.append(
                f"{n} of the {len(volumes)} samples are copies of reference volumes: the reference was trained on"
            )
        elif n:
            lines.append(f"{n} of the {len(volumes)} samples are copies of training volumes")
    return lines


def uniform(power: statistics_file.Tree) -> list[str]:
    """Return a line when there are generated volumes without any structure."""
    samples = power["generated"]["samples"]
    n = int((samples < NO_POWER * power["nbody"]["mean"]).all(axis=1).sum())
    if n == 0:
        return []
    return [f"{n} of the {len(samples)} samples are uniform: no reduced bispectrum is defined, of them or on average"]


def key(comparison: Comparison) -> str:
    """Return a key that changes with anything the values of the samples depend on."""
    return hashlib.sha256(json.dumps(comparison.recipe, sort_keys=True).encode()).hexdigest()


def _check_enough(volumes: Volumes, n_bins: int) -> None:
    if len(volumes) <= n_bins:
        raise ValueError(
            f"{volumes.source.path}: found {len(volumes)} subvolumes to compare, expected {n_bins + 1} or more: a "
            f"covariance of P(k) in {n_bins} bins needs more samples than bins; add some, or set validate.n_k"
        )


def _cross_powers(comparison: Comparison, measurement: Measurement, blocks: Blocks) -> dict[str, np.ndarray]:
    """Measure the cross power of random pairs within and between the sets; return the pairs' rows, (n, 2) each."""
    rng = np.random.default_rng(comparison.settings.seed)
    sets, pairs = comparison.sets, {}
    for names in (("nbody", "nbody"), ("generated", "generated"), ("nbody", "generated")):
        ones, others = (sets[name] for name in names)
        first, second = rng.permutation(len(ones)), rng.permutation(len(others))
        if names[0] == names[1]:
            second = np.roll(first, 1)  # a sample's partner is its neighbour in a random order, never itself
        n = min(len(first), len(second), MAX_PAIRS)
        picked = (ones.picked(first[:n]), others.picked(second[:n]))
        blocks.measure(" × ".join(names), n, partial(_pairs, picked), measurement.cross)
        pairs["_".join(names)] = np.stack([volumes.rows for volumes in picked], axis=1)
    return pairs


def _pairs(pairs: tuple[Volumes, Volumes], part: slice) -> tuple[np.ndarray, np.ndarray]:
    first, second = pairs
    return first.read(part), second.read(part)


def _neighbours(comparison: Comparison, blocks: Blocks, device: torch.device, comm: mpi.Comm) -> dict[str, np.ndarray]:
    """Find the nearest of every volume among the originals and in its own set; return those compared with in each."""
    rng = np.random.default_rng(comparison.settings.seed)
    source, originals = comparison.originals
    fingerprints = _fingerprints(blocks, source, np.arange(len(originals)), comm)
    chosen = {}
    for label, volumes in comparison.sets.items():
        chosen[label] = same_set = np.sort(rng.permutation(len(volumes))[:MAX_COMPARED])
        searched = [_Searched("peers", _fingerprints(blocks, label, same_set, comm), volumes.rows[same_set], same_set)]
        if label != source:
            searched.append(_Searched("training", fingerprints, originals.rows, np.empty(0, int)))
        own = partial(_own_fingerprints, blocks, label, comparison.settings.batch_size)
        blocks.measure(f"neighbours of {label}", len(volumes), own, partial(_nearest, searched, device))
    return chosen


class _Searched(NamedTuple):
    """Volumes among which the nearest is looked for."""

    name: str
    fingerprints: np.ndarray  # (m, d)
    rows: np.ndarray  # (m,) of their source
    numbers: np.ndarray  # (m,) rising, in the set that is measured; empty when they are of another one


def _nearest(searched: list[_Searched], device: torch.device, volumes: tuple[np.ndarray, np.ndarray]) -> Values:
    """Return the nearest of each of some volumes, their numbers and fingerprints, itself passed over."""
    own, fingerprints = volumes
    values: Values = {}
    for name, others, rows, numbers in searched:
        place = np.where(np.isin(own, numbers), np.searchsorted(numbers, own), -1)
        nearest = neighbours.nearest(fingerprints, others, place, device)
        values |= {name: nearest.similarity, f"{name}_row": rows[nearest.row], f"{name}_symmetry": nearest.symmetry}
    return values


def _own_fingerprints(blocks: Blocks, label: str, size: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(part.start, part.stop), blocks.block(label, part.start // size, is_fingerprint)["fingerprint"]


def _fingerprints(blocks: Blocks, label: str, chosen: np.ndarray, comm: mpi.Comm) -> np.ndarray:
    """Return the fingerprints of some of a set's volumes on every rank."""
    fingerprints = None
    if comm.rank == 0:
        fingerprints = blocks.read(label, is_fingerprint, chosen)["fingerprint"]
    return comm.bcast(fingerprints)
