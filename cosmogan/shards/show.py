"""Describe a folder of shards in a few lines: its contents, its source and its densities."""

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cosmogan.shards.folder import Folder
from cosmogan.shards.schema import in_bytes
from cosmogan.shards.tally import Tally, tally
from hpc.log import say

WINDOWS = {1: "NGP", 2: "CIC", 3: "TSC", 4: "PCS"}
MAX_SOURCES = 4  # snapshots of a simulation are named
COLUMNS = ("redshift", "simulations", "subvolumes", "mean", "scatter", "least", "densest", "empty")
Draw = Callable[[Folder, dict[float, Tally]], None]


def show(path: Path, draw: Draw | None = None) -> None:
    """Print a summary of a folder, and draw it where there is a function for that."""
    with Folder(path) as folder:
        say("\n".join(_about(folder)))
        tallies = tally(folder)
        say("\n" + "\n".join(table(folder, tallies)))
        if draw is not None:
            draw(folder, tallies)


def _about(folder: Folder) -> Iterator[str]:
    """Yield the lines that need no densities."""
    geometry, m = folder.geometry, folder.geometry.subvolume
    width = shutil.get_terminal_size().columns
    size = sum(shard.path.stat().st_size for shard in folder.shards if shard.path.exists())
    yield f"{folder.path}: {folder.kind} subvolumes ({folder.manifest['format']})"
    facts = [
        ("shards", f"{len(folder.shards)} files, {in_bytes(size)}"),
        ("subvolumes", f"{len(folder)} of {m}³ cells, {geometry.subvolume_size:.4g} Mpc/h a side"),
        ("box", f"{geometry.box_size:.6g} Mpc/h, {geometry.n_mesh}³ cells of {geometry.cell_size:.4g} Mpc/h"),
        ("mass of a mean cell", f"{geometry.mean_cell_mass:.4g} × 10¹⁰ M☉/h"),
        ("mass assignment", WINDOWS.get(geometry.window, f"order {geometry.window}")),
        *(("from" if i == 0 else "", line) for i, line in enumerate(_sources(folder))),
        ("written by", _versions(folder.manifest.get("versions", {}))),
    ]
    for name, fact in facts:
        yield textwrap.fill(f"  {name:<19}  {fact}", width, subsequent_indent=" " * 23, break_on_hyphens=False)


def _sources(folder: Folder) -> list[str]:
    """Return lines about the origin of the densities."""
    if folder.kind == "generated":
        seeds, index = np.unique(folder.column("seed")), folder.column("index")
        numbers = f"seed {', '.join(map(str, seeds[:5]))}, index {index.min()} to {index.max()}" if len(index) else ""
        return [*(f"{name} {value}" for name, value in folder.source.items()), numbers]
    of_simulations: dict[int, list[str]] = {}
    for line in folder.manifest["shards"]:
        if "snapshot" in line and "simulation" in line:
            named = of_simulations.setdefault(line["simulation"], [])
            named += [line["snapshot"]] * (line["snapshot"] not in named)
    if of_simulations:
        return named_simulations(of_simulations)
    snapshots = [entry["files"][0] for entry in folder.source.get("snapshots", ()) if entry.get("files")]
    return snapshots or [json.dumps(folder.source)] * bool(folder.source)  # an older manifest


def named_simulations(of_simulations: dict[int, list[str]]) -> list[str]:
    """Return a line for each simulation: its number and its snapshots."""
    return [
        f"simulation {number}: {', '.join(named[:MAX_SOURCES])}"
        + (f" and {len(named) - MAX_SOURCES} more" if len(named) > MAX_SOURCES else "")
        for number, named in sorted(of_simulations.items())
    ]


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def table(folder: Folder, tallies: dict[float, Tally]) -> Iterator[str]:
    """Yield a line for each redshift; densities are in units of the mean density of the universe."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for redshift, densities in tallies.items():
        numbers = (densities.mean, densities.scatter, densities.least, densities.densest)
        counted = (f"{redshift:g}", _simulations(folder, redshift), str(densities.n))
        empty = f"{densities.n_empty / max(densities.n_voxels, 1):.2%}"
        rows.append((*counted, *(f"{number:.4g}" for number in numbers), empty))
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        yield "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    yield "  in units of the mean density; scatter: of subvolumes' means; empty: no mass"
    for redshift, densities in tallies.items():
        if densities.n_bad:
            yield f"  redshift {redshift:g}: {densities.n_bad} cells are negative or not finite"


def _simulations(folder: Folder, redshift: float) -> str:
    if folder.kind != "simulated":
        return "-"
    return str(len(np.unique(folder.simulations[folder.redshifts == redshift])))
