import json
import os
import pickle
import tracemalloc

import h5py
import numpy as np
import pytest
import snapshot_files as made
from snapshot_files import read

from cosmogan.nbody import gadget, gadget_hdf5
from cosmogan.nbody.snapshot import open_file


@pytest.mark.parametrize("folder", ["g2_32_mpc_f1", "g2_64_kpc_f1"])
def test_an_hdf5_copy_of_a_real_snapshot_reads_the_same(data, tmp_path, folder):
    real = gadget.open_file(data / folder / "snapshot_006")
    positions, masses = read(real)
    header = real.header
    made.write_hdf5(
        tmp_path / "s.hdf5",
        {1: positions},
        {1: header.mass_table[1]},
        Redshift=header.redshift,
        BoxSize=header.box_size,
        Omega0=header.omega_m,
        OmegaLambda=header.omega_lambda,
        HubbleParam=header.h,
    )
    file = open_file(tmp_path / "s.hdf5")
    assert isinstance(file, gadget_hdf5.Hdf5File) and file.header == header
    for copied, original in zip(read(file), (positions, masses), strict=True):
        assert copied.dtype == original.dtype and copied.tobytes() == original.tobytes()
    facts = json.loads((data / folder / "facts" / "snapshot_006.facts.json").read_text())
    np.testing.assert_allclose(read(file)[0].sum(axis=0, dtype=float), facts["positions"]["sum_float64"], rtol=1e-12)


LAYOUTS = {"contiguous": None, "chunked": {"chunks": (7, 3)}, "compressed": {"compression": "gzip", "shuffle": True}}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_of_unequal_masses_are_read_in_any_layout(tmp_path, layout, order, dtype):
    particles = made.positions(dtype=dtype, t0=20, t1=30, t4=10)
    masses = {0: np.linspace(1, 2, 20).astype(dtype), 1: 7.0, 4: np.linspace(3, 4, 10).astype(dtype)}
    made.write_hdf5(tmp_path / "s.hdf5", particles, masses, order, LAYOUTS[layout])
    file = gadget_hdf5.open_file(tmp_path / "s.hdf5")
    every = np.concatenate([masses[0], np.full(30, 7), masses[4]]).astype(np.float32)
    for kind, start in {"all": 0, 0: 0, 1: 20, 4: 50, 5: 60}.items():
        rows = slice(start, start + file.n_rows(kind))
        positions, found = read(file, kind)
        np.testing.assert_array_equal(positions, made.together(particles)[rows])
        np.testing.assert_array_equal(found, every[rows])
        assert file.position_dtype == dtype and file.position_dtype.isnative
    positions, found = read(file, "all", 15, 55)  # parts of three types
    np.testing.assert_array_equal(positions, made.together(particles)[15:55])
    np.testing.assert_array_equal(found, every[15:55])
    assert file.where(53, "all") == f"{tmp_path / 's.hdf5'}: PartType4, particle 3" == file.where(3, 4)
    assert pickle.loads(pickle.dumps(file)) == file  # goes from rank 0 to the others


def test_types_of_two_precisions_are_read_in_the_finer(tmp_path):
    particles = made.positions(t1=3) | made.positions(seed=2, dtype=np.float64, t2=3)
    made.write_hdf5(tmp_path / "s.hdf5", particles)
    assert gadget_hdf5.open_file(tmp_path / "s.hdf5", 1).position_dtype == np.float32
    file = gadget_hdf5.open_file(tmp_path / "s.hdf5")
    assert file.position_dtype == np.float64
    np.testing.assert_array_equal(read(file)[0], made.together(particles))


