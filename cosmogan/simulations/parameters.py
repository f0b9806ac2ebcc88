"""Collect the parameters of each simulation, such as Ω_m or σ_8, and choose those of boxes that differ in them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan.config import Cosmology, Experiment
from cosmogan.simulations.snapshots import Source
from hpc import yaml_text

_HYPERCUBE = 48611  # names the sequence of random numbers under simulate.seed
_SAME = 1e-3  # relative, between a parameter and the snapshot's header


def box_cosmology(experiment: Experiment, number: int) -> Cosmology:
    """Return the cosmology of a box: the experiment's, with the values of its point of ``simulate.latin_hypercube``.

    Raises
    ------
    ValueError
        when the point has no universe, as one with more baryons than matter.
    """
    settings = experiment.simulate
    point = latin_hypercube(settings.n_simulations, len(settings.latin_hypercube), settings.seed)[number]
    ends = settings.latin_hypercube.items()
    varied = {name: low + (high - low) * float(u) for u, (name, (low, high)) in zip(point, ends, strict=True)}
    try:
        return dataclasses.replace(experiment.cosmology, **varied)
    except ValueError as error:
        raise ValueError(f"simulate.latin_hypercube: box {number}: {error}") from None


def latin_hypercube(n: int, dimensions: int, seed: int) -> np.ndarray:
    """Return n points of a cube, (n, dimensions) in (0, 1): on each axis one in each n-th part (McKay et al. 1979)."""
    random = np.random.default_rng([seed, _HYPERCUBE])
    parts = [random.permutation(n) for _ in range(dimensions)]
    return (np.stack(parts, axis=1) if parts else np.empty((n, 0))) / n + random.random((n, dimensions)) / n


def of_all(experiment: Experiment, sources: tuple[Source, ...]) -> dict[int, dict[str, float]]:
    """Return the numbers of each simulation by name.

    They are Ω_m and h of the snapshots' headers, all of the embedded simulator's cosmology, and whatever
    ``preprocess.parameters`` says.

    Raises
    ------
    ValueError
        when that file lacks a simulation, or contradicts a header.
    """
    listed = _read(experiment.preprocess.parameters)
    parameters: dict[int, dict[str, float]] = {}
    for source in sources:
        header = source.snapshot.header
        own = {name: value for name in ("omega_m", "h") if (value := getattr(header, name)) > 0}  # old headers have 0
        if not experiment.preprocess.snapshots:
            own |= dataclasses.asdict(box_cosmology(experiment, source.simulation))
        if experiment.preprocess.parameters is not None:
            own |= _listed(listed, source, own, experiment.preprocess.parameters)
        parameters[source.simulation] = own
    return parameters


def _read(path: str | None) -> dict[Any, Any]:
    if path is None:
        return {}
    try:
        listed = yaml_text.load(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"preprocess.parameters: {path}: cannot be read: {error}") from None
    if not isinstance(listed, dict):
        raise ValueError(f"preprocess.parameters: {path}: expected lines such as 0: {{sigma_8: 0.8}}")
    return listed


def _listed(listed: dict[Any, Any], source: Source, header: dict[str, float], path: str) -> dict[str, float]:
    """Return the numbers that the file lists for one simulation."""
    numbers = listed.get(source.simulation)
    if not isinstance(numbers, dict) or not all(type(value) in (int, float) for value in numbers.values()):
        raise ValueError(
            f"preprocess.parameters: {path}: expected numbers of simulation {source.simulation}, as "
            f"{source.simulation}: {{sigma_8: 0.8}}, found {numbers}"
        )
    for name in header.keys() & numbers.keys():
        if abs(numbers[name] - header[name]) > _SAME * abs(header[name]):
            raise ValueError(
                f"preprocess.parameters: {path}: {name} of simulation {source.simulation} is {numbers[name]:g}, but "
                f"{source.path} has {header[name]:g}"
            )
    return {name: float(value) for name, value in numbers.items()}
