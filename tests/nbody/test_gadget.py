import hashlib
import json
import struct

import numpy as np
import pytest

from cosmogan.nbody import gadget

SETS = [
    ("g2_32_mpc_f1", "snapshot_006"),
    ("g2_32_mpc_f1", "snapshot_000"),
    ("g2_32_mpc_f1", "ic32_mpc"),
    ("g2_32_mpc_f1_n4", "snapshot_006"),
    ("g2_32_mpc_f2_longids", "snapshot_006"),
    ("g2_32_mpc_f1_potacc_double", "snapshot_000"),
    ("g2_64_kpc_f1", "snapshot_006"),
]


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_real_snapshots_read_as_independent_codes_read_them(data, folder, name):
    facts = json.loads((data / folder / "facts" / f"{name}.facts.json").read_text())
    files = gadget.open_snapshot(data / folder / name)
    positions = np.concatenate([file.positions(0, sum(file.header.n_part)) for file in files])
    assert hashlib.sha256(positions.tobytes()).hexdigest() == facts["positions"]["sha256_file_order_float32le"]
    np.testing.assert_allclose(positions.sum(axis=0, dtype=np.float64), facts["positions"]["sum_float64"], rtol=1e-12)
    header = files[0].header
    assert list(header.n_total) == facts["npart_total"] and len(files) == facts["nfiles"]
    assert list(header.mass_table) == facts["mass_table_1e10Msun_h"] and header.box_size == facts["BoxSize"]
    assert header.redshift == max(facts["redshift"], 0)


def test_a_part_of_the_rows_is_the_same_part_of_all(data):
    (file,) = gadget.open_snapshot(data / "g2_32_mpc_f1" / "snapshot_006")
    np.testing.assert_array_equal(file.positions(100, 300), file.positions(0, 400)[100:300])


def header(n_part=(0, 5, 0, 0, 0, 0), masses=(0, 2.0, 0, 0, 0, 0), **changes):
    values = {"redshift": 1.0, "box_size": 10.0, "omega_m": 0.3, "omega_lambda": 0.7, "h": 0.7}
    values |= {"n_total": n_part, "n_files": 1} | changes
    return gadget.Header(n_part=n_part, mass_table=masses, **values)


def write(path, made=None, dtype=np.float32, ids=np.uint32, labelled=False):
    made = made or header()
    n = sum(made.n_part)
    positions = (np.arange(3 * n).reshape(n, 3) % 10).astype(dtype)
    gadget.write(path, positions, np.zeros((n, 3), dtype), np.arange(n, dtype=ids), made, labelled)
    return positions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [np.uint32, np.uint64])
@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_written_is_read_back(tmp_path, dtype, ids, labelled):
    positions = write(tmp_path / "s", dtype=dtype, ids=ids, labelled=labelled)
    (file,) = gadget.open_snapshot(tmp_path / "s")
    assert file.header == header() and file.position_dtype == dtype
    np.testing.assert_array_equal(file.positions(0, 5), positions)


def swapped(path):
    """Rewrite a written file with 5 particles in the other byte order."""
    raw = path.read_bytes()
    head = np.frombuffer(raw[4:260], np.dtype(gadget._HEADER))[0]
    blocks = [(head.astype(np.dtype(gadget._HEADER).newbyteorder(">")).tobytes())]
    place = 264
    for _ in range(3):
        (length,) = struct.unpack_from("<I", raw, place)
        blocks.append(np.frombuffer(raw, "<u4", length // 4, place + 4).astype(">u4").tobytes())
        place += length + 8
    marked = (struct.pack(">I", len(b)) + b + struct.pack(">I", len(b)) for b in blocks)
    path.write_bytes(b"".join(marked))


def test_big_endian_files_are_read(tmp_path):
    positions = write(tmp_path / "s")
    swapped(tmp_path / "s")
    (file,) = gadget.open_snapshot(tmp_path / "s")
    assert file.header == header()
    np.testing.assert_array_equal(file.positions(0, 5), positions)


def test_mass_block_holds_the_types_without_an_entry_in_the_table(tmp_path):
    made = header(n_part=(2, 3, 0, 0, 1, 0), masses=(0, 7.0, 0, 0, 0, 0))
    write(tmp_path / "s", made)
    with open(tmp_path / "s", "ab") as file:
        file.write(struct.pack("<I3fI", 12, 0.5, 0.25, 3.0, 12))
    (file,) = gadget.open_snapshot(tmp_path / "s")
    np.testing.assert_array_equal(file.masses(0, 6), [0.5, 0.25, 7, 7, 7, 3])
    np.testing.assert_array_equal(file.masses(1, 5), [0.25, 7, 7, 7])
    assert file.rows(1) == range(2, 5) and file.rows("all") == range(6) and file.rows(4) == range(5, 6)


def test_a_file_of_a_set_stands_for_the_set(data):
    files = gadget.open_snapshot(data / "g2_32_mpc_f1_n4" / "snapshot_006.2")
    assert [file.path.name for file in files] == [f"snapshot_006.{i}" for i in range(4)]


def damage(path, defect):
    raw = path.read_bytes()
    changed = {
        "empty": b"",
        "truncated": raw[:300],
        "text": b"a text file, no snapshot",
        "cut in the header": raw[:100],
        "hdf5": b"\x89HDF\r\n\x1a\n" + raw[8:],
        "count": raw[:8] + struct.pack("<I", 9) + raw[12:],
        "marker": raw[:328] + struct.pack("<I", 1) + raw[332:],
    }[defect]
    path.write_bytes(changed)


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("empty", "empty; expected a GADGET-2 snapshot"),
        ("truncated", "truncated in the POS block: expected at least 332 bytes, found 300"),
        ("text", "not a GADGET-2 snapshot of format 1 or 2: expected a first record of 256 or 8 bytes, found 17"),
        ("cut in the header", "truncated in the HEAD block"),
        ("hdf5", "an HDF5 snapshot"),
        ("count", "the header disagrees with the POS block: expected 108 or 216 bytes, found 60"),
        ("marker", "damaged: the POS block's two record markers differ"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, defect, message):
    write(tmp_path / "s")
    damage(tmp_path / "s", defect)
    with pytest.raises(ValueError) as caught:
        gadget.open_snapshot(tmp_path / "s")
    assert str(caught.value).startswith(f"{tmp_path / 's'}: ") and message in str(caught.value)


def test_a_missing_file_of_a_set_is_named(tmp_path):
    write(tmp_path / "s.0", header(n_total=(0, 10, 0, 0, 0, 0), n_files=2))
    with pytest.raises(ValueError, match=r"s\.1: not found; s\.0 says that the snapshot has 2 files"):
        gadget.open_snapshot(tmp_path / "s")


def test_counts_that_do_not_add_up_are_refused(tmp_path):
    for i in range(2):
        write(tmp_path / f"s.{i}", header(n_total=(0, 11, 0, 0, 0, 0), n_files=2))
    with pytest.raises(ValueError, match=r"says \[0, 11, 0, 0, 0, 0\] particles .* its 2 files have \[0, 10"):
        gadget.open_snapshot(tmp_path / "s")


def test_a_wrong_label_is_named(tmp_path):
    write(tmp_path / "s", labelled=True)
    raw = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(raw.replace(b"POS ", b"ACCE"))
    with pytest.raises(ValueError, match="expected the POS block, found one labelled 'ACCE'"):
        gadget.open_snapshot(tmp_path / "s")
