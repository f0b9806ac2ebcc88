"""Load a run: its statistics, and the records of training, selection and sampling."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cosmogan.reporting.palette import BESIDE, LABELS, RUNS
from cosmogan.shards import latents_file, statistics_file
from cosmogan.shards.statistics_file import Tree
from hpc.files import read_json
from hpc.settings import read_tree


class Missing(Exception):
    """Raised where a figure needs what was not measured; the message says what, for the report's reader."""


@dataclass(frozen=True)
class Run:
    """One run, and how it is drawn."""

    tree: Tree  # the file of statistics
    name: str = LABELS["generated"][0]
    color: str = RUNS[0][0]
    dash: Any = RUNS[0][1]
    marker: str = RUNS[0][2]
    records: list[dict[str, Any]] = field(default_factory=list)  # of metrics.jsonl
    scores: dict[str, Any] = field(default_factory=dict)  # of scores.json
    generator: dict[str, Any] = field(default_factory=dict)  # the released one's settings
    judged: dict[str, np.ndarray] = field(default_factory=dict)  # by rejection sampling
    settings: dict[str, Any] = field(default_factory=dict)  # of the experiment
    label: str = "generated"  # which of its sets is shown as generated

    @property
    def calibrated(self) -> bool:
        """Whether the samples may be a calibrated generator's; one from elsewhere is taken for one."""
        released = bool(self.generator.get("calibration", {}).get("kept"))
        elsewhere = self.settings.get("sample", {}).get("generator") is not None
        return released or elsewhere

    def beside(self) -> list["Run"]:
        """Return the run's other sets, mocks and samples as trained, each as a run whose generated set it is."""
        runs = []
        for label, (name, color, dash, marker) in BESIDE.items():
            if label in self.tree.get("power", {}):
                tree = {key: _in_place(value, label) for key, value in self.tree.items()}
                tree |= {"n_generated": self.tree[f"n_{label}"]}
                runs.append(replace(self, tree=tree, label=label, name=name, color=color, dash=dash, marker=marker))
        return runs

    def need(self, name: str) -> Any:
        """Return a group, or a number, of the statistics.

        Raises
        ------
        Missing
            when it was not measured.
        """
        if name not in self.tree:
            raise Missing(f"{name} was not measured")
        return self.tree[name]

    def floor(self, name: str) -> np.ndarray:
        """Return a statistic's noise floor (d,): rms of one part of N-body over the other, less 1; NaN: not known."""
        halves = self.need("noise_floor")[name]
        finite = np.isfinite(halves)
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.sum(np.where(finite, halves, 0) ** 2, axis=0) / finite.sum(axis=0))


def _in_place(value: Any, label: str) -> Any:
    """Return a statistic with another set in place of the generated one."""
    if not isinstance(value, dict) or label not in value:
        return value
    return {**value, "generated": value[label], "ratio": value[f"{label}_ratio"]}


def sources(folder: Path) -> dict[str, Path]:
    """Return what a report shows beside the statistics, each of which may be missing."""
    return {
        "metrics": folder / "train" / "metrics.jsonl",
        "scores": folder / "select" / "scores.json",
        "generator": folder / "generator" / "generator.json",
        "rejection": folder / "rejection.npz",
    }


def read(folder: Path, statistics: Path, settings: dict[str, Any]) -> Run:
    """Read a run's folder.

    Parameters
    ----------
    folder : the run's
    statistics : what `validate` wrote
    settings : of the experiment; empty when they are not known

    Raises
    ------
    ValueError
        when there are no statistics, or a file is damaged: names it.
    """
    path = sources(folder)
    asked = settings.get("sample", {}).get("rejection", False) and path["rejection"].exists()
    return Run(
        statistics_file.read(statistics),
        records=_records(path["metrics"]),
        scores=read_json(path["scores"]) if path["scores"].exists() else {},
        generator=read_json(path["generator"]) if path["generator"].exists() else {},
        judged=latents_file.read_judged(path["rejection"]) if asked else {},
        settings=settings,
    )


def read_several(paths: Sequence[Path]) -> list[Run]:
    """Read runs to be drawn together, from their folders.

    Raises
    ------
    ValueError
        when they are fewer than two or more than can be told apart, one is named twice or has no statistics, or their
        subvolumes are of different kinds.
    """
    if not 2 <= len(paths) <= len(RUNS):
        raise ValueError(f"--compare: expected 2 to {len(RUNS)} folders of runs, found {len(paths)}")
    runs = []
    for path, (color, dash, marker) in zip(paths, RUNS, strict=False):
        config = path / "config.yaml"
        settings = read_tree(config) if config.exists() else {}
        run = read(path, path / "statistics.h5", settings)
        runs.append(replace(run, name=run.tree["name"], color=color, dash=dash, marker=marker))
        for key in ("cell_size", "subvolume", "redshift"):
            first, own = runs[0].tree[key], run.tree[key]
            if not np.isclose(first, own, rtol=1e-6, equal_nan=True):
                raise ValueError(
                    f"{path}: expected the {key} of {paths[0]}, {first:g}, found {own:g}: nothing to compare"
                )
    return _distinguished(runs, paths)


def _distinguished(runs: list[Run], paths: Sequence[Path]) -> list[Run]:
    """Name runs of one name by their folders, from where these part."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return runs
    folders = [path.resolve() for path in paths]
    if len(set(folders)) < len(folders):
        raise ValueError(f"--compare: expected different folders, found {', '.join(map(str, paths))}")
    common = os.path.commonpath(folders)
    return [replace(run, name=str(folder.relative_to(common))) for run, folder in zip(runs, folders, strict=True)]


def _records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file; none when it is missing. A line that was cut off is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [record for record in records if "n_seen" in record]
