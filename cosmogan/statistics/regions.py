"""Group samples by the regions they lie in: groups to leave out for errors, and halves to compare for the floor."""

import itertools
import math

import numpy as np

N_GROUPS = 32  # of the jackknife
FEW_BOXES = 6  # fewer are halved by regions: of boxes there would be ten ways at most, of two a single one
N_REGIONS = 16  # of few boxes together, at least; octants at most
BALANCED = 30  # of so many ways to halve regions, the one whose halves have the nearest mean densities is taken


def groups(boxes: np.ndarray, morton_index: np.ndarray | None, n_groups: int = N_GROUPS) -> np.ndarray:
    """Cut samples into groups of consecutive ones along a curve, none of which holds samples of two boxes.

    Parameters
    ----------
    boxes : (n,) the box of each sample
    morton_index : (n,) the place of each on a curve that fills its box, so that a group is a region; None: not known
    n_groups : wanted; a box is one at least, a sample one at most

    Returns
    -------
    (n,) int, the number of each sample's group
    """
    numbers = np.zeros(len(boxes), int)
    pieces = max(n_groups // max(len(np.unique(boxes)), 1), 1)
    first = 0
    for box in np.unique(boxes):
        rows = np.flatnonzero(boxes == box)
        if morton_index is not None:
            rows = rows[np.argsort(morton_index[rows], kind="stable")]
        numbers[rows] = first + np.arange(len(rows)) * min(pieces, len(rows)) // len(rows)
        first += min(pieces, len(rows))
    return numbers


def of_one_kind(n: int, n_groups: int = N_GROUPS) -> np.ndarray:
    """Return `groups` of n samples that have no box, (n,) int."""
    return groups(np.zeros(n), None, n_groups)


def splits(labels: np.ndarray, n_splits: int, seed: int) -> np.ndarray:
    """Return ways to cut labelled samples into two halves of whole labels.

    Parameters
    ----------
    labels : (n,) of two values or more
    n_splits : at most; of few labels there are fewer ways
    seed : of the choice where there are more

    Returns
    -------
    (n_splits, n) bool, True for the first half. Where not all ways are taken, a half and the other are two of them.
    """
    values = np.unique(labels)
    n, half = len(values), len(values) // 2
    if math.comb(n, half) <= n_splits:
        chosen = [np.array(some) for some in itertools.combinations(range(n), half)]
    else:
        rng = np.random.default_rng(seed)
        chosen = [rng.permutation(n)[:half] for _ in range(n_splits)]
    return np.stack([np.isin(labels, values[some]) for some in chosen])


def halves(
    boxes: np.ndarray, morton_index: np.ndarray | None, density: np.ndarray, n_splits: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ways to halve samples: by whole boxes, few boxes by regions of theirs.

    Boxes have one mean density, regions have not, and most statistics follow it. So of the ways to halve regions those
    are taken in which the mean densities of the halves are nearest to each other, as those of boxes are. Samples whose
    places are not known may be of no box at all, and are halved anyhow.

    Parameters
    ----------
    boxes, morton_index : (n,) as `groups` takes them
    density : (n,) the mean of each sample
    n_splits, seed : as `splits` takes them

    Returns
    -------
    (n,) int, what each sample belongs to, counted from 0; (n_splits, n of these) bool, True for the first half
    """
    numbers, box = np.unique(boxes, return_inverse=True)
    if len(numbers) >= FEW_BOXES:
        return box, splits(np.arange(len(numbers)), n_splits, seed)
    labels = groups(boxes, morton_index, max(8 * len(numbers), N_REGIONS))
    n, total = np.bincount(labels), np.bincount(labels, None if morton_index is None else density)
    ways = splits(np.arange(len(n)), BALANCED * n_splits, seed)
    with np.errstate(invalid="ignore"):  # a single sample has no halves
        apart = abs((ways @ total) / (ways @ n) - (~ways @ total) / (~ways @ n))
    kept = min(n_splits, max(len(ways) // BALANCED, 10))
    return labels, ways[np.argsort(apart, kind="stable")[:kept]]
