import shutil

import h5py
import numpy as np
import pytest
import snapshot_files as made

from cosmogan import config
from cosmogan.simulations import snapshots

N = 64  # particles of a made-up snapshot


def experiment(*entries, held_out=(), **settings):
    """An experiment on given snapshots."""
    wanted = config.Preprocess(snapshots=tuple(map(str, entries)), n_mesh=8, subvolume=4, **settings)
    return config.Experiment(name="test", output="nowhere", held_out=held_out, preprocess=wanted)


def write(path, redshift=0.0, kind="format 1", n=N, unit=1.0, **changes):
    """A snapshot of dark matter at the mean density, in the format's own file name; ``unit``: one Mpc/h in its unit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer, ending = made.FORMATS[kind]
    particles = {1: made.positions(t1=n)[1] * np.float32(unit)}
    changes = {"Redshift": redshift, "BoxSize": made.BOX * unit} | changes
    path = path.with_name(path.name + ending)
    writer(path, particles, {1: made.mean_mass(n)}, **changes)
    return path


def write_set(path, redshift=0.0, kind="format 1"):
    """The same in three files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [made.positions(seed=i, t1=n) for i, n in enumerate((10, 20, N - 30))]
    return made.write_set(path.parent, path.name, parts, kind, [{1: made.mean_mass(N)}] * 3, Redshift=redshift)


def found(*entries, **settings):
    """What is found: [(simulation, number, redshift, first file's name)]."""
    sources = snapshots.find(experiment(*entries, **settings))
    return [(s.simulation, s.number, s.snapshot.redshift, s.path.name) for s in sources]