def test_the_header_may_be_that_of_gadget_4(tmp_path):
    path = tmp_path / "s.hdf5"
    made.write_hdf5(path, made.positions(t1=5))
    cosmology = {"Omega0": 0.31, "OmegaLambda": 0.69, "HubbleParam": 0.68}
    with h5py.File(path, "a") as file:
        header = file["Header"].attrs
        for name in (*cosmology, "NumPart_Total_HighWord"):
            del header[name]
        file.create_group("Parameters").attrs.update(cosmology)
        header["NumPart_ThisFile"] = np.array([0, 5], np.uint64)
        header["NumPart_Total"] = np.array([0, 2**33 + 5], np.uint64)
        header["MassTable"] = np.array([0, 2.0])
        header["NumFilesPerSnapshot"] = np.int32(3)
    found = gadget_hdf5.open_file(path).header
    assert (found.omega_m, found.omega_lambda, found.h) == (0.31, 0.69, 0.68)
    assert found.n_part == (0, 5, 0, 0, 0, 0) and found.n_total == (0, 2**33 + 5, 0, 0, 0, 0) and found.n_files == 3


def test_headers_with_zeros_are_read(tmp_path):
    particles, nothing = made.positions(t1=4), np.zeros(6, np.uint32)
    zeros = {"Omega0": 0.0, "NumFilesPerSnapshot": 0, "NumPart_Total": nothing, "Redshift": -1e-16}
    made.write_hdf5(tmp_path / "s", particles, **zeros)
    found = open_file(tmp_path / "s").header  # whatever its name
    assert (found.n_files, found.n_total, found.omega_m, found.redshift) == (1, (0, 4, 0, 0, 0, 0), 0.0, 0.0)
    high = np.array([0, 2, 0, 0, 0, 0], np.uint32)
    made.write_hdf5(tmp_path / "s.0.hdf5", particles, NumFilesPerSnapshot=9, NumPart_Total_HighWord=high)
    assert open_file(tmp_path / "s.0.hdf5").header.n_total == (0, 2 * 2**32 + 4, 0, 0, 0, 0)


