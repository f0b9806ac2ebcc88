"""Sharded HDF5 subvolumes (``cosmogan-subvolumes/1``): the one format of simulated and generated densities.

A shard has ``density`` float32 (n, m, m, m), the density in units of its mean, one HDF5 chunk a subvolume, and a row
of each column beside it: ``corner`` int32 (n, 3), first cell, and ``simulation`` int32 (n) when simulated;
``seed`` and ``index`` int64 (n) when generated. All rows of a shard are of one redshift, and of one simulation when
simulated. ``manifest.json`` lists a folder's shards with rows, redshifts and checksums.

``python -m cosmogan.shards verify FOLDER`` and ``show FOLDER`` look at a folder from the command line.
"""

from cosmogan.shards.folder import Folder, open, open_one
from cosmogan.shards.manifest import is_complete, write_manifest
from cosmogan.shards.schema import COLUMNS, FORMAT, Geometry, read_geometry
from cosmogan.shards.show import named_simulations
from cosmogan.shards.sink import whole_hdf5
from cosmogan.shards.write import create, describe

__all__ = [
    "COLUMNS",
    "FORMAT",
    "Folder",
    "Geometry",
    "create",
    "describe",
    "is_complete",
    "named_simulations",
    "open",
    "open_one",
    "read_geometry",
    "whole_hdf5",
    "write_manifest",
]
