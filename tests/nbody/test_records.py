"""Blocks above 4 GiB, whose record markers wrap: files full of holes, which take no room on the disk."""

import os
import struct

import numpy as np
import pytest
import snapshot_files as made
from snapshot_files import read

from cosmogan.nbody import gadget

WRITTEN = [("<", False), ("<", True), (">", False), (">", True)]  # byte order, format 2


def sparse(path, n, blocks, order="<", labelled=False, size=None):
    """Write n particles of type 1 with records of ``blocks`` {label: bytes a particle}: holes, between the markers.

    Returns
    -------
    offsets : {label: of the block's data}
    """
    count, table = [0, n, 0, 0, 0, 0], [0, 0 if "MASS" in blocks else 1, 0, 0, 0, 0]
    made_header = made.fields({}, {}, NumPart_ThisFile=count, NumPart_Total=count, MassTable=table)
    offsets = {}
    with open(path, "wb") as file:
        file.write(made.records([("HEAD", made.head(made_header, order))], order, labelled))
        for label, width in blocks.items():
            marker = struct.pack(order + "I", width * n % 2**32)
            if labelled:
                file.write(made.records([(label, b"")], order, True)[:16])
            file.write(marker)
            offsets[label] = file.tell()
            file.seek(width * n, 1)
            file.write(marker)
    if size is not None:
        os.truncate(path, size)
    return offsets


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(("order", "labelled"), WRITTEN)
@pytest.mark.parametrize("width", [4, 8])
def test_blocks_above_4_gib_are_found_by_their_counts(tmp_path, order, labelled, width):
    n = 400_000_001  # 4.8 GB of single-precision positions: markers wrap
    blocks = {"POS": 3 * width, "VEL": 3 * width, "ID": 8, "MASS": width}
    offsets = sparse(tmp_path / "s", n, blocks, order, labelled)
    row = n - 2
    patch(tmp_path / "s", offsets["POS"] + 3 * width * row, np.arange(1, 7, dtype=f"{order}f{width}").tobytes())
    patch(tmp_path / "s", offsets["MASS"] + width * row, np.array([8, 9], f"{order}f{width}").tobytes())
    file = gadget.open_file(tmp_path / "s")
    assert file.position_dtype.itemsize == width and file.n_rows(1) == n
    positions, masses = read(file, 1, row, n)
    np.testing.assert_array_equal(positions, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(masses, [8, 9])


@pytest.mark.parametrize("width", [4, 8])
def test_the_precision_is_recognised_where_both_make_the_same_marker(tmp_path, width):
    n = 2**30  # markers of both precisions wrap to 0
    blocks = {"POS": 3 * width, "VEL": 3 * width, "ID": 4}
    offsets = sparse(tmp_path / "s", n, blocks)
    patch(tmp_path / "s", offsets["POS"] + 24 * n, np.float32(width == 4).tobytes())  # a velocity, or the marker 0
    file = gadget.open_file(tmp_path / "s")
    assert file.position_dtype.itemsize == width


def test_a_block_above_4_gib_that_is_cut_is_truncated(tmp_path):
    sparse(tmp_path / "s", 400_000_000, {"POS": 12}, size=4_500_000_000)
    with pytest.raises(ValueError, match="truncated in the POS block: expected at least 4800000272 bytes, found 45"):
        gadget.open_file(tmp_path / "s")


def test_a_file_that_is_filled_up_with_zeros_is_damaged(tmp_path):
    sparse(tmp_path / "s", 100, {"POS": 12}, size=2**32)
    with pytest.raises(ValueError, match="damaged: expected the end of the file after at most 1000 records, found 42"):
        gadget.open_file(tmp_path / "s")