def test_reading_makes_no_copy(tmp_path):
    made.write_hdf5(tmp_path / "s.hdf5", made.positions(t1=300_000), order=">")
    file = gadget_hdf5.open_file(tmp_path / "s.hdf5")
    out = np.empty((300_000, 3), np.float32)
    tracemalloc.start()
    file.read_positions(out, 1, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.nbytes / 10


def test_a_file_cut_after_it_was_opened_is_named(tmp_path):
    path = tmp_path / "s.hdf5"
    made.write_hdf5(path, made.positions(t1=1000))
    file = gadget_hdf5.open_file(path)
    os.truncate(path, 4000)
    with pytest.raises(ValueError, match=r"s\.hdf5: cannot be read as HDF5: .*; copy it again"):
        read(file)


# --- independent codes ---------------------------------------------------------------------------


def several_types(folder):
    """A file with gas and two kinds of dark matter; their positions."""
    particles = made.positions(t0=20, t1=30, t2=10)
    masses = {0: np.linspace(1, 2, 20, dtype=np.float32), 1: 7.0, 2: np.linspace(3, 4, 10, dtype=np.float32)}
    made.write_hdf5(folder / "s.hdf5", particles, masses, Redshift=1.0)
    return particles, masses


@pytest.mark.filterwarnings("ignore:No unit information found", "ignore:Unable to infer units")
def test_pynbody_reads_the_same(tmp_path):
    pynbody = pytest.importorskip("pynbody", reason="pynbody is not installed; the extra `test` has it")
    several_types(tmp_path)
    snap = pynbody.load(str(tmp_path / "s.hdf5"))
    file = gadget_hdf5.open_file(tmp_path / "s.hdf5")
    positions, masses = read(file)
    np.testing.assert_array_equal(np.concatenate([snap.gas["pos"], snap.dm["pos"]]), positions)
    np.testing.assert_array_equal(np.concatenate([snap.gas["mass"], snap.dm["mass"]]), masses)
    assert snap.properties["z"] == pytest.approx(file.header.redshift)
    assert snap.properties["omegaM0"] == file.header.omega_m


def test_pylians_reads_the_same(tmp_path):
    readgadget = pytest.importorskip("readgadget", reason="Pylians is not installed; `make reference` adds it")
    several_types(tmp_path)
    file = gadget_hdf5.open_file(tmp_path / "s.hdf5")
    for kind in (0, 1, 2):
        positions, masses = read(file, kind)
        np.testing.assert_array_equal(readgadget.read_block(str(tmp_path / "s"), "POS ", [kind]), positions)
        found = readgadget.read_block(str(tmp_path / "s"), "MASS", [kind])
        np.testing.assert_allclose(found, masses if kind != 1 else masses * 1e10, rtol=1e-6)  # its table is in Msun/h
    assert readgadget.header(str(tmp_path / "s")).redshift == file.header.redshift


# --- bad input -----------------------------------------------------------------------------------


def remove(name):
    def damage(path):
        with h5py.File(path, "a") as file:
            del file[name]

    return damage


def replace(name, value):
    def damage(path):
        remove(name)(path)
        with h5py.File(path, "a") as file:
            file[name] = value

    return damage


def attribute(name, value=None):
    def damage(path):
        with h5py.File(path, "a") as file:
            file["Header"].attrs.pop(name, None)
            if value is not None:
                file["Header"].attrs[name] = value

    return damage


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["density"] = np.zeros(3)


NOT = "not a GADGET-2 snapshot"
BAD = {  # defect: (what is done to the file, the line after the file's name, or a part of it where HDF5 adds its own)
    "missing": (os.remove, "not found; expected a GADGET-2 snapshot"),
    "empty": (lambda p: os.truncate(p, 0), "cannot be read as HDF5: …; copy it again"),
    "text": (lambda p: p.write_text("a text file"), "cannot be read as HDF5: …; copy it again"),
    "truncated": (lambda p: os.truncate(p, 3000), "cannot be read as HDF5: …truncated file…; copy it again"),
    "no snapshot": (other_hdf5, f"{NOT}: expected a group Header, found density"),
    "no counts": (attribute("NumPart_ThisFile"), f"{NOT}: its Header has no attribute NumPart_ThisFile"),
    "no box": (attribute("BoxSize"), f"{NOT}: its Header has no attribute BoxSize"),
    "BoxSize below 0": (attribute("BoxSize", -1.0), "the header's BoxSize is -1; expected a positive length"),
    "BoxSize of three": (
        attribute("BoxSize", [8.0, 8.0, 16.0]),
        "the header's BoxSize is [8.0, 8.0, 16.0]; expected a cube",
    ),
    "BoxSize of two": (attribute("BoxSize", [8.0, 8.0]), "the header's BoxSize is [8.0, 8.0]; expected a cube"),
    "BoxSize of none": (
        attribute("BoxSize", np.zeros(0)),
        "the header's BoxSize is array([], dtype=float64); expected a number",
    ),
    "a word": (attribute("Redshift", "zero"), "the header's Redshift is 'zero'; expected a number"),
    "counts below 0": (
        attribute("NumPart_ThisFile", [0, -3, 0, 0, 0, 0]),
        "the header's NumPart_ThisFile is -3; expected a whole number, not below 0",
    ),
    "broken counts": (
        attribute("NumPart_ThisFile", [0, 2.5, 0, 0, 0, 0]),
        "the header's NumPart_ThisFile is 2.5; expected a whole number, not below 0",
    ),
    "files nan": (
        attribute("NumFilesPerSnapshot", np.nan),
        "the header's NumFilesPerSnapshot is nan; expected a whole number, not below 0",
    ),
    "unit below 0": (
        attribute("UnitLength_in_cm", -1.0),
        "UnitLength_in_cm is -1; expected a unit above 0",
    ),
    "Header is a link": (
        replace("Header", h5py.ExternalLink("gone.hdf5", "/Header")),
        "Header: a link leads to gone.hdf5:/Header, which cannot be opened; put it there",
    ),
    "redshift inf": (attribute("Redshift", np.inf), "the header's redshift is inf; expected a number"),
    "no group": (
        remove("PartType1"),
        "no PartType1/Coordinates; the header says 3 particles of that type: is the file complete?",
    ),
    "no Coordinates": (
        remove("PartType1/Coordinates"),
        "no PartType1/Coordinates; the header says 3 particles of that type: is the file complete?",
    ),
    "no Masses": (
        remove("PartType0/Masses"),
        "no PartType0/Masses; the header says 2 particles of that type: is the file complete?",
    ),
    "flat Coordinates": (
        replace("PartType1/Coordinates", np.zeros(9)),
        "PartType1/Coordinates has the shape (9,); expected (3, 3) by the header's counts",
    ),
    "too few Masses": (
        replace("PartType0/Masses", np.zeros(1)),
        "PartType0/Masses has the shape (1,); expected (2,) by the header's counts",
    ),
    "another count": (
        attribute("NumPart_ThisFile", np.array([2, 4, 0, 0, 0, 0])),
        "PartType1/Coordinates has the shape (3, 3); expected (4, 3) by the header's counts",
    ),
    "integers": (
        replace("PartType1/Coordinates", np.zeros((3, 3), np.int32)),
        "PartType1/Coordinates is int32; expected float32 or float64",
    ),
}


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, defect):
    damage, message = BAD[defect]
    path = tmp_path / "s.hdf5"
    made.write_hdf5(path, made.positions(t0=2, t1=3), {0: np.ones(2, np.float32), 1: 2.0})
    damage(path)
    with pytest.raises(ValueError) as caught:
        gadget_hdf5.open_file(path)
    line, parts = str(caught.value), f"{path}: {message}".split("…")
    assert line.startswith(parts[0]) and line.endswith(parts[-1]) and all(part in line for part in parts)
    assert "…" in message or line == f"{path}: {message}"
    assert "\n" not in line


