"""Draw a box on all ranks: each draws whole columns of tiles, a file each, and one file shows them as one array."""

import os
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from cosmogan import shards
from cosmogan.boxes import generator as released
from cosmogan.boxes import geometry, quick
from cosmogan.boxes.generator import BoxGenerator
from cosmogan.boxes.geometry import TILE, BoxGeometry, Range
from cosmogan.boxes.plan import BoxStage
from hpc import hdf5, memory, mpi
from hpc.distributed import Processes
from hpc.files import NO_ROOM, no_room, whole_file
from hpc.log import Progress, clock, say
from hpc.receipts import provenance
from hpc.settings import to_tree
from hpc.stage import Outcome

FORMAT = "cosmogan-box/1"
Column = tuple[Range, Range]


def draw(stage: BoxStage, comm: mpi.Comm) -> Outcome:
    """Draw what is missing of a box, and write the file that shows the whole.

    Raises
    ------
    ValueError
        when there is no local generator, cells are far from those that it was trained on, the region is not in the box,
        the simulation does not fit the memory, or another box was begun in the same folder.
    """
    experiment, wanted = stage.experiment, stage.experiment.box
    memory.keep_freed()
    if comm.size > 1:
        torch.set_num_threads(1)  # one rank a core
    device = Processes(comm.rank, comm.size, comm.rank).device(experiment.train.device)
    generator = released.load(experiment.drawn_from, device)
    box = generator.geometry(wanted)
    columns = box.columns()
    _remark(stage, generator, box, comm)
    if comm.rank == 0:
        stage.receipt.begin(keep=stage.receipt.path.exists())
    began = time.monotonic()
    missing = comm.on_root(lambda: [column for column in columns if not _is_whole(_path(stage, column))])
    if missing:
        comm.on_root(lambda: _simulate(stage, generator, box))
    simulated = time.monotonic()
    mine = missing[comm.rank :: comm.size]
    with Progress("box", len(mine) * len(list(box.tiles(columns[0]))), "tiles", comm.rank) as progress:
        for column in mine:
            _write_column(stage, generator, box, column, progress)
    comm.barrier()
    if comm.rank == 0:
        _write_whole(stage, generator, box)
        _field_path(stage).unlink(missing_ok=True)
    cells = " × ".join(map(str, box.shape))
    times = f"{clock(time.monotonic() - began)}, of which the quick simulation {clock(simulated - began)}"
    line = f"drew {cells} cells of {box.cell_size:.4g} Mpc/h in {times}: {stage.path}"
    return Outcome({"cells": int(np.prod(box.shape)), "seconds": round(time.monotonic() - began, 1)}, (line,))


def _remark(stage: BoxStage, generator: BoxGenerator, box: BoxGeometry, comm: mpi.Comm) -> None:
    """Warn of cells, and of a cosmology, that the generator was not trained on, and of ranks without work."""
    lines = geometry.remarks(box, generator.settings["geometry"])
    wanted, trained = to_tree(stage.experiment.cosmology), to_tree(generator.cosmology)
    lines += [
        f"cosmology.{name}: {wanted[name]:g}, but the generator was trained on {trained[name]:g}"
        for name in wanted
        if wanted[name] != trained[name]
    ]
    n = len(box.columns())
    if comm.size > n:
        lines.append(f"{comm.size} MPI ranks, but {n} columns of tiles: {comm.size - n} ranks have nothing to do")
    for line in lines:
        say(f"box: warning: {line}", comm.rank)


def _field_path(stage: BoxStage) -> Path:
    return stage.workplace / "quick.npy"


def _path(stage: BoxStage, column: Column) -> Path:
    (x, _), (y, _) = column
    return stage.workplace / "columns" / f"x{x:05d}-y{y:05d}.h5"


def _is_whole(path: Path) -> bool:
    """Say whether a column is there, all of it."""
    try:
        with h5py.File(path, "r") as file:
            hdf5.check_all(file)
            return True
    except (OSError, KeyError, hdf5.Missing):
        return False


def _simulate(stage: BoxStage, generator: BoxGenerator, box: BoxGeometry) -> None:
    """Run the quick simulation, unless it is there, on all of the host's cores, and keep its density in a file."""
    if _field_path(stage).exists():
        return
    wanted, own = stage.experiment.box, torch.get_num_threads()
    simulated = generator.quick_simulation(box, wanted.seed, stage.experiment.cosmology)
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # the other ranks wait
    with Progress("box: quick simulation", simulated.simulate.n_steps, "steps") as progress:
        field = quick.density(simulated, wanted.number, box.n_mesh, generator.local.device, progress)
    torch.set_num_threads(own)
    path = _field_path(stage)
    try:
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, field)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise no_room(error, path, f"while writing {field.nbytes / 1e6:.3g} MB") from None


def _write_column(
    stage: BoxStage, generator: BoxGenerator, box: BoxGeometry, column: Column, progress: Progress
) -> None:
    """Draw the tiles of a column, one after another, into a file of their own."""
    field, wanted = np.load(_field_path(stage), mmap_mode="r"), stage.experiment.box
    (x, y), first = column, box.region[2][0]
    shape = x[1] - x[0], y[1] - y[0], box.shape[2]
    with shards.whole_hdf5(_path(stage, column)) as file:
        chunks = tuple(min(TILE, cells) for cells in shape)
        density = file.create_dataset("density", shape, np.float32, chunks=chunks)
        for tile in box.tiles(column):
            z = tile.wanted[2]
            density[:, :, z[0] - first : z[1] - first] = generator.tile(field, tile, wanted.seed, wanted.number)
            progress.advance()


def _write_whole(stage: BoxStage, generator: BoxGenerator, box: BoxGeometry) -> None:
    """Write the file that shows all columns as one array; it names them by their place beside it."""
    layout, origin = h5py.VirtualLayout(box.shape, np.float32), [start for start, _ in box.region]
    for column in box.columns():
        path = _path(stage, column)
        x, y = (slice(start - first, stop - first) for (start, stop), first in zip(column, origin, strict=False))
        shape = x.stop - x.start, y.stop - y.start, box.shape[2]
        layout[x, y, :] = h5py.VirtualSource(str(path.relative_to(stage.workplace)), "density", shape, np.float32)
    with shards.whole_hdf5(stage.path) as file:
        file.create_virtual_dataset("density", layout)
        file.attrs.update(_attributes(stage, generator, box))


def _attributes(stage: BoxStage, generator: BoxGenerator, box: BoxGeometry) -> dict[str, Any]:
    """Return what the file says of the box: its geometry, its origin, and the versions that made it."""
    wanted = stage.experiment.box
    about = {
        "box_size": box.box_size,
        "n_mesh": box.n_mesh,
        "cell_size": box.cell_size,
        "first_cell": [start for start, _ in box.region],
    }
    about |= {"redshift": generator.settings["input"]["redshift"], **to_tree(stage.experiment.cosmology)}
    about |= {"seed": wanted.seed, "number": wanted.number, "generator": generator.settings["sha256"]}
    units = "density in units of the mean; lengths in comoving Mpc/h"
    return {"format": FORMAT, "units": units, **about, "versions": str(provenance())}