def refused(*entries, **settings):
    with pytest.raises(ValueError) as caught:
        snapshots.find(experiment(*entries, **settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- lists of snapshots ---------------------------------------------------------------------------


def test_each_entry_is_a_simulation_in_the_order_given(tmp_path):
    for name in ("b", "a", "c"):
        write(tmp_path / name, n=64 if name == "a" else 125)  # numbers of particles may differ
    assert found(*(tmp_path / name for name in "bac")) == [(0, None, 0, "b"), (1, None, 0, "a"), (2, None, 0, "c")]


@pytest.mark.parametrize("kind", made.FORMATS)
def test_paths_stems_folders_and_globs_name_a_snapshot_once(tmp_path, kind):
    folder = tmp_path / "snapdir_006"
    first, *rest = (path.name for path in write_set(folder / "snapshot_006", kind=kind))
    assert found(folder / "snapshot_006.*", folder / "snapshot_006", folder, folder / first, folder / rest[0]) == [
        (0, None, 0, first)
    ]
    write(tmp_path / "z.1")
    write(tmp_path / "z.2")  # numbers that are no files of a set
    assert [line[3] for line in found(tmp_path / "z.*", tmp_path / "snap*")] == ["z.1", "z.2", first]


def test_a_real_run_in_two_forms_is_two_simulations(data):
    paths = [data / folder / "snapshot_006" for folder in ("g2_32_mpc_f1_n4", "g2_32_mpc_f1")]
    sources = snapshots.find(experiment(*paths, held_out=(1,)))
    assert [len(source.snapshot.files) for source in sources] == [4, 1]
    assert all(source.snapshot.n_particles == 32**3 for source in sources)


def test_without_snapshots_those_of_the_simulator_are_meant(tmp_path):
    simulate = config.Simulate(n_simulations=2, redshifts=(1.0, 0.0))
    made_up = config.Experiment("test", str(tmp_path), simulate=simulate)
    for i in (0, 1):
        for output, z in enumerate(simulate.redshifts):
            write(tmp_path / "simulations" / f"box-{i:03d}" / f"snapshot_{output:03d}", z)
    assert [source.snapshot.redshift for source in snapshots.find(made_up)][-1] == 0.0


# --- patterns -------------------------------------------------------------------------------------

PATTERN = "box-{simulation:03d}/snapshot_{snapshot:03d}"


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", made.FORMATS)
def test_a_pattern_takes_all_that_exist(tmp_path, kind, several):
    make = write_set if several else write
    for simulation in (0, 7, 12):
        for number, z in ((0, 3.0), (1, 1.0), (10, 0.0)):
            if (simulation, number) != (7, 1):  # lost
                make(tmp_path / PATTERN.format(simulation=simulation, snapshot=number), z, kind)
    write(tmp_path / "box-3" / "snapshot_000")  # not as the pattern writes numbers
    write(tmp_path / "box-000" / "snapshot_0002")
    write(tmp_path / "box-000" / "snapshot_002_old")
    expected = [(s, n, z) for s in (0, 7, 12) for n, z in ((0, 3), (1, 1), (10, 0)) if (s, n) != (7, 1)]
    assert [line[:3] for line in found(tmp_path / PATTERN, held_out=(7, 12))] == expected
    assert all(line[3].startswith(f"snapshot_{line[1]:03d}") for line in found(tmp_path / PATTERN))


def test_a_pattern_may_name_a_format_a_folder_and_other_numbers(tmp_path):
    for number, z in ((5, 1.0), (123456, 0.0)):
        write(tmp_path / "hdf5" / f"run1_{number:03d}", z, "format 3")
        write_set(tmp_path / "run1{a}[b]" / f"snapdir_{number}" / f"snapshot_{number}", z)
    expected = [(1, 5, 1.0), (1, 123456, 0.0)]
    assert [line[:3] for line in found(tmp_path / "hdf5" / "run{simulation}_{snapshot:03d}.hdf5")] == expected
    assert [line[:3] for line in found(tmp_path / "run{simulation}{{a}}[b]" / "snapdir_{snapshot}")] == expected
    twice = tmp_path / "run{simulation}{{a}}[b]" / "snapdir_{snapshot}" / "snapshot_{snapshot}"
    assert [line[:3] for line in found(twice)] == expected
    assert found(f"{tmp_path}/./hdf5//run{{simulation}}_005") == [(1, None, 1.0, "run1_005.hdf5")]
    assert found(tmp_path / "hdf5" / "run{simulation:d}_{snapshot:06d}") == [(1, 123456, 0.0, "run1_123456.hdf5")]


def test_neighbouring_numbers_are_distinguished_by_their_formats(tmp_path):
    write(tmp_path / "s1007", 1.0)
    write(tmp_path / "s12008", 1.0)
    assert [line[:2] for line in found(tmp_path / "s{simulation}{snapshot:03d}")] == [(1, 7), (12, 8)]


# --- what is refused ------------------------------------------------------------------------------


def test_units_are_checked_by_the_mean_density(tmp_path):
    write(tmp_path / "kpc", unit=1000.0)
    write(tmp_path / "Mpc")
    assert found(tmp_path / "kpc", length_unit="kpc/h") and found(tmp_path / "Mpc")
    line = refused(tmp_path / "kpc")
    assert line.startswith(f"{tmp_path / 'kpc'}: in a box of 8000 Mpc/h the mean density is 8.326e-09, expected 8.326 ")
    assert line.endswith("by Omega0 = 0.3; it fits kpc/h: is preprocess.length_unit=Mpc/h right?")
    line = refused(tmp_path / "Mpc", tmp_path / "kpc")  # mixed
    assert line.endswith(f"right? {tmp_path / 'Mpc'} agrees with it; expected one unit for all")
    write(tmp_path / "no Omega0", unit=1000.0, Omega0=0.0)
    assert found(tmp_path / "no Omega0")


def test_units_are_checked_for_types_of_unequal_masses(tmp_path):
    gas_and_halo = {0: 0.16 * made.mean_mass(20), 1: 0.84 * made.mean_mass(30)}
    made.write_binary(tmp_path / "s", made.positions(t0=20, t1=30), gas_and_halo)
    assert found(tmp_path / "s") and found(tmp_path / "s", particle_type=0)
    assert "is preprocess.length_unit=kpc/h right?" in refused(tmp_path / "s", length_unit="kpc/h")
    made.write_binary(tmp_path / "halo", made.positions(t0=20, t1=30), {0: 0.0, 1: gas_and_halo[1]})
    assert found(tmp_path / "halo", particle_type=1)
    in_block = {1: np.full(30, made.mean_mass(30), np.float32)}
    made.write_binary(tmp_path / "block", made.positions(t1=30), in_block)
    sources = snapshots.find(experiment(tmp_path / "block", length_unit="kpc/h"))  # not known from the header
    with pytest.raises(ValueError, match="length_unit=kpc/h right"):
        snapshots.check_unit(sources[0].snapshot, made.mean_mass(1), "kpc/h")
    snapshots.check_unit(sources[0].snapshot, made.mean_mass(1), "Mpc/h")


@pytest.mark.parametrize(("name", "value"), [("BoxSize", 8.02), ("Omega0", 0.31)])
@pytest.mark.parametrize("pattern", [True, False])
def test_simulations_of_different_kinds_are_refused(tmp_path, name, value, pattern):
    paths = [write(tmp_path / f"box-00{i}" / f"snapshot_00{i}", **{name: value} if i else {}) for i in range(2)]
    wanted = {"BoxSize": 8.0, "Omega0": 0.3}[name]
    assert refused(*[tmp_path / PATTERN] if pattern else paths) == (
        f"{paths[1]}: {name} is {value:g}, but {paths[0]} has {wanted:g}; an experiment takes snapshots of one kind"
        + (", or is conditioned on omega_m by model.condition" if name == "Omega0" else "")
    )


def test_a_list_of_snapshots_of_two_redshifts_is_refused_and_a_pattern_suggested(tmp_path):
    first, second = write(tmp_path / "snapshot_000", 1.0), write(tmp_path / "snapshot_001", 0.0)
    advice = (
        "give snapshots of several redshifts as one pattern, such as sims/box-{simulation:03d}/snapshot_{snapshot:03d}"
    )
    assert refused(first, second) == f"{second}: redshift is 0, but {first} has 1; {advice}"
    assert "redshift is 0, but" in refused(tmp_path / "snapshot_{simulation:03d}")


def test_a_snapshot_that_gadget_wrote_twice_is_refused(tmp_path):
    for number, z in ((0, 1.0), (1, 3e-5), (2, 2.2e-16)):
        write(tmp_path / PATTERN.format(simulation=0, snapshot=number), z)
    write(tmp_path / PATTERN.format(simulation=1, snapshot=0), 1.0)
    folder = tmp_path / "box-000"
    assert refused(tmp_path / PATTERN) == (
        f"{folder / 'snapshot_002'}: redshift is 0, as in {folder / 'snapshot_001'} of the same simulation; "
        "expected one snapshot a redshift (GADGET-2 may write its last one twice): "
        "name only one of the two, or move one away"
    )
    (folder / "snapshot_002").unlink()
    assert len(found(tmp_path / PATTERN)) == 3


SUCH = f"expected one such as sims/{PATTERN}"
BAD_PATTERN = "not a pattern of {simulation} and {snapshot}"
REFUSED = {  # what is wrong: (entries, settings, the line; @ is the folder)
    "missing": (["@/none"], {}, "@/none: not found; expected a GADGET-2 snapshot"),
    "no match": (["@/none*"], {}, "preprocess.snapshots: nothing matches @/none*"),
    "not a snapshot": (
        ["@/notes"],
        {},
        "@/notes: not a GADGET-2 snapshot of format 1, 2 or 3: expected a first record of 256 or 8 bytes, or HDF5, "
        "found 1702129518",
    ),
    "no match of a pattern": (
        ["@/x-{simulation:04d}/s_{snapshot}"],
        {},
        "preprocess.snapshots: nothing matches @/x-{simulation:04d}/s_{snapshot}; expected files such as @/x-0000/s_0",
    ),
    "misspelt field": (
        ["@/{simulation}/{snapshots}"],
        {},
        f"preprocess.snapshots: @/{{simulation}}/{{snapshots}}: {BAD_PATTERN} ('snapshots'); {SUCH}",
    ),
    "bad number format": (
        ["@/{simulation:3s}"],
        {},
        f"preprocess.snapshots: @/{{simulation:3s}}: {BAD_PATTERN} (Unknown format code 's' for object of type 'int'); "
        + SUCH,
    ),
    "open brace": (
        ["@/s{simulation"],
        {},
        f"preprocess.snapshots: @/s{{simulation: {BAD_PATTERN} (expected '}}' before end of string); {SUCH}",
    ),
    "no simulation": (
        ["@/a_{snapshot}"],
        {},
        "preprocess.snapshots: @/a_{snapshot}: expected a field {simulation}, as in sims/" + PATTERN,
    ),
    "pattern and path": (
        ["@/{simulation}", "@/s1"],
        {},
        "preprocess.snapshots: the pattern @/{simulation} stands for all; expected no other entry, found 1 more",
    ),
    "held out": (["@/s1"], {"held_out": (0, 1)}, "held_out: expected simulations from 0 to 0, found 1"),
    "held out of some": (["@/s{simulation}"], {"held_out": (2,)}, "held_out: expected simulations among 1, 3, found 2"),
} | {
    f"no particles: {name}": (
        [f"@/{name}"],
        {"particle_type": 4},
        f"@/{name}: no particles of preprocess.particle_type=4; it has [0, 64, 0, 0, 0, 0] of types 0 to 5",
    )
    for name in ("s1", "h.hdf5")
}


@pytest.mark.parametrize("defect", REFUSED)
def test_bad_settings_end_in_one_line(tmp_path, defect):
    for name in ("s1", "s3"):
        write(tmp_path / name)
    write(tmp_path / "h", kind="format 3")
    (tmp_path / "notes").write_text("note")
    entries, settings, message = REFUSED[defect]
    line = refused(*(entry.replace("@", str(tmp_path)) for entry in entries), **settings)
    assert line == message.replace("@", str(tmp_path))


@pytest.mark.parametrize("kind", made.FORMATS)
def test_a_glob_of_stems_is_of_files_in_natural_order(tmp_path, kind):
    for i in (10, 9, 1, 2):
        write(tmp_path / f"box{i}" / "snapshot_006", kind=kind)
    write_set(tmp_path / "box11" / "snapshot_006", kind=kind)
    (tmp_path / "box3").mkdir()
    (tmp_path / "box3" / "snapshot_006.txt").write_text("notes")
    sources = snapshots.find(experiment(tmp_path / "box*/snapshot_006"))
    assert [source.path.parent.name for source in sources] == ["box1", "box2", "box9", "box10", "box11"]
    assert len(sources[-1].snapshot.files) == 3


# --- boxes, times and units -----------------------------------------------------------------------


def remarks(*entries, **settings):
    made_of = experiment(*entries, **settings)
    return snapshots.remarks(snapshots.find(made_of), made_of.preprocess)


def test_a_box_that_no_header_has_is_set(tmp_path):
    path = write(tmp_path / "s", BoxSize=0.0)
    assert refused(path).endswith("the header's BoxSize is 0; expected a length: set preprocess.box_size")
    (source,) = snapshots.find(experiment(path, box_size=8.0))
    assert source.snapshot.box_size == 8
    assert "has a BoxSize of 8 Mpc/h, found 9" in refused(write(tmp_path / "t"), box_size=9.0)
    path = write(tmp_path / "kpc", unit=1e3, BoxSize=0.0)
    (source,) = snapshots.find(experiment(path, box_size=8.0, length_unit="kpc/h"))
    assert source.snapshot.box_size == pytest.approx(8000, rel=1e-12)


@pytest.mark.parametrize("kind", ["format 1", "format 3"])
def test_a_time_that_contradicts_the_redshift_is_said(tmp_path, kind):
    assert remarks(write(tmp_path / "a", 1.0, kind)) == []
    (line,) = remarks(write(tmp_path / "b", 1.0, kind, Time=1.0))
    assert "Time 1 and Redshift 1 disagree" in line
    assert found(write(tmp_path / "c", -0.5, kind))[0][2] == -0.5  # the future
    assert "expected one above -1" in refused(write(tmp_path / "d", -2.0, kind, Time=1.0))


def test_a_unit_that_could_not_be_checked_is_said(tmp_path):
    (line,) = remarks(write(tmp_path / "s", Omega0=0.0), length_unit="kpc/h")
    assert "preprocess.length_unit=kpc/h could not be checked: the header has no Omega0" in line


def swift(path, h=0.7, **of_length):
    """SWIFT's way: lengths in Mpc and masses in 1e10 Msun, without h."""
    write(path, kind="format 3")
    path = path.with_name(path.name + ".hdf5")
    with h5py.File(path, "a") as file:
        header, group = file["Header"].attrs, file["PartType1"]
        for name in ("Omega0", "OmegaLambda", "HubbleParam"):
            del header[name]
        header["MassTable"], header["Time"], header["BoxSize"] = np.zeros(6), 0.01, made.BOX / h
        header["NumPart_ThisFile"] = np.array([0, N, 0, 0, 0, 0, 9])
        group["Coordinates"][:] /= np.float32(h)
        group["Masses"] = np.full(N, made.mean_mass(N) / h, np.float32)
        group["Coordinates"].attrs.update({"h-scale exponent": [0.0], "a-scale exponent": [1.0]} | of_length)
        file.create_group("Cosmology").attrs.update({"Omega_m": [0.3], "h": [h]})
        file.create_group("Units").attrs.update({"Unit length in cgs (U_L)": [3.08567758e24]})
    return path


def test_units_without_h_are_those_that_the_file_says(tmp_path):
    path = swift(tmp_path / "s")
    (source,) = snapshots.find(experiment(path))
    unit = snapshots.length_unit(source.snapshot, "Mpc/h")
    assert source.snapshot.box_size * unit == pytest.approx(made.BOX, rel=1e-6)
    masses = np.empty(N, np.float32)
    source.snapshot.read_masses(masses, 0)
    np.testing.assert_allclose(masses, made.mean_mass(N), rtol=1e-6)
    lines = "\n".join(remarks(path))
    assert "particles of type 6 are left out" in lines and "in units of 0.7 Mpc/h" in lines and "Time" not in lines
    assert "are not comoving" in refused(swift(tmp_path / "t", **{"a-scale exponent": [0.0]}))


def test_a_unit_that_the_file_says_must_be_the_setting(tmp_path):
    path = write(tmp_path / "s", kind="format 3")
    with h5py.File(path, "a") as file:
        file.create_group("Parameters").attrs["UnitLength_in_cm"] = 3.085678e21
    assert refused(path).endswith(
        "says that its lengths are in kpc/h; expected preprocess.length_unit=kpc/h, found Mpc/h"
    )


def test_the_unit_beside_the_positions_of_arepo_is_read(tmp_path):
    path = write(tmp_path / "s", kind="format 3", unit=1e3, Omega0=0.0)  # no density to check it by
    with h5py.File(path, "a") as file:
        attributes = {"a_scaling": 1.0, "h_scaling": -1.0, "to_cgs": 3.085678e21}
        file["PartType1/Coordinates"].attrs.update(attributes)
    assert "says that its lengths are in kpc/h; expected preprocess.length_unit=kpc/h" in refused(path)
    assert remarks(path, length_unit="kpc/h") == []


def test_a_snapshot_under_two_names_is_taken_once_or_said(tmp_path, monkeypatch):
    path = write(tmp_path / "a" / "s")
    assert len(found(path, path)) == 1
    monkeypatch.chdir(path.parent)
    assert found(".") == found(path) and len(found(path, "s")) == 1
    link = tmp_path / "link"
    link.symlink_to(path)
    (tmp_path / "b").mkdir()
    for other in (link, shutil.copy(path, tmp_path / "b" / "s")):
        (line,) = remarks(path, other)
        assert line == f"{other}: begins with the particles of {path}: is it the same snapshot under another name?"
