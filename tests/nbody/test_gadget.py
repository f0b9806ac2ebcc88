import hashlib
import itertools
import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
import snapshot_files as made
from snapshot_files import read

from cosmogan.nbody import gadget

SETS = [
    ("g2_32_mpc_f1", "snapshot_006"),
    ("g2_32_mpc_f1", "snapshot_000"),
    ("g2_32_mpc_f1", "ic32_mpc"),
    ("g2_32_mpc_f2_longids", "snapshot_006"),
    ("g2_32_mpc_f1_potacc_double", "snapshot_000"),
    ("g2_64_kpc_f1", "snapshot_006"),
]
WRITTEN = [("<", False), ("<", True), (">", False), (">", True)]  # byte order, format 2


@pytest.mark.parametrize(("folder", "name"), SETS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_real_snapshots_read_as_independent_codes_read_them(data, tmp_path, folder, name, order):
    path = data / folder / name
    facts = json.loads((data / folder / "facts" / f"{name}.facts.json").read_text())
    if order == ">":
        path = tmp_path / name
        path.write_bytes(made.big_endian((data / folder / name).read_bytes(), 8 if "longids" in folder else 4))
    file = gadget.open_file(path)
    positions, masses = read(file)
    assert positions.dtype == np.float32 and positions.dtype.isnative
    assert hashlib.sha256(positions.tobytes()).hexdigest() == facts["positions"]["sha256_file_order_float32le"]
    np.testing.assert_allclose(positions.sum(axis=0, dtype=np.float64), facts["positions"]["sum_float64"], rtol=1e-12)
    header = file.header
    assert list(header.n_total) == facts["npart_total"] == list(header.n_part)
    assert list(header.mass_table) == facts["mass_table_1e10Msun_h"] and header.box_size == facts["BoxSize"]
    assert header.redshift == max(facts["redshift"], 0)
    assert (masses == np.float32(header.mass_table[1])).all()


def header(n_part=(0, 5, 0, 0, 0, 0), masses=(0, 2.0, 0, 0, 0, 0), **changes):
    values = {"redshift": 1.0, "box_size": 10.0, "omega_m": 0.3, "omega_lambda": 0.7, "h": 0.7}
    values |= {"n_total": n_part, "n_files": 1} | changes
    return gadget.Header(n_part=n_part, mass_table=masses, **values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [np.uint32, np.uint64])
@pytest.mark.parametrize("labelled", [False, True])
def test_what_the_package_writes_is_read_back(tmp_path, dtype, ids, labelled):
    positions = np.arange(15).reshape(5, 3).astype(dtype)
    gadget.write(tmp_path / "s", positions, np.zeros((5, 3), dtype), np.arange(5, dtype=ids), header(), labelled)
    file = gadget.open_file(tmp_path / "s")
    assert file.header == header() and file.position_dtype == dtype
    np.testing.assert_array_equal(read(file)[0], positions)


@pytest.mark.parametrize(("order", "labelled"), WRITTEN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", ["u4", "u8"])
def test_types_of_unequal_masses_are_read_in_any_layout(tmp_path, order, labelled, dtype, ids):
    particles = made.positions(dtype=dtype, t0=20, t1=30, t4=10)
    masses = {0: np.linspace(1, 2, 20).astype(dtype), 1: 7.0, 4: np.linspace(3, 4, 10).astype(dtype)}
    made.write_binary(tmp_path / "s", particles, masses, order, labelled, ids)
    file = gadget.open_file(tmp_path / "s")
    every = np.concatenate([masses[0], np.full(30, 7), masses[4]]).astype(np.float32)
    first = {"all": 0, 0: 0, 1: 20, 4: 50, 5: 60}
    for kind, start in first.items():
        rows = slice(start, start + file.n_rows(kind))
        positions, found = read(file, kind)
        np.testing.assert_array_equal(positions, made.together(particles)[rows])
        np.testing.assert_array_equal(found, every[rows])
        assert positions.dtype == file.position_dtype == dtype
    positions, found = read(file, "all", 15, 55)  # parts of three types
    np.testing.assert_array_equal(positions, made.together(particles)[15:55])
    np.testing.assert_array_equal(found, every[15:55])
    assert [file.n_rows(kind) for kind in ("all", *range(6))] == [60, 20, 30, 0, 0, 10, 0]
    assert file.types(4) == range(4, 5) and file.types("all") == range(6)
    assert file.where(3, 4) == f"{tmp_path / 's'}: particle 53" and file.where(53, "all") == file.where(3, 4)
    assert pickle.loads(pickle.dumps(file)) == file  # goes from rank 0 to the others


def test_other_labelled_blocks_may_lie_between(tmp_path):
    particles, masses = made.positions(t0=20), {0: np.linspace(1, 2, 20, dtype=np.float32)}
    made.write_binary(tmp_path / "s", particles, masses, labelled=True, extra=[("U", bytes(80)), ("XYZ", b"")])
    positions, found = read(gadget.open_file(tmp_path / "s"))
    np.testing.assert_array_equal(positions, particles[0])
    np.testing.assert_array_equal(found, masses[0])


def test_masses_are_looked_for_only_of_chosen_types(tmp_path):
    made.write_binary(tmp_path / "s", made.positions(t1=3, t5=2), {1: 2.0, 5: 0.0})
    assert (read(gadget.open_file(tmp_path / "s", 1), 1)[1] == 2).all()
    with pytest.raises(ValueError, match="expected a MASS block, found the end of the file"):
        gadget.open_file(tmp_path / "s", 5)


def test_positions_on_the_faces_and_outside_pass_through(tmp_path):
    edge = np.array([[0, made.BOX, -1e-6], [made.BOX + 1, -0.0, np.nextafter(np.float32(made.BOX), np.float32(0))]])
    made.write_binary(tmp_path / "s", {1: edge.astype(np.float32)})
    assert read(gadget.open_file(tmp_path / "s"))[0].tobytes() == edge.astype(np.float32).tobytes()


def test_old_headers_with_zeros_and_garbage_are_read(tmp_path):
    particles, nothing = made.positions(t1=4), np.zeros(6, np.uint32)
    old = {"NumFilesPerSnapshot": 0, "NumPart_Total": nothing, "Omega0": 0.0, "OmegaLambda": 0.0, "HubbleParam": 0.0}
    made.write_binary(tmp_path / "zeros", particles, **old)
    found = gadget.open_file(tmp_path / "zeros").header
    assert (found.n_files, found.n_total, found.omega_m) == (1, (0, 4, 0, 0, 0, 0), 0.0)
    old["Redshift"] = -1e-16
    made.write_binary(tmp_path / "zeros", particles, **old)
    assert gadget.open_file(tmp_path / "zeros").header.redshift == 0
    made.write_binary(tmp_path / "garbage", particles, NumPart_Total_HighWord=np.full(6, 0xDEADBEEF, np.uint32))
    raw = bytearray((tmp_path / "garbage").read_bytes())
    raw[200:260] = b"\xa5" * 60
    (tmp_path / "garbage").write_bytes(raw)
    assert gadget.open_file(tmp_path / "garbage").header.n_total == (0, 4, 0, 0, 0, 0)


def test_a_file_of_a_set_may_have_no_particles(tmp_path):
    made.write_binary(tmp_path / "s.1", {}, NumFilesPerSnapshot=2, NumPart_Total=np.full(6, 9, np.uint32))
    file = gadget.open_file(tmp_path / "s.1")
    assert file.n_rows("all") == 0 and read(file)[0].shape == (0, 3)


def test_reading_makes_no_copy(tmp_path):
    particles = made.positions(t1=300_000)
    for order in "<>":
        made.write_binary(tmp_path / order, particles, order=order)
        file = gadget.open_file(tmp_path / order)
        out = np.empty((300_000, 3), np.float32)
        tracemalloc.start()
        file.read_positions(out, 1, 0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_array_equal(out, particles[1])
        assert peak < out.nbytes / 10


def test_a_file_cut_after_it_was_opened_is_named(tmp_path):
    path = tmp_path / "s"
    made.write_binary(path, made.positions(t1=100))
    file = gadget.open_file(path)
    os.truncate(path, 268 + 12 * 50 + 5)
    with pytest.raises(ValueError) as caught:
        read(file, 1, 40, 60)
    message = "ended in the POS block: expected 240 bytes from 748 on, found 125; was it changed while it was read?"
    assert str(caught.value) == f"{path}: {message} copy it again"


# --- independent codes ---------------------------------------------------------------------------


def pynbody():
    return pytest.importorskip("pynbody", reason="pynbody is not installed; the extra `test` has it")


@pytest.mark.parametrize("types", ["dm", "dm and gas"])
def test_files_written_by_pynbody_are_read(tmp_path, types):
    pynbody()
    import pynbody as other

    rng = np.random.default_rng(2)
    snap = other.new(dm=50, gas=30 if types == "dm and gas" else 0)
    snap["pos"] = rng.uniform(0, 8, (len(snap), 3)).astype(np.float32)
    snap["mass"] = rng.uniform(1, 2, len(snap)).astype(np.float32)
    snap["pos"].units, snap["vel"].units, snap["mass"].units = "Mpc a h^-1", "km a^1/2 s^-1", "1e10 Msol h^-1"
    size = other.units.Unit("8 Mpc a h^-1")
    snap.properties.update({"a": 0.5, "z": 1.0, "boxsize": size, "h": 0.7, "omegaM0": 0.3, "omegaL0": 0.7})
    snap.write(fmt=other.snapshot.gadget.GadgetSnap, filename=str(tmp_path / "s"))
    file = gadget.open_file(tmp_path / "s")
    positions, masses = read(file)
    np.testing.assert_array_equal(positions, np.concatenate([snap.g["pos"], snap.dm["pos"]]))
    np.testing.assert_array_equal(masses, np.concatenate([snap.g["mass"], snap.dm["mass"]]))
    assert file.header.redshift == pytest.approx(1.0) and file.header.box_size == pytest.approx(8.0)


@pytest.mark.parametrize("labelled", [False, True])
def test_pynbody_reads_what_the_package_writes(tmp_path, labelled):
    other = pynbody()
    n_part = (0, 40, 0, 0, 0, 0)
    x = made.positions(t1=40)[1]
    made_header = header(n_part, h=0.7)
    gadget.write(tmp_path / "s", x, np.zeros_like(x), np.arange(40, dtype=np.uint32), made_header, labelled)
    snap = other.load(str(tmp_path / "s"))
    np.testing.assert_array_equal(snap.dm["pos"], x)
    assert (snap.dm["mass"] == 2).all() and snap.properties["z"] == 1.0


@pytest.mark.parametrize("order", [*itertools.permutations(["POS", "VEL", "ID", "MASS"])])
def test_labels_lead_to_blocks_in_any_order(tmp_path, order):
    particles, masses = made.positions(t0=4, t1=6), np.linspace(1, 2, 4, dtype=np.float32)
    made.write_binary(tmp_path / "s", particles, {0: masses, 1: 2.0}, labelled=True)
    blocks = dict(made.blocks_of((tmp_path / "s").read_bytes()))
    (tmp_path / "s").write_bytes(made.records([(name, blocks[name]) for name in ("HEAD", *order)], labelled=True))
    file = gadget.open_file(tmp_path / "s")
    positions, found = read(file)
    np.testing.assert_array_equal(positions, made.together(particles))
    np.testing.assert_array_equal(found, [*masses, *[2] * 6])
    assert gadget.read_velocities(file).shape == (10, 3)
