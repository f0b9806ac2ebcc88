"""What `validate` does: measure every subvolume of both sets on all ranks, and gather the values in their order."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cosmogan import assemble, results, shards
from cosmogan.config import Experiment
from cosmogan.gan.scaling import scale
from cosmogan.statistics import ensemble, fourier, pdf, reference
from cosmogan.statistics.bispectra import Bispectrum, Triangles, bispectrum, paper_triangles
from cosmogan.statistics.power import PowerSpectrum, cross_power, power_spectrum
from hpc import mpi
from hpc.log import Progress

MIN_SAMPLES = 4  # of each set: two halves with a variance each
N_EXAMPLES = 4  # slabs of each set, to look at


@dataclass(frozen=True)
class Engine:
    """The codes that measure."""

    power: Callable[..., PowerSpectrum] = power_spectrum
    cross: Callable[..., PowerSpectrum] = cross_power
    bispectrum: Callable[..., Bispectrum] = bispectrum


ENGINES = {
    "native": Engine(),
    "nbodykit": Engine(reference.nbodykit_power, reference.nbodykit_cross),
    "pylians": Engine(reference.pylians_power, reference.pylians_cross, reference.pylians_bispectrum),
}


@dataclass(frozen=True)
class Measurement:
    """What is measured of every subvolume."""

    engine: Engine
    box_size: float  # of a subvolume [Mpc/h]
    k_edges: np.ndarray
    kappa: float
    triangles: tuple[Triangles, ...]

    def __call__(self, density: torch.Tensor) -> dict[str, np.ndarray]:
        """Return every statistic of a batch, each (b, …)."""
        found = {
            "power": self.engine.power(density, self.box_size, self.k_edges).power,
            "pdf_scaled": pdf.voxel_pdf(scale(density, self.kappa), pdf.scaled_edges()).fraction,
            "pdf_unscaled": pdf.voxel_pdf(density, pdf.unscaled_edges()).fraction,
            "mean_density": pdf.mean_density(density)[:, None],
        }
        for i, triangles in enumerate(self.triangles):
            measured = self.engine.bispectrum(density, self.box_size, triangles)
            found |= {f"bispectrum_{i}": measured.bispectrum, f"reduced_{i}": measured.reduced}
        return found


def everything(
    experiment: Experiment, simulated: shards.Folder, generated: shards.Folder, comm: mpi.Comm
) -> results.Tree:
    """Return all that the file of statistics holds, on rank 0; an empty tree on the others."""
    torch.set_num_threads(1)  # a rank a core; and a transform's rounding depends on the threads it is cut into
    settings, geometry = experiment.validate, simulated.geometry
    measurement = plan(experiment, geometry)
    held_out = simulated.rows_of(list(experiment.held_out))
    sets = {"nbody": (simulated, held_out), "generated": (generated, np.arange(len(generated)))}
    for folder, rows in sets.values():
        if len(rows) < MIN_SAMPLES:
            wanted = f"of the held_out simulations {list(experiment.held_out)}" if folder is simulated else "in all"
            raise ValueError(f"{folder.path}: expected {MIN_SAMPLES} or more subvolumes {wanted}, found {len(rows)}")
    values = {}
    for label, (folder, rows) in sets.items():
        found = [measurement(read(folder, rows[part])) for part in batches(len(rows), settings.batch_size, comm, label)]
        values[label] = gather(found, comm)
    training = simulated.rows_of(experiment.trained_on(simulated.simulations.tolist()))
    means = training_moments(simulated, training, measurement, settings.batch_size, comm)
    crosses = cross_powers(sets, measurement, settings, comm)
    if comm.rank > 0:
        return {}
    return {
        **assemble.attributes(experiment, simulated, generated),
        **{"n_held_out": len(held_out), "n_generated": len(generated), "n_training": len(training)},
        **assemble.statistics(values, means, measurement.k_edges, measurement.triangles, geometry),
        "cross_power": {"unit": "(Mpc/h)^3", **assemble.wavenumbers(measurement.k_edges, geometry), **crosses},
        "noise_floor": assemble.noise_floor(values["nbody"], settings.seed),
        "examples": examples(sets, settings.seed),
    }


def plan(experiment: Experiment, geometry: shards.Geometry) -> Measurement:
    """Choose the engine, the bins and the triangles for the subvolumes' geometry."""
    name, n_k = experiment.validate.engine, experiment.validate.n_k
    size, n = geometry.subvolume_size, geometry.subvolume
    try:
        reference.require(name)
    except ValueError as error:
        raise ValueError(f"validate.engine: {error}") from None
    if name == "pylians" and n_k is not None:
        raise ValueError(f"validate.n_k: Pylians has bins of one fundamental only: expected null, found {n_k}")
    try:
        edges = fourier.linear_edges(size, n, n_k)
    except ValueError as error:
        raise ValueError(f"validate.n_k: {error}") from None
    return Measurement(ENGINES[name], size, edges, experiment.model.kappa, tuple(paper_triangles(size, n)))


