"""Assemble what `validate` measured as the tree that the file of statistics holds."""

import dataclasses
import json

import numpy as np
import torch

from cosmogan.shards.statistics_file import FORMAT, N_SPLITS, Tree
from cosmogan.statistics import ensemble, fourier, minkowski, neighbours, pdf, regions
from cosmogan.validation.blocks import Blocks, Values
from cosmogan.validation.comparison import Comparison, Volumes
from cosmogan.validation.volume_statistics import WINDOWS, Measurement, is_fingerprint
from hpc.receipts import provenance

N_EXAMPLES = 4  # slabs of each set, to look at
N_VOLUMES = 2  # whole volumes of each set, to draw in 3D
N_DIVERSITY_GROUPS = 16  # of the jackknife of the diversity, each of which wants eigenvalues


def tree(
    comparison: Comparison,
    measurement: Measurement,
    blocks: Blocks,
    pairs: dict[str, np.ndarray],
    same_set: dict[str, np.ndarray],
) -> Tree:
    """Return the whole tree.

    Parameters
    ----------
    comparison, measurement : what was measured, and how
    blocks : the values of all samples
    pairs : the rows of the pairs of each kind of cross power, (n, 2)
    same_set : which of each set's volumes the others were compared with
    """
    root: Tree = attributes(comparison)
    values = {label: blocks.read(label, lambda name: not is_fingerprint(name)) for label in comparison.measured}
    labels = groups(comparison)
    root |= statistics(bins(comparison, measurement), values, labels)
    root["cross_power"] = {"unit": "(Mpc/h)^3", **wavenumbers(comparison, measurement)}
    for name, rows in pairs.items():
        samples = blocks.read(name.replace("_", " × "))["power"]
        parts = ensemble.moments_of(samples, regions.of_one_kind(len(samples)))
        root["cross_power"][name] = {**ensemble.summary(samples, parts), "rows": rows}
    root["noise_floor"] = noise_floor(values["nbody"], comparison.nbody, comparison.settings.seed)
    root["neighbours"] = _neighbours(
        {name: blocks.read(f"neighbours of {name}") for name in comparison.sets}, comparison
    )
    fingerprints = {name: blocks.read(name, is_fingerprint, chosen)["fingerprint"] for name, chosen in same_set.items()}
    root["diversity"] = diversity(fingerprints, comparison)
    places = {} if comparison.nbody.morton_index is None else {"along": comparison.nbody.morton_index}
    return root | examples(comparison) | {"boxes": comparison.nbody.boxes, **places}


def attributes(comparison: Comparison) -> Tree:
    """Return the attributes that describe the file's origin."""
    geometry, settings = comparison.geometry, comparison.settings
    held_out, kind = np.unique(comparison.nbody.boxes), "boxes"
    boxes = {"held_out": json.dumps(held_out.tolist()), "n_boxes": len(held_out)}
    if comparison.nbody.morton_index is None:  # of boxes that nobody knows
        boxes, kind = {}, "sixteenths of the set"
    elif len(held_out) < regions.FEW_BOXES:
        kind = "parts of boxes"
    training = {} if comparison.training is None else {"training_source": str(comparison.training.source.path)}
    return {
        "format": FORMAT,
        "name": comparison.name,
        "engine": settings.engine,
        "seed": settings.seed,
        "k_bins": settings.k_bins,
        "correction_window": WINDOWS.index(settings.window),
        "shot_noise": settings.shot_noise,
        "kappa": comparison.kappa,
        "h": comparison.h,
        **boxes,
        "floor_kind": kind,
        "n_held_out": len(comparison.nbody),
        "n_generated": len(comparison.generated),
        "n_training": 0 if comparison.training is None else len(comparison.training),
        **training,
        **{f"n_{name}": len(volumes) for name, volumes in comparison.beside.items()},
        "reference_source": str(comparison.nbody.source.path),
        "samples_source": str(comparison.generated.source.path),
        "shards_sha256": comparison.nbody.source.checksum,
        "samples_sha256": comparison.generated.source.checksum,
        "versions": json.dumps(provenance()),
        "cell_size": geometry.cell_size,
        "subvolume_size": geometry.subvolume_size,
        **dataclasses.asdict(geometry),
    }


def groups(comparison: Comparison) -> dict[str, np.ndarray]:
    """Return the jackknife's group of each sample of each set."""
    return {name: regions.groups(volumes.boxes, volumes.morton_index) for name, volumes in comparison.measured.items()}


def wavenumbers(comparison: Comparison, measurement: Measurement) -> Tree:
    """Return the bins of a volume's power spectrum."""
    size, n = comparison.geometry.subvolume_size, comparison.geometry.subvolume
    binned = fourier.bins(size, n, measurement.k_edges, torch.device("cpu"))
    limits = {"k_fundamental": fourier.k_fundamental(size), "k_nyquist": fourier.k_nyquist(size, n)}
    columns = {"k": binned.k, "n_modes": binned.n_modes, "corner_fraction": binned.corner_fraction}
    return {"k_unit": "h/Mpc", "k_edges": measurement.k_edges, **columns, **limits}


