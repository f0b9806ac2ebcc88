import json
import os
import pickle
import resource
import struct

import numpy as np
import pytest
import snapshot_files as made

from cosmogan.nbody import gadget
from cosmogan.nbody.snapshot import open_file, open_snapshot

COUNTS = (7, 0, 20, 1)  # particles of type 1 in the files of a set


def read(snapshot, start=0, stop=None):
    """Positions and masses of rows of a snapshot."""
    stop = snapshot.n_particles if stop is None else stop
    positions = np.full((stop - start, 3), np.nan, snapshot.position_dtype)
    masses = np.full(stop - start, np.nan, np.float32)
    snapshot.read_positions(positions, start)
    snapshot.read_masses(masses, start)
    return positions, masses


def pieces(counts=COUNTS, **more):
    """Particles of type 1, and more types, for the files of a set."""
    return [made.positions(seed=i, t1=n, **more) for i, n in enumerate(counts)]


@pytest.mark.parametrize("name", ["snapshot_006", "snapshot_006.0", "snapshot_006.2", "."])
def test_a_real_snapshot_in_several_files_reads_as_independent_codes_read_it(data, name):
    folder = data / "g2_32_mpc_f1_n4"
    facts = json.loads((folder / "facts" / "snapshot_006.facts.json").read_text())
    snapshot = open_snapshot(folder / name, "all")
    assert [file.path.name for file in snapshot.files] == [f"snapshot_006.{i}" for i in range(4)]
    assert list(snapshot.counts) == facts["npart_total"] and snapshot.n_particles == 32**3
    positions, masses = read(snapshot)
    np.testing.assert_allclose(positions.sum(axis=0, dtype=np.float64), facts["positions"]["sum_float64"], rtol=1e-12)
    assert snapshot.particle_mass == facts["mass_table_1e10Msun_h"][1] and (masses == np.float32(8.046440779)).all()
    assert (snapshot.box_size, snapshot.redshift) == (32, max(facts["redshift"], 0))
    assert snapshot.table_mass == pytest.approx(32**3 * snapshot.particle_mass)


