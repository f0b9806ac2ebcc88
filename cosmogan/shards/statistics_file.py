"""Write and read the file of statistics that `validate` measured (``cosmogan-statistics/2``).

Groups ``power``, ``pdf_scaled``, ``pdf_unscaled``, ``mean_density``, ``peaks``, ``bispectrum_0``, ``reduced_0`` …
hold their bins and a group for each set (``nbody``: held out; ``generated``; ``training``) with ``samples`` (n, d),
``mean``, ``error`` of the mean, ``percentiles`` (16, 50, 84), ``covariance`` and its error, ``correlation``; and
``ratio``, what generated is over N-body, with errors. ``cross_power`` has a group for each kind of pair,
``noise_floor`` each statistic of one half of the held-out volumes over that of the others, less 1.
`docs/conventions.md` lists all.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cosmogan import shards
from hpc import hdf5

FORMAT = "cosmogan-statistics/2"
N_SPLITS = 100  # ways to halve the held-out volumes, at most

# Plain data: groups are dictionaries, datasets arrays, attributes words and numbers.
Tree = dict[str, Any]


def write(path: Path, tree: Tree) -> None:
    """Write the file of statistics, atomically.

    Raises
    ------
    OSError
        when the disk or a quota is full: names the file, the reason, and what to do.
    """
    with shards.whole_hdf5(path) as file:
        _fill(file, tree)


def _fill(group: h5py.Group, tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _fill(group.create_group(name), value)
        elif isinstance(value, np.ndarray):
            group.create_dataset(name, data=value)
        else:
            group.attrs[name] = value


def read(path: Path) -> Tree:
    """Read a file of statistics.

    Raises
    ------
    ValueError
        when it is missing, or something else; the message names the file and the stage that writes it.
    """
    if not path.exists():
        raise ValueError(f"{path}: not found; run `python -m cosmogan.validate` with this CONFIG first")
    try:
        with h5py.File(path, "r") as file:
            hdf5.check_all(file)
            tree = _taken(file)
    except (OSError, RuntimeError, KeyError) as error:  # as HDF5 raises, the last where an object cannot be opened
        cure = hdf5.advice(error, damaged="it is damaged: delete it and run `python -m cosmogan.validate` again")
        raise ValueError(f"{path}: cannot be read ({hdf5.reason(error)}); {cure}") from None
    if tree.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a file of format {FORMAT}, found {tree.get('format', 'another one')!r}")
    return tree


def _taken(group: h5py.Group) -> Tree:
    tree: Tree = {name: value.item() if isinstance(value, np.generic) else value for name, value in group.attrs.items()}
    for name, item in group.items():
        tree[name] = _taken(item) if isinstance(item, h5py.Group) else item[()]
    return tree