def bins(comparison: Comparison, measurement: Measurement) -> dict[str, Tree]:
    """Return each statistic's bins and unit."""
    trees: dict[str, Tree] = {
        "power": {"unit": "(Mpc/h)^3", **wavenumbers(comparison, measurement)},
        "pdf_scaled": {"unit": "fraction of voxels", "edges": pdf.scaled_edges()},
        "pdf_unscaled": {"unit": "fraction of voxels", "edges": pdf.unscaled_edges()},
        "mean_density": {"unit": "mean density of the universe"},
        "peaks": {"unit": "peaks a subvolume", "edges": pdf.peak_edges()},
        "minkowski": {
            "unit": "(h/Mpc)^order",
            "order": np.repeat(minkowski.ORDERS, len(minkowski.NU)),
            "nu": np.tile(minkowski.NU, len(minkowski.ORDERS)),
        },
    }
    for i, sides in enumerate(measurement.triangles):
        shape = {"k1": sides.k1, "k2": sides.k2, "theta": sides.theta, "k3": sides.k3}
        trees[f"bispectrum_{i}"] = {"unit": "(Mpc/h)^6", "k_unit": "h/Mpc", **shape}
        trees[f"reduced_{i}"] = {"unit": "1", "k_unit": "h/Mpc", **shape}
    return trees


def statistics(trees: dict[str, Tree], values: dict[str, Values], labels: dict[str, np.ndarray]) -> Tree:
    """Put the values of all samples under their statistics, with summaries and the ratio of generated to N-body.

    Parameters
    ----------
    trees : a statistic's name → its bins; filled
    values : a set's name → a statistic's name → (n, d)
    labels : a set's name → the jackknife's group of each sample
    """
    for name, group in trees.items():
        parts = {}
        for label, columns in values.items():
            if name in columns:
                parts[label] = ensemble.moments_of(columns[name], labels[label])
                group[label] = {"n": len(columns[name]), **ensemble.summary(columns[name], parts[label])}
        for label in parts.keys() - {"nbody", "training"}:
            ratio = "ratio" if label == "generated" else f"{label}_ratio"
            group[ratio] = ensemble.compared(parts[label], parts["nbody"])
    return trees


def noise_floor(values: Values, volumes: Volumes, seed: int) -> Tree:
    """Return the ratio of one half of the real volumes to the other, less 1: of means and variances of every statistic.

    Of the power there is also what its covariance and correlation are off, rms over the ways to halve.
    """
    density = values["mean_density"][:, 0]
    labels, halves = regions.halves(volumes.boxes, volumes.morton_index, density, N_SPLITS, seed)
    floor: Tree = {}
    for name, samples in values.items():
        splits = ensemble.split_ratios(ensemble.moments_of(samples, labels), halves)
        floor[name] = np.stack([ratio["mean"] for ratio in splits])
        floor[f"{name}_variance"] = np.stack([ratio["variance"] for ratio in splits])
        if name == "power":
            for matrix in ("covariance", "correlation"):
                floor[f"power_{matrix}"] = np.sqrt(np.mean([ratio[matrix] ** 2 for ratio in splits], axis=0))
    return floor


def _neighbours(nearest: dict[str, Values], comparison: Comparison) -> Tree:
    threshold = neighbours.copies_threshold(nearest["nbody"]["peers"])
    return {"threshold": threshold, "compared_with": comparison.originals[0], **nearest}


def diversity(fingerprints: dict[str, np.ndarray], comparison: Comparison) -> Tree:
    """Return the effective number of different volumes of both sets, their errors, and how far halves are apart.

    Parameters
    ----------
    fingerprints : those of some of each set, as many as are compared
    """
    n = min(map(len, fingerprints.values()))
    numbers: Tree = {"n": n}
    rng = np.random.default_rng(comparison.settings.seed)
    for name, rows in fingerprints.items():
        some = rows[np.sort(rng.permutation(len(rows))[:n])]
        pieces = regions.of_one_kind(n, N_DIVERSITY_GROUPS)
        value, without = neighbours.diversities(some, pieces)
        numbers |= {name: value, f"{name}_error": float(ensemble.jackknife_error(without))}
    first = rng.permutation(len(fingerprints["nbody"])) < len(fingerprints["nbody"]) // 2
    halves = [neighbours.diversity(fingerprints["nbody"][half]) for half in (first, ~first)]
    return numbers | {"floor": abs(halves[0] / halves[1] - 1)}


def examples(comparison: Comparison) -> Tree:
    """Return a few random volumes of each set: slabs, averaged over an eighth of the depth, and whole ones."""
    rng = np.random.default_rng(comparison.settings.seed)
    slabs, whole = {}, {}
    for name, volumes in comparison.sets.items():
        density = volumes.read(rng.choice(len(volumes), min(N_EXAMPLES, len(volumes)), replace=False))
        slabs[name] = density[:, : max(density.shape[1] // 8, 1)].mean(axis=1)
        whole[name] = density[:N_VOLUMES]
    return {"examples": slabs, "volumes": whole}