def test_positions_that_are_in_no_file_are_missed(tmp_path):
    x = made.positions(t1=6)[1]
    layout = h5py.VirtualLayout((6, 3), "f4")
    for i in range(2):
        with h5py.File(tmp_path / f"part{i}.hdf5", "w") as file:
            file["x"] = x[3 * i : 3 * i + 3]
        layout[3 * i : 3 * i + 3] = h5py.VirtualSource(f"part{i}.hdf5", "x", (3, 3))
    made.write_hdf5(tmp_path / "s.hdf5", {1: x})
    with h5py.File(tmp_path / "s.hdf5", "a") as file:
        del file["PartType1/Coordinates"]
        file["PartType1"].create_virtual_dataset("Coordinates", layout)
    opened = open_file(tmp_path / "s.hdf5")
    np.testing.assert_array_equal(read(pickle.loads(pickle.dumps(opened)))[0], x)
    (tmp_path / "part1.hdf5").unlink()
    with pytest.raises(ValueError, match=r"s.hdf5: PartType1/Coordinates is virtual: its source part1.hdf5 was not"):
        open_file(tmp_path / "s.hdf5")
    gadget_hdf5._check_once.cache_clear()  # as on another rank, on another machine
    with pytest.raises(ValueError, match=r"its source part1.hdf5 was not found"):
        read(opened)


def test_the_masses_of_swifts_black_holes_have_another_name(tmp_path):
    path = tmp_path / "s.hdf5"
    with h5py.File(path, "w") as file:
        counts = {"NumPart_ThisFile": [0, 0, 0, 0, 0, 3], "NumPart_Total": [0, 0, 0, 0, 0, 3]}
        file.create_group("Header").attrs.update({**counts, "BoxSize": 8.0, "Redshift": 0.0, "MassTable": [0.0] * 6})
        file["PartType5/Coordinates"] = np.ones((3, 3), "f4")
        file["PartType5/DynamicalMasses"] = np.array([1, 2, 4], "f4")
        file["PartType5/SubgridMasses"] = np.array([9, 9, 9], "f4")
    masses = np.empty(3, "f4")
    gadget_hdf5.open_file(path).read_masses(masses, "all", 0)
    assert masses.tolist() == [1, 2, 4]
    with h5py.File(path, "r+") as file:
        del file["PartType5/DynamicalMasses"]
    with pytest.raises(
        ValueError, match=r"no PartType5/Masses; .* it has SubgridMasses; preprocess\.particle_type can"
    ):
        gadget_hdf5.open_file(path)