def read(folder: shards.Folder, rows: np.ndarray) -> torch.Tensor:
    """Read subvolumes as a batch, (b, n, n, n) float32."""
    return torch.from_numpy(folder.read(rows))


def batches(n: int, size: int, comm: mpi.Comm, label: str) -> Iterator[slice]:
    """Yield this rank's consecutive batches of n samples.

    Batches are cut before they are shared out: a transform sees the same samples beside each other on any number of
    ranks, so its rounding is the same too.
    """
    own = mpi.share(-(-n // size), comm)
    with Progress(f"validate: {label}", len(own), "batches", comm.rank) as progress:
        for i in own:
            yield slice(i * size, min((i + 1) * size, n))
            progress.advance()


def gather(found: list[dict[str, np.ndarray]], comm: mpi.Comm) -> dict[str, np.ndarray]:
    """Return all ranks' batches joined in the samples' order, on rank 0; an empty tree on the others."""
    parts = comm.gather(found)
    if parts is None:
        return {}
    joined = [batch for part in parts for batch in part]
    return {name: np.concatenate([batch[name] for batch in joined]) for name in joined[0]}


def training_moments(
    folder: shards.Folder, rows: np.ndarray, measurement: Measurement, size: int, comm: mpi.Comm
) -> dict[str, ensemble.Moments]:
    """Return the moments of the training boxes' statistics but the bispectra, merged over batches and ranks."""
    without = dataclasses.replace(measurement, triangles=())
    own: list[dict[str, ensemble.Moments]] = []
    for part in batches(len(rows), size, comm, "training"):
        found = without(read(folder, rows[part]))
        own.append({name: ensemble.Moments.of(samples) for name, samples in found.items()})
    parts = [batch for part in comm.gather(own) or [] for batch in part]
    return {name: ensemble.merged([batch[name] for batch in parts]) for name in (parts[0] if parts else ())}


def cross_powers(
    sets: dict[str, tuple[shards.Folder, np.ndarray]], measurement: Measurement, settings: Any, comm: mpi.Comm
) -> dict[str, results.Tree]:
    """Return the cross power of random pairs within and between the sets, summed up on rank 0."""
    rng = np.random.default_rng(settings.seed)
    found = {}
    for names in (("nbody", "nbody"), ("generated", "generated"), ("nbody", "generated")):
        (folder_1, rows_1), (folder_2, rows_2) = (sets[name] for name in names)
        first, second = rng.permutation(rows_1), rng.permutation(rows_2)
        if names[0] == names[1]:
            second = np.roll(first, 1)  # a sample's partner is its neighbour in a random order, never itself
        n = min(len(first), len(second))
        own = []
        for part in batches(n, settings.batch_size, comm, " × ".join(names)):
            pair = read(folder_1, first[part]), read(folder_2, second[part])
            own.append({"power": measurement.engine.cross(*pair, measurement.box_size, measurement.k_edges).power})
        gathered = gather(own, comm)
        if gathered:
            pairs = np.stack([first[:n], second[:n]], axis=1)
            found["_".join(names)] = {**ensemble.summary(gathered["power"]), "rows": pairs}
    return found


def examples(sets: dict[str, tuple[shards.Folder, np.ndarray]], seed: int) -> dict[str, np.ndarray]:
    """Return slabs of a few random subvolumes of each set, averaged over an eighth of the depth, (4, n, n)."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (folder, rows) in sets.items():
        density = folder.read(rng.choice(rows, N_EXAMPLES, replace=False))
        found[name] = density[:, : max(density.shape[1] // 8, 1)].mean(axis=1)
    return found
