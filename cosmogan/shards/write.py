"""Write shards, whole or not at all."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cosmogan.shards.schema import COLUMNS, FORMAT, Geometry, open_file
from cosmogan.shards.sink import whole_hdf5
from hpc.files import NO_ROOM, checksum, no_room
from hpc.receipts import provenance


@contextlib.contextmanager
def create(
    path: Path,
    n: int,
    geometry: Geometry,
    kind: str,
    source: Mapping[str, object],
    lines: list[dict[str, Any]] | None = None,
) -> Iterator[h5py.File]:
    """Give an open shard of ``n`` rows to fill; it gets its final name when it is whole.

    Parameters
    ----------
    path : final name
    n : subvolumes
    geometry : written as attributes, with the cell size
    kind : ``simulated`` or ``generated``; says which columns there are
    source : plain data on what the densities come from, kept as JSON
    lines : gets the shard's line of the manifest; its checksum is computed while the shard goes to disk

    Raises
    ------
    OSError
        when the disk or a quota is full: names the shard, the reason, and what to do. No file is left behind.
    """

    def note(written: Path) -> None:
        if lines is not None:
            lines.append(describe(written) | {"file": path.name})

    try:
        with whole_hdf5(path, note) as file:
            _lay_out(file, n, geometry, kind, source)
            yield file
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise no_room(error, path, f"while writing {n * geometry.subvolume**3 * 4 / 1e6:.3g} MB") from None


def _lay_out(file: h5py.File, n: int, geometry: Geometry, kind: str, source: Mapping[str, object]) -> None:
    """Make a new shard's datasets and attributes."""
    m = geometry.subvolume
    file.create_dataset("density", (n, m, m, m), "f4", chunks=(1, m, m, m), fillvalue=0)
    for name, (dtype, shape) in COLUMNS[kind].items():
        file.create_dataset(name, (n, *shape), dtype)
    file.attrs.update(format=FORMAT, kind=kind, cell_size=geometry.cell_size, **dataclasses.asdict(geometry))
    file.attrs["source"] = json.dumps(source)
    file.attrs["versions"] = json.dumps(provenance())


def describe(path: Path) -> dict[str, Any]:
    """Return a whole shard's line of the manifest.

    Returns
    -------
    ``file``, ``rows``, ``sha256``, ``redshift``, ``mean_cell_mass``; ``parameters`` where the source has them; and for
    simulated subvolumes ``simulation`` and ``snapshot``
    """
    with open_file(path) as file:
        line = {"file": path.name, "rows": file["density"].shape[0], "sha256": checksum(path)}
        line |= {name: float(file.attrs[name]) for name in ("redshift", "mean_cell_mass")}
        source = json.loads(file.attrs["source"])
        if source.get("parameters"):
            line["parameters"] = source["parameters"]
        if file.attrs["kind"] == "simulated":
            numbers = np.unique(file["simulation"][:])
            if len(numbers) == 1:
                line["simulation"] = int(numbers[0])
            files = source.get("files")
            if files:
                line["snapshot"] = str(Path(files[0]).with_suffix("")) if len(files) > 1 else files[0]
    return line