@pytest.mark.parametrize("kind", made.FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_numbered_over_all_files(tmp_path, kind, dtype):
    parts = [{1: part[1].astype(dtype), 2: part[2].astype(dtype)} for part in pieces(t2=3)]
    masses = [{1: 2.0, 2: np.linspace(i, i + 0.5, 3, dtype=np.float32)} for i in range(4)]
    paths = made.write_set(tmp_path, "s", parts, kind, masses)
    snapshot = open_snapshot(tmp_path / "s", "all")
    assert [file.path for file in snapshot.files] == paths and snapshot.position_dtype == dtype
    every = np.concatenate([made.together(part) for part in parts])
    weights = np.concatenate([np.r_[np.full(len(p[1]), 2), m[2]] for p, m in zip(parts, masses, strict=True)])
    for start, stop in ((0, 40), (0, 0), (3, 9), (8, 12), (10, 13), (9, 40), (40, 40)):
        positions, found = read(snapshot, start, stop)
        np.testing.assert_array_equal(positions, every[start:stop])
        np.testing.assert_array_equal(found, weights[start:stop].astype(np.float32))
    assert snapshot.particle_mass is None and snapshot.table_mass is None
    # Row 12 is the third of the second file, which has three particles of type 2 and none of type 1.
    place = "PartType2, particle 2" if kind == "format 3" else "particle 2"
    assert snapshot.where(12) == f"{paths[1]}: {place}"
    with pytest.raises(ValueError, match="expected rows of 0 to 40, found 39 to 41"):
        read(snapshot, 39, 41)
    one = open_snapshot(tmp_path / "s", 1)
    np.testing.assert_array_equal(read(one)[0], np.concatenate([part[1] for part in parts]))
    assert one.n_particles == 28 and one.particle_mass == 2.0 and one.table_mass == 56.0
    place = "PartType1, particle 0" if kind == "format 3" else "particle 0"
    assert one.where(7) == f"{paths[2]}: {place}"


@pytest.mark.parametrize("kind", made.FORMATS)
def test_a_file_of_a_set_may_have_no_particles(tmp_path, kind):
    parts = [{1: part[1].astype(np.float64)} if len(part[1]) else {} for part in pieces()]
    made.write_set(tmp_path, "s", parts, kind, masses=[{1: 2.0}] * 4)
    snapshot = open_snapshot(tmp_path / "s", "all")
    assert len(snapshot.files) == 4 and snapshot.position_dtype == np.float64
    np.testing.assert_array_equal(read(snapshot)[0], np.concatenate([part[1] for part in parts if part]))


def test_types_share_a_mass_when_the_table_says_so(tmp_path):
    for name, masses, shared in (("same", (2.0, 2.0), 2.0), ("differ", (2.0, 3.0), None)):
        made.write_binary(tmp_path / name, made.positions(t1=3, t2=4), {1: masses[0], 2: masses[1]})
        snapshot = open_snapshot(tmp_path / name, "all")
        assert snapshot.particle_mass == shared
        assert snapshot.table_mass == 3 * masses[0] + 4 * masses[1]
    made.write_binary(tmp_path / "block", made.positions(t1=3), {1: np.full(3, 2.0, np.float32)})
    assert open_snapshot(tmp_path / "block", "all").particle_mass is None  # it would have to be read


def test_a_snapshot_goes_from_rank_to_rank(tmp_path):
    made.write_set(tmp_path, "s", pieces())
    snapshot = open_snapshot(tmp_path / "s", "all")
    assert snapshot.n_particles == sum(COUNTS)
    copy = pickle.loads(pickle.dumps(snapshot))
    assert copy == snapshot
    np.testing.assert_array_equal(read(copy)[0], read(snapshot)[0])


@pytest.mark.parametrize("kind", ["format 1", "format 3"])
def test_few_of_many_files_are_open_at_once(tmp_path, kind):
    parts = pieces([3] * 200)
    made.write_set(tmp_path, "s", parts, kind)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, allowed[1]))
    try:
        snapshot = open_snapshot(tmp_path / "s", "all")
        positions, _ = read(snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    np.testing.assert_array_equal(positions, np.concatenate([part[1] for part in parts]))


def sparse_half(path, high):
    """One of two files with 2³¹ particles each, all holes but its header and markers."""
    n = 2**31
    count = np.array([0, n, 0, 0, 0, 0], np.uint32)
    changes = {"NumPart_ThisFile": count, "NumPart_Total": np.zeros(6, np.uint32), "NumFilesPerSnapshot": 2}
    changes |= {"NumPart_Total_HighWord": np.array([0, high, 0, 0, 0, 0], np.uint32), "MassTable": [0, 1.0, 0, 0, 0, 0]}
    marker = struct.pack("<I", 12 * n % 2**32)
    with open(path, "wb") as file:
        file.write(made.records([("HEAD", made.head(made.fields({}, {}, **changes)))]) + marker)
        start = file.tell()
        file.seek(12 * n, 1)
        file.write(marker)
    return start


def test_more_than_two_to_the_32_particles_are_counted(tmp_path):
    for i in range(2):
        start = sparse_half(tmp_path / f"s.{i}", high=1)
        with open(tmp_path / f"s.{i}", "r+b") as file:
            file.seek(start + (12 * (2**31 - 1) if i == 0 else 0))
            file.write(np.array([i + 1] * 3, np.float32).tobytes())
    snapshot = open_snapshot(tmp_path / "s", 1)
    assert snapshot.n_particles == 2**32 == snapshot.header.n_total[1]
    np.testing.assert_array_equal(read(snapshot, 2**31 - 2, 2**31 + 2)[0][:, 0], [0, 1, 2, 0])
    assert snapshot.where(2**32 - 1) == f"{tmp_path / 's.1'}: particle {2**31 - 1}"
    for i in range(2):
        sparse_half(tmp_path / f"s.{i}", high=2)
    with pytest.raises(ValueError, match=r"the header says \[0, 8589934592, 0, 0, 0, 0\] particles"):
        open_snapshot(tmp_path / "s", 1)


def test_garbage_in_the_high_words_is_passed_over(tmp_path):
    made.write_set(tmp_path, "s", pieces(), NumPart_Total_HighWord=np.full(6, 0xA5A5A5A5, np.uint32))
    assert open_snapshot(tmp_path / "s", "all").counts[1] == sum(COUNTS)


@pytest.mark.parametrize("kind", ["format 1", "format 2", "format 3"])
def test_pylians_reads_the_same(tmp_path, kind):
    readgadget = pytest.importorskip("readgadget", reason="Pylians is not installed; `make reference` adds it")
    made.write_set(tmp_path, "s", pieces((7, 5, 20)), kind)
    found = readgadget.read_block(str(tmp_path / "s"), "POS ", [1])
    np.testing.assert_array_equal(found, read(open_snapshot(tmp_path / "s", 1))[0])


# --- what a path stands for -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", made.FORMATS)
def test_a_file_a_part_a_stem_and_a_folder_stand_for_the_same(tmp_path, kind):
    folder = tmp_path / "snapdir_006"
    folder.mkdir()
    paths = made.write_set(folder, "snapshot_006", pieces(), kind)
    (folder / "README.md").write_text("of this run")
    (folder / "parameters-usedvalues.1").write_text("BoxSize 8")
    (folder / "restart.0").write_bytes(bytes(400))
    for path in (folder / "snapshot_006", folder, paths[2], str(paths[0])):
        assert [file.path for file in open_snapshot(path, 1).files] == paths


@pytest.mark.parametrize("kind", made.FORMATS)
def test_a_snapshot_in_one_file_may_have_any_name(tmp_path, kind):
    write, ending = made.FORMATS[kind]
    for name in ("snapshot_000", "snapshot_z.5", "snapshot_z.0"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder / f"{name}{ending}", made.positions(t1=5))
        for path in (folder / name, folder, folder / f"{name}{ending}"):
            assert [file.path for file in open_snapshot(path, 1).files] == [folder / f"{name}{ending}"]


def refused(path, particle_type="all"):
    with pytest.raises(ValueError) as caught:
        open_snapshot(path, particle_type)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_that_stands_for_no_snapshot_or_for_two_is_refused(data, tmp_path):
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'}: not found; expected a GADGET-2 snapshot"
    assert refused(tmp_path / "no" / "s.hdf5").endswith("s.hdf5: not found; expected a GADGET-2 snapshot")
    folder = data / "g2_32_mpc_f1"
    found = "ic32_mpc, snapshot_000, snapshot_003, snapshot_006"
    expected = f"{folder}: expected a folder with one GADGET-2 snapshot, found {found}; name the one to read"
    assert refused(folder) == expected
    (tmp_path / "notes").write_text("no snapshot")
    assert "found 1 other file(s)" in refused(tmp_path)
    made.write_set(tmp_path, "s", pieces())
    made.write_set(tmp_path, "s", pieces(), "format 3")
    assert refused(tmp_path / "s") == f"{tmp_path / 's'}: stands for s.0 and s.0.hdf5; name the one to read"
    for i in (1, 2):
        made.write_binary(tmp_path / f"z.{i}", made.positions(t1=3))
    assert "found s.0, s.0.hdf5, z.1, z.2; name" in refused(tmp_path)


def test_every_format_is_opened_by_what_is_in_it(tmp_path):
    for kind, (write, _) in made.FORMATS.items():
        write(tmp_path / kind, made.positions(t1=3))
        assert isinstance(open_file(tmp_path / kind), gadget.SnapshotFile) == (kind != "format 3")


@pytest.mark.parametrize("kind", ["format 1", "format 3"])
@pytest.mark.parametrize("high", [([0, 0, 228, 0, 0, 0], [0] * 6), ([0, 7, 0, 0, 0, 0], [0, 0, 9, 1, 0, 0])])
def test_high_words_that_are_rubbish_are_passed_over(tmp_path, kind, high):
    pieces = [made.positions(seed, t1=3) for seed in (1, 2)]
    for name, words in zip("ab", high, strict=True):
        made.write_set(tmp_path, name, pieces, kind, NumPart_Total_HighWord=np.array(words, np.uint32))
    first, second = (next(tmp_path.glob(f"{name}*")) for name in ("a.0", "b.1"))
    second.rename(first.with_name(first.name.replace(".0", ".1")))
    snapshot = open_snapshot(tmp_path / "a", "all")
    np.testing.assert_array_equal(read(snapshot, 0, 6)[0], np.concatenate([piece[1] for piece in pieces]))
